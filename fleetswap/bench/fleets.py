"""Measures whole fleets on a backend: events a second, what moves to and from its memory, and one CPU thread beside it.

The devices that the CPU runs are among those of the backend; their counters must be equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.arena import device_bytes
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.contract import Backend
from fleetswap_kernels.layout import counters

from ..fleet.shard import STEPS_AT_ONCE, folding, stretches, warm_up
from ..scenario.experiments import AllocatorScenario, AllocatorTest
from ..scenario.file import load_fleet_scenario
from ..workload.laid_out import LaidOut
from ..workload.lay_out import lay_out
from .timing import timed

DEFINITIONS = {
    "devices": "simulated at once: as many as fit the backend's memory, at most those of the effort",
    "events": "page events: pages touched, mapped by a fault, swapped out, or dropped by a zap",
    "lay_out_s": "allocating memory and laying the devices out",
    "init_s": "bringing them to the state after swapon",
    "run_s": "running the steps, in wall time, what each device did in each brought back as in a run",
    "events_per_s": "events over run_s",
    "spent": "of the backend since the last load: seconds its kernels ran, seconds that were spent waiting for results "
    "after the last kernel, bytes each way",
    "cpu": "the same on one CPU thread, some of the same devices",
    "over_cpu": "events_per_s over that of one CPU thread",
    "equal": "whether every counter of the devices that both ran is equal",
}
"""Meaning of the entries of a load."""


@dataclass(frozen=True)
class Effort:
    """Size of a measurement.

    Parameters
    ----------
    test : AllocatorTest
    devices : int
        At most so many on the backend.
    beside : int
        Devices on the CPU.
    settings : tuple of str
        Of the fleet of phones.
    """

    test: AllocatorTest
    devices: int
    beside: int
    settings: tuple[str, ...] = ()


FULL = Effort(AllocatorTest(iterations=20), devices=1 << 17, beside=16)
QUICK = Effort(
    AllocatorTest(region_mib=4, zram_mib=8, swapin_mib=1, dontneed_mib=1, iterations=2),
    devices=128,
    beside=4,
    settings=("page_scale=512", "behaviour.switches_per_day=12", "steps_per_day=4"),
)
"""Shows that everything runs; its numbers mean little."""


def loads(effort: Effort) -> Iterator[tuple[str, LaidOut]]:
    """The allocator test with large swap-in on and off, then phones for a day; each by its name."""
    test = lay_out(AllocatorScenario(effort.test, effort.devices))
    for policy in ("on", "off"):
        yield f"allocator-test {policy}", replace(test, kinds={policy: test.kinds[policy]})
    yield "phones", lay_out(load_fleet_scenario("phones", effort.settings, effort.devices))


def measure(backend: Backend, effort: Effort, progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure every load on a backend and beside it on the CPU.

    Parameters
    ----------
    backend : Backend
    effort : Effort
    progress : function of str
        Called with the name of the next step.

    Returns
    -------
    dict
        ``device``, facts of the backend; ``loads`` by name, as `DEFINITIONS` says; ``definitions``.
    """
    measured_loads: dict[str, Any] = {}
    for name, laid_out in loads(effort):
        progress(f"{name}: kernels (a GPU's take minutes to compile, once)")
        compile_s = warm_up(laid_out, backend) / 1e9
        largest_bytes = max(device_bytes(blueprint.sizes) for blueprint in laid_out.blueprints)
        devices = min(effort.devices, backend.devices_at_once(largest_bytes))
        progress(f"{name}: {devices:,} devices of up to {largest_bytes:,} bytes")
        measured, counted = run(laid_out, devices, backend)
        progress(f"{name}: CPU, one thread")
        warm_up(laid_out, ONE_THREAD)
        beside, expected = run(laid_out, min(effort.beside, devices), ONE_THREAD)
        measured_loads[name] = {
            "device_bytes": largest_bytes,
            "compile_s": compile_s,
            **measured,
            "cpu": beside,
            "over_cpu": measured["events_per_s"] / beside["events_per_s"],
            "equal": bool(np.array_equal(counted[: len(expected)], expected)),
        }
    return {"backend": backend.name, "device": backend.facts(), "loads": measured_loads, "definitions": DEFINITIONS}


def run(laid_out: LaidOut, devices: int, backend: Backend) -> tuple[dict[str, Any], npt.NDArray[np.uint64]]:
    """Run the first devices of a load on a backend: times, and their counters in the order of their places."""
    moved = backend.facts().get("spent", {})
    (arena, places), lay_out_s = timed(lambda: laid_out.arena(0, devices, backend))
    _, init_s = timed(arena.init)

    def steps_one_by_one() -> None:
        for first, end in pairwise(laid_out.marks):
            arena.run(laid_out.program, first, end)
            arena.counters()

    def steps_folded() -> None:
        fold = arena.fold(folding(laid_out, laid_out.classes_of(0, devices)[places]))
        for first, end in stretches(0, laid_out.steps, STEPS_AT_ONCE):
            arena.run_steps(fold, laid_out.program, laid_out.marks[first : end + 1])

    _, run_s = timed(steps_one_by_one if laid_out.keeps_steps else steps_folded)
    counted = arena.counters()
    arena.release()
    events = int(counted[:, counters.PAGE_EVENTS].sum())
    figures = {
        "devices": devices,
        "events": events,
        "lay_out_s": lay_out_s,
        "init_s": init_s,
        "run_s": run_s,
        "events_per_s": events / run_s,
        "spent": {name: value - moved[name] for name, value in backend.facts().get("spent", {}).items()},
    }
    return figures, counted[np.argsort(places, kind="stable")]
