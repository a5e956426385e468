# `make run` and `make test` need nothing but Python 3.11 or newer with pip: each makes the virtual environment .venv and
# puts into it what it uses. Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
RUN_ARGS ?=
CUDA ?= 13
PYTEST_ARGS ?= --numprocesses auto --maxprocesses 8 --dist worksteal

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: run test check bench cuda cuda-check gpu-check clean
.DELETE_ON_ERROR:

run: $(VENV)/.installed-run
	$(BIN)/fleetswap run $(RUN_ARGS)

test: check
	$(BIN)/pytest $(PYTEST_ARGS)

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-run
	$(BIN)/fleetswap bench

# Compiling for CUDA needs no GPU, but about 320 MB of wheels.
cuda: $(VENV)/.installed-cuda

cuda-check: cuda $(VENV)/.installed-test
	$(BIN)/pytest $(PYTEST_ARGS) -m "long or not long" tests/compile tests/model

# On a machine with a GPU, the first thing to run: what is there, whether it gives what the CPU gives, how fast it is.
# It stops where something is missing or differs. CUDA=12 for a driver older than 580. (docs/gpu.md)
gpu-check: $(VENV)/.installed-gpu$(CUDA)
	$(BIN)/fleetswap doctor
	$(BIN)/fleetswap bench --backend cuda --quick
	$(BIN)/pytest -m gpu
	$(BIN)/fleetswap bench --backend cuda --json > gpu-report.json
	@echo "No test failed. Rates and transfer are in gpu-report.json."

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find cluster fleetswap kernels tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
	    echo "fleetswap needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2> /dev/null || echo missing)." >&2; \
	    echo "Name another interpreter: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Making a virtual environment in $(VENV)"
	@# Some systems ship pip, but not the ensurepip that a new environment is filled from.
	@$(PYTHON) -m venv --clear $(VENV) > $(VENV).log 2>&1 || { \
	    $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	    $(PYTHON) -m pip --python $(VENV) --disable-pip-version-check install --quiet pip; } || { \
	    cat $(VENV).log >&2; rm -rf $(VENV) $(VENV).log; exit 1; }
	@rm -f $(VENV).log

$(VENV)/.installed-run: pyproject.toml | $(BIN)/python
	@echo "Installing fleetswap into $(VENV) (about 150 MB to fetch, once)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	@echo "Installing fleetswap and its test tools into $(VENV) (about 230 MB to fetch, once)"
	@$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.installed-run

$(VENV)/.installed-cuda: pyproject.toml | $(BIN)/python
	@echo "Installing the CUDA 13 compiler wheels into $(VENV) (about 320 MB to fetch, once)"
	@$(PIP) --editable '.[cuda13]'
	@touch $@

$(VENV)/.installed-gpu$(CUDA): pyproject.toml | $(BIN)/python
	@echo "Installing CuPy, numba-cuda and the CUDA $(CUDA) compiler into $(VENV) (about 500 MB to fetch, once)"
	@$(PIP) --editable '.[test,cuda$(CUDA)]'
	@touch $@ $(VENV)/.installed-run $(VENV)/.installed-test
