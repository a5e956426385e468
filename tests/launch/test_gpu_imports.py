"""Only the launch layer imports a GPU's packages: the rules are there, cover every spelling, and fail when broken."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {"fleetswap": ROOT, "fleetswap_kernels": ROOT / "kernels", "fleetswap_cluster": ROOT / "cluster"}
GPU = ("cupy", "cupyx", "cupy_backends", "numba.cuda", "numba_cuda", "cuda", "pynvml")


def allowed(path: Path) -> bool:
    """The wing of the backend cuda, what links its kernels, and the arrays of the batch kernels."""
    return "backend/cuda/" in str(path) or path.name == "cuda_linker.py"


def imported(tree: ast.AST) -> set[str]:
    """Modules that a source imports, by a statement or by the name it gives to importlib."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
            "import_module",
            "__import__",
        ):
            found |= {
                arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            }
    return found


def of_a_gpu(modules: set[str]) -> set[str]:
    return {name for name in modules for gpu in GPU if name == gpu or name.startswith(f"{gpu}.")}


def test_no_module_but_the_launch_layer_names_a_gpu_package() -> None:
    found = {}
    for package, folder in ROOMS.items():
        for path in sorted((folder / package).rglob("*.py")):
            if not allowed(path) and (names := of_a_gpu(imported(ast.parse(path.read_text())))):
                found[str(path.relative_to(ROOT))] = names
    assert found == {}


@pytest.mark.parametrize(
    "statement",
    [
        "import cupy",
        "import cupy.cuda as c",
        "from cupy import ndarray",
        "import cupyx",
        "import numba.cuda",
        "from numba import cuda",
        "from numba.cuda import jit",
        "import numba_cuda",
        "from cuda import bindings",
        "import cuda.core",
    ],
)
@pytest.mark.parametrize("module", ["fleetswap/fleet/pieces.py", "kernels/fleetswap_kernels/backend/arena.py"])
def test_ruff_refuses_it(statement: str, module: str) -> None:
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed")
    source = f'"""A module."""\n\n{statement}\n'

    def codes(name: str) -> str:
        command = [ruff, "check", "--select", "TID251", "--no-cache", "--stdin-filename", name, "-"]
        return subprocess.run(command, input=source, cwd=ROOT, capture_output=True, text=True, check=False).stdout

    assert "TID251" in codes(module)
    assert "TID251" not in codes("kernels/fleetswap_kernels/backend/cuda/gpu.py")
    assert of_a_gpu(imported(ast.parse(source)))


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("fleetswap/script/stored_size.py", "import cupy", "CuPy in the backend cuda only"),
        ("kernels/fleetswap_kernels/device/swap/reasons.py", "import cupy", "CuPy in the backend cuda only"),
        (
            "fleetswap/script/stored_size.py",
            "from fleetswap_kernels.backend.cuda import gpu",
            "A backend is chosen, never named",
        ),
        (
            "kernels/fleetswap_kernels/backend/arena.py",
            "from .cuda import entries",
            "A backend is chosen, never named",
        ),
    ],
)
def test_import_linter_refuses_it(module: str, line: str, contract: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("importlinter") is None:
        pytest.skip("import-linter is not installed")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package, folder in ROOMS.items():
        shutil.copytree(
            folder / package,
            tmp_path / folder.relative_to(ROOT) / package,
            ignore=shutil.ignore_patterns("__pycache__", "data"),
        )
    program = (
        f"import sys; sys.path[:0] = {[str(tmp_path / folder.relative_to(ROOT)) for folder in ROOMS.values()]!r}; "
        "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    )

    def lint() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    clean = lint()
    assert clean.returncode == 0, clean.stdout + clean.stderr
    broken = tmp_path / module
    with broken.open("a") as source:
        source.write(f"\n{line}\n")
    told = lint()
    assert told.returncode != 0
    assert f"{contract} BROKEN" in told.stdout
