"""Device functions stand in `fleetswap_kernels.device`, and nothing else does: its types are Numba's, not mypy's."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fleetswap
import fleetswap_cluster
import fleetswap_kernels

ROOTS = [Path(package.__file__).parent for package in (fleetswap, fleetswap_kernels, fleetswap_cluster)]
WING = Path(fleetswap_kernels.__file__).parent / "device"


def decorators(function: ast.FunctionDef) -> set[str]:
    return {ast.unparse(one.func if isinstance(one, ast.Call) else one) for one in function.decorator_list}


def functions(path: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("path", sorted(WING.rglob("*.py")), ids=lambda path: str(path.relative_to(WING)))
def test_every_function_of_the_wing_is_a_device_function(path: Path) -> None:
    assert [one.name for one in functions(path) if "device" not in decorators(one)] == []


def test_no_device_function_stands_elsewhere() -> None:
    paths = [path for root in ROOTS for path in root.rglob("*.py") if WING not in path.parents]
    assert len(paths) > 150
    assert [(path.name, one.name) for path in paths for one in functions(path) if "device" in decorators(one)] == []
