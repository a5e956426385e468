"""Fleets of every built-in scenario, simulated through the backend cuda on the simulator, give what the CPU gives."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fleetswap.scenario.experiments import BUILT_IN
from fleetswap.scenario.file import built_in

from .run_fleets import FLEETS, TESTS
from .test_targets import MODES

PROGRAM = Path(__file__).with_name("run_fleets.py")


@cache
def told(mode: str) -> dict[str, Any]:
    """What every fleet gives in a mode of the kernels."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")} | MODES[mode]
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, str(PROGRAM), mode, *TESTS, *FLEETS],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_no_built_in_scenario_is_left_out() -> None:
    assert set(TESTS) == set(BUILT_IN)
    assert set(FLEETS) == set(built_in())


@pytest.mark.parametrize("name", [*TESTS, *FLEETS])
def test_the_fleet_swaps(name: str) -> None:
    found = told("compiled")[name]
    assert found["out"] > 0
    assert found["in"] > 0


@pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed")
@pytest.mark.parametrize("name", [*TESTS, *FLEETS])
def test_the_simulator_gives_the_same(name: str) -> None:
    assert told("simulator")[name] == told("compiled")[name]
