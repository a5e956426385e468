"""CUDA kernels on several warps and lanes: every device has a thread, the first one that failed is named."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.layout import errors

from .run_errors import BROKEN, memory_of
from .test_targets import MODES

PROGRAM = Path(__file__).with_name("run_errors.py")


@pytest.mark.parametrize("mode", ["compiled", "simulator"])
def test_every_device_runs_and_the_first_that_failed_is_named(mode: str) -> None:
    if mode == "simulator" and importlib.util.find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda, which has the simulator, is not installed")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")} | MODES[mode]
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, str(PROGRAM), mode]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["memory"] == memory_of(ONE_THREAD)
    assert [(device, code) for device, code, _ in told["errors"]] == [
        (min(broken), errors.NO_FRAMES) for broken in BROKEN
    ]
    assert all("too few page frames" in text for _, _, text in told["errors"])
