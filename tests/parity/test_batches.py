"""Batch kernels have one source too: compiled, interpreted and on the CUDA simulator they find the same."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .test_targets import MODES

PROGRAM = Path(__file__).with_name("run_batches.py")


def hashes(mode: str) -> list[str]:
    """Hash of every array that is found, in one mode of the kernels."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")} | MODES[mode]
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, str(PROGRAM), mode]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("mode", ["interpreted", "simulator"])
def test_every_array_is_equal(mode: str) -> None:
    if mode == "simulator" and importlib.util.find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda, which has the simulator, is not installed")
    expected = hashes("compiled")
    assert len(set(expected)) > 8
    assert hashes(mode) == expected
