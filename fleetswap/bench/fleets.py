"""Measures whole fleets on a backend: events a second, what moves to and from its memory, and one CPU thread beside it.

The devices that the CPU runs are among those of the backend; their counters must be equal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.arena import Arena, device_bytes
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.contract import Backend
from fleetswap_kernels.layout import counters

from ..fleet import shard as fleet
from ..scenario.experiments import AllocatorScenario, AllocatorTest
from ..scenario.file import load_fleet_scenario
from ..workload.allocator_test import plan as plan_test
from ..workload.lay_out import lay_out

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


@dataclass(frozen=True)
class Load:
    """A fleet to be measured.

    Parameters
    ----------
    name : str
    device_bytes : int
        Memory of the largest device.
    make : function of (int, Backend)
        An arena with so many devices and the numbers of the devices in it; the same numbers are the same devices.
    run : function of (Arena, int64 array)
        Runs all steps of an arena with these devices, and brings back what a run wants of them.
    warm_up : function of Backend
        Compiles kernels.
    """

    name: str
    device_bytes: int
    make: Callable[[int, Backend], tuple[Arena, npt.NDArray[np.int64]]]
    run: Callable[[Arena, npt.NDArray[np.int64]], None]
    warm_up: Callable[[Backend], int]


def loads(effort: Effort) -> Iterator[Load]:
    """The allocator test with large swap-in on and off, then phones for a day."""
    for policy in ("on", "off"):
        yield _test_load(f"allocator-test {policy}", replace(effort.test, large_swapin=policy == "on"))
    yield _phones_load(effort)


def _test_load(name: str, test: AllocatorTest) -> Load:
    workload = plan_test(test)
    laid_out = lay_out(AllocatorScenario(test, 1))

    def make(devices: int, backend: Backend) -> tuple[Arena, npt.NDArray[np.int64]]:
        return Arena([(workload.blueprint, devices)], backend=backend), np.arange(devices)

    def run(arena: Arena, numbers: npt.NDArray[np.int64]) -> None:  # noqa: ARG001 (signature)
        for first, end in pairwise(workload.marks):
            arena.run(workload.program, first, end)
            arena.counters()

    return Load(
        name, device_bytes(workload.blueprint.sizes), make, run, lambda backend: fleet.warm_up(laid_out, backend)
    )


def _phones_load(effort: Effort) -> Load:
    scenario = load_fleet_scenario("phones", effort.settings, effort.devices)
    laid_out = lay_out(scenario)

    def make(devices: int, backend: Backend) -> tuple[Arena, npt.NDArray[np.int64]]:
        return laid_out.arena(0, devices, backend)

    def run(arena: Arena, numbers: npt.NDArray[np.int64]) -> None:
        fold = arena.fold(fleet.folding(laid_out, laid_out.classes_of(0, len(numbers))[numbers]))
        for first, end in fleet.stretches(0, len(laid_out.marks) - 1, fleet.STEPS_AT_ONCE):
            arena.run_steps(fold, laid_out.program, laid_out.marks[first : end + 1])

    largest_bytes = max(device_bytes(blueprint.sizes) for blueprint in laid_out.blueprints)
    return Load("phones", largest_bytes, make, run, lambda backend: fleet.warm_up(laid_out, backend))


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
    for load in loads(effort):
        progress(f"{load.name}: kernels (a GPU's take minutes to compile, once)")
        compile_s = load.warm_up(backend) / 1e9
        devices = min(effort.devices, backend.devices_at_once(load.device_bytes))
        progress(f"{load.name}: {devices:,} devices of up to {load.device_bytes:,} bytes")
        measured, counted = run(load, devices, backend)
        progress(f"{load.name}: CPU, one thread")
        load.warm_up(ONE_THREAD)
        beside, expected = run(load, min(effort.beside, devices), ONE_THREAD)
        measured_loads[load.name] = {
            "device_bytes": load.device_bytes,
            "compile_s": compile_s,
            **measured,
            "cpu": beside,
            "over_cpu": measured["events_per_s"] / beside["events_per_s"],
            "equal": bool(np.array_equal(counted[: len(expected)], expected)),
        }
    return {"backend": backend.name, "device": backend.facts(), "loads": measured_loads, "definitions": DEFINITIONS}


def run(load: Load, devices: int, backend: Backend) -> tuple[dict[str, Any], npt.NDArray[np.uint64]]:
    """Run a load on a backend: times, and the counters of the devices in the order of their numbers."""
    moved = backend.facts().get("spent", {})
    started = time.perf_counter()
    arena, numbers = load.make(devices, backend)
    laid_out = time.perf_counter()
    arena.init()
    ready = time.perf_counter()
    load.run(arena, numbers)
    ended = time.perf_counter()
    counted = arena.counters()
    arena.release()
    events = int(counted[:, counters.PAGE_EVENTS].sum())
    figures = {
        "devices": devices,
        "events": events,
        "lay_out_s": laid_out - started,
        "init_s": ready - laid_out,
        "run_s": ended - ready,
        "events_per_s": events / (ended - ready),
        "spent": {name: value - moved[name] for name, value in backend.facts().get("spent", {}).items()},
    }
    return figures, counted[np.argsort(numbers, kind="stable")]
