"""All kernels for compute capability 9.0, compiled once in a test run, whichever of its processes asks first."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest
from filelock import FileLock

from .write_registers import TABLE, compiled

CEILINGS: dict[str, dict[str, int]] = json.loads(TABLE.read_text())["ceilings"]
"""The most registers, spills and stack that a kernel may need."""
KERNELS = tuple(CEILINGS)


def missing() -> str:
    """What the toolchain lacks here; empty if nothing."""
    for name in ("numba_cuda", "nvidia"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed; `make cuda` installs the CUDA 13 compiler"
    import nvidia

    found = [path for root in nvidia.__path__ for path in Path(root).glob("cu*/bin/ptxas")]
    return "" if found else "no ptxas wheel is installed; `make cuda` installs the CUDA 13 compiler"


def compiled_once(folders: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, int]]]:
    """Folder of the kernels' PTX, and what `compile_kernels.py` reports of them; takes minutes the first time."""
    base = folders.getbasetemp()
    # Every worker of pytest-xdist has a folder of its own in that of the run.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "ptx"
    report = folder / "report.json"
    with FileLock(f"{folder}.lock"):
        if not report.exists():
            found = compiled("9.0", list(KERNELS), "--keep", str(folder))
            report.write_text(json.dumps(found))
    return folder, json.loads(report.read_text())
