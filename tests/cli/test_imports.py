"""What an import may cost: the command line's start depends on it."""

from __future__ import annotations

import subprocess
import sys

import pytest

_HEAVY = {"cupy", "dask", "distributed", "llvmlite", "numba", "numpy", "pandas", "pyarrow"}


def _loaded(statement: str) -> set[str]:
    """Modules that a statement loads in a fresh interpreter."""
    program = f"import sys; sys.path[:] = {sys.path!r}\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", ["fleetswap", "fleetswap_cluster", "fleetswap_kernels"])
def test_a_package_loads_nothing_heavy(package):
    assert not _loaded(f"import {package}") & _HEAVY


def test_kernels_do_not_load_a_gpu_library():
    # numba.cuda costs 0.4 s and looks for a driver; only the CUDA launch may pay that.
    loaded = _loaded("import fleetswap_kernels.device.engine.interpreter")
    assert "numba" in loaded
    assert not loaded & {"cupy", "numba.cuda"}
