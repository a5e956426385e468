"""A CUDA kernel is compiled once: the next process loads its machine code from the cache folder. No GPU needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .once import missing

PROGRAM = Path(__file__).with_name("cache_kernels.py")
KERNELS = ("init_devices", "init_phones")
"""One body, compiled for two types of header."""


def ask(folder: Path, capability: str, *kernels: str) -> dict[str, Any]:
    """What a fresh process tells that needs some kernels."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "FLEETSWAP_CACHE_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), capability, *kernels],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_the_second_process_compiles_nothing(tmp_path: Path) -> None:
    first = ask(tmp_path, "9.0", *KERNELS)
    assert (first["compiled"], first["loaded"]) == (2, 0)
    # A compiler that is given a function once for every path to it takes twice as long.
    assert first["repeated"] == 0
    # They do not take each other's place.
    assert first["bytes"]["init_devices"] != first["bytes"]["init_phones"]
    assert ask(tmp_path, "9.0", *KERNELS) == {**first, "compiled": 0, "loaded": 2}


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_another_gpu_needs_other_code(tmp_path: Path) -> None:
    for capability in ("9.0", "8.0"):
        told = ask(tmp_path, capability, "gather_counters")
        assert (told["compiled"], told["loaded"]) == (1, 0)
        assert told["bytes"]["gather_counters"] > 1000
