"""Measures this machine: page events a second, beside the C reference and the memory's bandwidth.

The machine may be busy, so ratios come from interleaved pairs (A B B A ...) of one run, and their median counts; one
thread is measured in its own CPU time. Every pair starts from the same memory, the state after the warm-up.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from fleetswap_kernels.backend.arena import Arena, device_bytes
from fleetswap_kernels.backend.choose import choose
from fleetswap_kernels.backend.cores import usable_cores
from fleetswap_kernels.batch.census import census
from fleetswap_kernels.batch.page_tables import PageTables
from fleetswap_kernels.batch.swap_areas import SwapAreas
from fleetswap_kernels.batch.words import words_of_slots
from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout import device as layout

from ..scenario.experiments import AllocatorTest
from ..scenario.file import load_fleet_scenario
from ..workload.allocator_test import plan
from ..workload.lay_out import lay_out
from .c_reference import Reference, ReferenceMissingError
from .timing import timed

DEFINITIONS = {
    "page event": "one page touched by an operation, mapped by a fault, swapped out, or dropped by a zap",
    "workload": "iterations of the allocator test after its warm-up, on a few devices, one after the other",
    "events_per_s": "on one thread, in its CPU time; large swap-in on or off",
    "njit_over_c": "time of the kernels over time of the C reference, one thread, every byte of memory the same",
    "content_over_none": "time with measured contents and zram's accounting of 4 KiB pages (lz4, packed pool) over "
    "that of pages that are all the same, one thread",
    "content_blocks_over_none": "the same with blocks of 64 KiB",
    "two_threads_over_one": "rate of two threads over that of one, in wall time, large swap-in on",
    "bytes_per_swapped_page": "PTE, swap slot; and the share of what belongs to no page",
    "bytes_per_resident_page": "PTE, page frame; and the share of what belongs to no page",
    "bytes_per_page": "all memory of a device, free slots and frames too, over the pages of its regions",
    "bytes_per_device": "all memory of a device: a process with its zram device and page frames",
    "page_faults_per_s": "faults of simulated phones of the scenario phones, one thread, in its CPU time",
    "device_hours_per_s": "simulated hours of such phones, one thread, in its CPU time",
    "phone_ns_per_event": "the same as the time of a page event",
    "memory_bandwidth_bytes_per_s": "bytes read and written by one thread that copies a large array",
    "copied_bytes_per_event": "what that copy moves in the time of one page event",
    "census_ns_per_page": "the batch census of a page, 1 M of them swapped out in blocks of 64 KiB, one thread, in its "
    "CPU time",
    "census_over_copy": "bytes a second that this census reads and writes, 9 a page, over those of a copy of the array",
    "cold_start_s": "a run of one device, from the start of the command to its end, with an empty cache folder",
    "warm_start_s": "the same with compiled kernels",
    "compile_s": "the part of the cold start that compiles the kernels",
}
"""Meaning of the entries of a result, by the part of the name before `_on` and `_off`."""

# Which pages an array of a device belongs to; the others, and the header, are shared by all pages.
_OF_PTES = ("o_pte", "o_expect")
_OF_SLOTS = ("o_cluster", "o_cluster_next", "o_cluster_prev", "o_zeromap", "o_map", "o_stored", "o_cache", "o_zhandle")
_OF_FRAMES = ("o_frame", "o_content", "o_mapcount")


CONTENT = "java_app"
"""Class of the contents that are measured."""
CENSUS_PAGES = 1 << 20


@dataclass(frozen=True)
class Effort:
    """Size of a measurement.

    Parameters
    ----------
    test : AllocatorTest
    devices : int
        Devices that one thread runs in one measurement.
    pairs : int
        Pairs of measurements of every ratio.
    copied_mib : int
        Length of the array of the memory bandwidth; larger than any cache, to be meaningful.
    starts : bool
        Whether cold and warm start are measured.
    """

    test: AllocatorTest
    devices: int
    pairs: int
    copied_mib: int
    starts: bool


FULL = Effort(AllocatorTest(), devices=8, pairs=25, copied_mib=256, starts=True)
QUICK = Effort(AllocatorTest(iterations=2), devices=1, pairs=3, copied_mib=16, starts=False)
"""Shows that everything runs; its numbers mean little."""


@dataclass
class Result:
    """Values of a measurement, and reasons of those that are missing.

    Parameters
    ----------
    values : dict of str to float or None
        By the names of `DEFINITIONS`; None where something could not be measured.
    reasons : dict of str to str
        Why, for every None.
    """

    values: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def missing(self, reason: str, *names: str) -> None:
        """Note values that cannot be had."""
        self.values.update(dict.fromkeys(names))
        self.reasons.update(dict.fromkeys(names, reason))


class _Fleet:
    """Devices after the warm-up, to run the same iterations on any number of times."""

    def __init__(self, test: AllocatorTest, devices: int, threads: int = 1) -> None:
        workload = plan(test)
        self.program = workload.program
        self.first, self.end = workload.marks[1], workload.marks[-1]
        self.arena = Arena([(workload.blueprint, devices)], choose("cpu", threads)[0])
        self.arena.init()
        self.arena.run(self.program, 0, self.first)
        self._start = self.arena.memory.copy()
        before = self._events()
        self.run()
        self.events = self._events() - before

    def _events(self) -> int:
        return int(self.arena.counters()[:, counters.PAGE_EVENTS].sum())

    def run(self) -> None:
        """Run the iterations."""
        self.arena.run(self.program, self.first, self.end)

    def seconds(self, reference: Reference | None = None, clock: Callable[[], float] = time.thread_time) -> float:
        """Seconds that the iterations take from the state after the warm-up, in C if there is a reference."""
        self.arena.memory = self._start
        if reference is None:
            return timed(self.run, clock)[1]
        return timed(partial(reference.run, self.arena, self.program, self.first, self.end), clock)[1]


def measure(effort: Effort, progress: Callable[[str], None]) -> Result:
    """Measure everything.

    Parameters
    ----------
    effort : Effort
    progress : function of str
        Told what comes next.
    """
    result = Result()
    try:
        reference = Reference()
    except ReferenceMissingError as error:
        reference = None
        result.missing(str(error), "njit_over_c_on", "njit_over_c_off")
    for policy in ("on", "off"):
        progress(f"one thread, large swap-in {policy}")
        _one_thread(result, effort, policy, reference)
    for policy in ("on", "off"):
        progress(f"contents, large swap-in {policy}")
        _contents(result, effort, policy)
    progress("two threads")
    _two_threads(result, effort)
    progress("phones")
    _phones(result, effort)
    progress("memory")
    result.values |= bytes_per_page(effort.test)
    _memory_bandwidth(result, effort)
    progress("census")
    _census(result, effort)
    names = ("cold_start_s", "warm_start_s", "compile_s")
    if effort.starts:
        progress("cold and warm start")
        result.values |= dict(zip(names, _starts(), strict=True))
    else:
        result.missing("not measured with --quick", *names)
    return result


def _pairs(n: int, a: Callable[[], float], b: Callable[[], float]) -> list[tuple[float, float]]:
    """Measure two things in turn, A B B A ...; one pair before is not counted."""
    pairs = []
    for i in range(n + 1):
        if i % 2:
            second, first = b(), a()
        else:
            first, second = a(), b()
        pairs.append((first, second))
    return pairs[1:]


def _ratio(pairs: list[tuple[float, float]]) -> float:
    """The first over the second, in the median pair."""
    return statistics.median(a / b for a, b in pairs)


def _one_thread(result: Result, effort: Effort, policy: str, reference: Reference | None) -> None:
    fleet = _Fleet(replace(effort.test, large_swapin=policy == "on"), effort.devices)
    if reference is None:
        seconds = [fleet.seconds() for _ in range(effort.pairs)]
    else:
        pairs = _pairs(effort.pairs, fleet.seconds, partial(fleet.seconds, reference))
        seconds = [a for a, _ in pairs]
        result.values[f"njit_over_c_{policy}"] = _ratio(pairs)
    result.values[f"events_per_s_{policy}"] = fleet.events / statistics.median(seconds)


def _contents(result: Result, effort: Effort, policy: str) -> None:
    """Measure how much longer a page event takes with contents and zram's accounting."""
    plain = replace(effort.test, large_swapin=policy == "on")
    without = _Fleet(plain, effort.devices)
    for name, block_kib in (("content_over_none", 4), ("content_blocks_over_none", 64)):
        fleet = _Fleet(replace(plain, content=CONTENT, block_kib=block_kib), effort.devices)
        ratio = _ratio(_pairs(effort.pairs // 2 + 1, fleet.seconds, without.seconds))
        result.values[f"{name}_{policy}"] = ratio * without.events / fleet.events


def _two_threads(result: Result, effort: Effort) -> None:
    name = "two_threads_over_one"
    if usable_cores() < 2:
        result.missing("this process may use one CPU only", name)
        return
    fleets = (_Fleet(effort.test, 4 * effort.devices, threads) for threads in (1, 2))
    single, double = (partial(fleet.seconds, clock=time.perf_counter) for fleet in fleets)
    result.values[name] = _ratio(_pairs(effort.pairs, single, double))


def _phones(result: Result, effort: Effort) -> None:
    """Phones for a day, from their boot on."""
    scenario = load_fleet_scenario("phones", (), devices=4 * effort.devices)
    laid_out = lay_out(scenario)
    arena, _ = laid_out.arena()

    def run() -> None:
        arena.init()
        arena.run(laid_out.program, 0, len(laid_out.program))

    _, seconds = timed(run, time.thread_time)
    counted = arena.counters()
    result.values["page_faults_per_s"] = int(counted[:, counters.PGFAULT].sum()) / seconds
    result.values["device_hours_per_s"] = scenario.devices * scenario.days * 24 / seconds
    result.values["phone_ns_per_event"] = 1e9 * seconds / int(counted[:, counters.PAGE_EVENTS].sum())


def bytes_per_page(test: AllocatorTest) -> dict[str, float | None]:
    """Memory of a fleet device per 4 KiB page, all of its state included.

    Alignment between arrays and memory that belongs to no page count as shared by the pages of the regions.
    """
    workload = plan(test)
    sizes = workload.blueprint.sizes
    arrays = layout.arrays(sizes)

    def bytes_of(names: tuple[str, ...]) -> int:
        return sum(width * length for width, length in (arrays[name] for name in names))

    total = device_bytes(sizes)
    shared = total - bytes_of(_OF_PTES) - bytes_of(_OF_SLOTS) - bytes_of(_OF_FRAMES)
    pte = bytes_of(_OF_PTES) / (sizes.ptes * sizes.procs) + shared / workload.pages
    return {
        "bytes_per_swapped_page": pte + bytes_of(_OF_SLOTS) / sizes.slots,
        "bytes_per_resident_page": pte + bytes_of(_OF_FRAMES) / sizes.frames,
        "bytes_per_page": total / workload.pages,
        "bytes_per_device": total,
    }


def _memory_bandwidth(result: Result, effort: Effort) -> None:
    source = np.ones(effort.copied_mib << 20, dtype=np.uint8)
    copy = partial(np.copyto, np.zeros_like(source), source)
    bandwidth = 2 * source.nbytes / min(timed(copy)[1] for _ in range(effort.pairs))
    result.values["memory_bandwidth_bytes_per_s"] = bandwidth
    for policy in ("on", "off"):
        rate = result.values[f"events_per_s_{policy}"]
        result.values[f"copied_bytes_per_event_{policy}"] = None if rate is None else bandwidth / rate


def _census(result: Result, effort: Effort) -> None:
    """The batch census of 1 M pages of a process, whose blocks are in slots in any order."""
    pages = CENSUS_PAGES
    blocks = 32 + np.random.default_rng(0).permutation(pages // 16)
    pte = words_of_slots((16 * blocks[:, None] + np.arange(16)).ravel())
    region = np.array([0, pages])
    tables = PageTables(pte, region, np.zeros(1, np.int64), np.array([0, 1]), np.zeros(1, np.int64))
    count = partial(census, choose("cpu", 1)[0], tables, SwapAreas.unknown())
    copy = partial(np.copyto, np.zeros_like(pte), pte)
    pairs = _pairs(effort.pairs, lambda: timed(count, time.thread_time)[1], lambda: timed(copy, time.thread_time)[1])
    result.values["census_ns_per_page"] = 1e9 * statistics.median(a for a, _ in pairs) / pages
    # A copy moves 16 bytes a page: the word read and written.
    result.values["census_over_copy"] = statistics.median(9 * b / (16 * a) for a, b in pairs)


def _starts() -> tuple[float, float, float]:
    """Seconds of a cold and of a warm start, and of compiling, each in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "cache")
        cold, compiling = _start(Path(folder, "cold"), cache)
        warm = statistics.median(_start(Path(folder, f"warm{i}"), cache)[0] for i in range(3))
    return cold, warm, compiling


def _start(out: Path, cache: Path) -> tuple[float, float]:
    """Seconds of a run of one device in a fresh process, and of making its kernels ready."""
    command = [sys.executable, "-m", "fleetswap", "run", "--devices", "1", "--threads", "1", "--out", str(out)]
    paths = [path or str(Path.cwd()) for path in sys.path]
    environment = os.environ | {"FLEETSWAP_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join(paths)}
    start = partial(subprocess.run, command, env=environment, check=True, capture_output=True)
    _, seconds = timed(start)  # this program itself
    manifest = json.loads((out / "manifest.json").read_text())
    return seconds, float(manifest["ready_s"])
