"""Runs tiny fleets of the built-in scenarios in another mode of the kernels; started by the tests.

    run_fleets.py compiled|simulator SCENARIO ...

Prints a hash of all that each fleet gives `fleetswap run`: counters of every device, metrics, totals and histograms of
every step. The environment chooses how the kernels run: for the simulator NUMBA_DISABLE_JIT=1, NUMBA_ENABLE_CUDASIM=1.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from typing import Any

import numpy as np

from fleetswap.fleet.pieces import Shard
from fleetswap.fleet.shard import run_shard
from fleetswap.scenario.kinds import load_any_scenario
from fleetswap.workload.laid_out import LaidOut
from fleetswap.workload.lay_out import lay_out
from fleetswap_kernels.backend.contract import Backend
from fleetswap_kernels.layout import counters
from tests.parity.run_on_target import backend_of

TESTS = {
    "allocator-test": ("region_mib=1", "zram_mib=2", "swapin_mib=1", "dontneed_mib=0", "iterations=1"),
    "breakeven": ("memory_mib=1", "rounds=1", "step_percent=100"),
}
DAY = ("days=1", "steps_per_day=2", "behaviour.switches_per_day=8")
FLEETS = {
    # Golden-ratio steps: the first devices of the fleet of phones are of several classes.
    "phones": (3, (*DAY, "page_scale=512")),
    "low-ram": (2, (*DAY, "page_scale=512")),
    "thrash": (1, (*DAY, "page_scale=1024")),
    "uptime-week": (1, (*DAY, "page_scale=1024")),
}


def laid_out(name: str) -> LaidOut:
    """A built-in scenario, made tiny."""
    if name in TESTS:
        return lay_out(load_any_scenario(name, TESTS[name], 2 if name == "allocator-test" else 1))
    devices, settings = FLEETS[name]
    return lay_out(load_any_scenario(name, settings, devices))


def simulate(name: str, backend: Backend) -> tuple[list[np.ndarray], Any]:
    """Counters of every device, and whatever else a fleet gives, ready for JSON."""
    fleet = laid_out(name)
    found = run_shard(fleet, Shard(0, 0, fleet.devices), backend, check=name in FLEETS)
    cells = {str(at): [c.histogram.to_dict(), c.top, c.bottom] for at, c in found.cells.items()}
    return [found.counters, *found.metrics.values(), *found.by_step.values(), *found.totals.values()], cells


def main(mode: str, names: list[str]) -> None:
    """Run every scenario and print its hash and some of its counters as JSON."""
    # Interpreted integers must not overflow where compiled ones are wide enough.
    warnings.simplefilter("error", RuntimeWarning)
    backend = backend_of(mode)
    told = {}
    for name in names:
        arrays, rest = simulate(name, backend)
        digest = hashlib.sha256(json.dumps(rest, default=str).encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
        out, back = (int(arrays[0][:, counter].sum()) for counter in (counters.PSWPOUT, counters.PSWPIN))
        told[name] = {"hash": digest.hexdigest(), "devices": len(arrays[0]), "out": out, "in": back}
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
