"""Runs a fleet of phones: shards of devices, step by step, counters folded into integer histograms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.arena import ONE_THREAD, Arena, device_bytes
from fleetswap_kernels.launch import Backend

from .content_library import load_library
from .cost import Price, load_profile, price
from .engine import Fit, Progress, Shard, cut, no_progress
from .fleet_scenario import FleetScenario
from .invariants import Checker
from .log_histogram import LogHistogram
from .metrics import METRICS, STATES, Events, Ints, Metric, columns
from .workload.phones import PhonePlan, arena_of, class_of_devices


class BrokenDeviceError(RuntimeError):
    """The recounted state of a device differs from what it keeps; the message names device, step and difference."""


ALL = "all"
"""Stands for the devices of every class."""


@dataclass
class Cell:
    """One metric of one step and class of devices.

    Parameters
    ----------
    histogram : LogHistogram
        Of the devices' values; of a share only of devices that have a base.
    top, bottom : int
        Sums of the numerators and denominators of a share; `bottom` is 0 for what is none.
    """

    histogram: LogHistogram = field(default_factory=LogHistogram)
    top: int = 0
    bottom: int = 0

    def merge(self, other: Cell) -> None:
        """Add the devices of another cell."""
        self.histogram.merge(other.histogram)
        self.top += other.top
        self.bottom += other.bottom


Cells = dict[tuple[str, int, str], Cell]
"""By class, step and metric; step -1 is the whole run."""
WHOLE_RUN = -1
Totals = dict[tuple[str, int], npt.NDArray[np.int64]]
"""Sums of counters by class and step, of shape (counters.N_COUNTERS,)."""


@dataclass
class FleetShard:
    """What a shard yields.

    Parameters
    ----------
    shard : Shard
    classes : int64 array of shape (devices,)
        Class of each device, by index.
    counters : int64 array of shape (devices, counters.N_COUNTERS)
        At the end, scaled to real devices.
    metrics : dict of str to int64 array
        Of the whole run, states as their means over the steps; a share as (numerator, denominator) columns of shape
        (devices, 2).
    cells : Cells
    totals : Totals
        Sums over the devices of a class of what each step changed, or of the states at its end.
    states : dict of str to list of int64 arrays of shape (devices,)
        While devices are simulated: sums over the steps so far of the parts of metrics that are states.
    step_ns : int
        Time spent in kernels.
    """

    shard: Shard
    classes: npt.NDArray[np.int64]
    counters: npt.NDArray[np.int64]
    metrics: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    cells: Cells = field(default_factory=dict)
    totals: Totals = field(default_factory=dict)
    states: dict[str, list[npt.NDArray[np.int64]]] = field(default_factory=dict)
    step_ns: int = 0


class Keeper:
    """Keeps what a shard has reached, for another process to go on from; this one keeps nothing."""

    def restore(self, arena: Arena, result: FleetShard) -> int:  # noqa: ARG002 (signature)
        """Fill a new arena and the result with what was kept; number of steps done, 0 if nothing was."""
        return 0

    def keep(self, arena: Arena, result: FleetShard, steps: int) -> None:
        """Take note that so many steps are done: devices as in `arena`; cells, totals and states as in `result`."""


NOTHING_KEPT = Keeper()

_STATE_COLUMNS = np.array([index for name, index in columns().items() if name in STATES])


def plan_shards(
    scenario: FleetScenario, laid_out: PhonePlan, shards: int = 0, backend: Backend = ONE_THREAD
) -> list[Shard]:
    """Cut a fleet into ranges of devices that fit memory; results do not depend on how."""
    if shards == 0:
        shards = -(-scenario.devices // backend.at_once(mean_device_bytes(scenario, laid_out)))
    return cut(scenario.devices, shards)


def fleet_bytes(scenario: FleetScenario, laid_out: PhonePlan) -> int:
    """Memory of all devices, were they simulated at once."""
    shares = np.array([c.share for c in scenario.device_class.values()], dtype=np.int64)
    each = [device_bytes(b.sizes) for b in laid_out.blueprints]
    return scenario.devices * int(shares @ np.array(each, dtype=np.int64)) // int(shares.sum())


def mean_device_bytes(scenario: FleetScenario, laid_out: PhonePlan) -> int:
    """Memory of a device, on average over the fleet, rounded up."""
    return -(-fleet_bytes(scenario, laid_out) // scenario.devices)


def run_shard(
    scenario: FleetScenario,
    laid_out: PhonePlan,
    shard: Shard,
    backend: Backend,
    progress: Progress = no_progress,
    check: bool = False,
    keeper: Keeper = NOTHING_KEPT,
) -> FleetShard:
    """Simulate the devices of a shard.

    Parameters
    ----------
    check : bool
        Recount after every step that nothing is lost: frames, slots, swap counts, compressed bytes, mappings.
    keeper : Keeper
        Told after every step what is reached. Results do not depend on it.

    Raises
    ------
    BrokenDeviceError
        If something is.
    """
    classes = class_of_devices(scenario, shard.first, shard.end)
    counts = np.bincount(classes, minlength=len(laid_out.classes)).tolist()
    started = time.perf_counter_ns()
    # Devices go back to their order at the end.
    arena, order = arena_of(scenario, laid_out, shard.first, shard.end, backend)
    result = FleetShard(shard, classes, np.zeros((0, 0), dtype=np.int64))
    done = keeper.restore(arena, result)
    if not done:
        arena.init()
    result.step_ns = time.perf_counter_ns() - started
    fold = _Fold(result, scenario, _ranges(laid_out, counts))
    before = arena.counters().astype(np.int64)
    if not done:
        before[:] = 0  # What a device counted while it was made belongs to its first step.
    for step, (first, end) in enumerate(zip(laid_out.marks, laid_out.marks[1:], strict=False)):
        if step < done:
            progress(len(arena))
            continue
        started = time.perf_counter_ns()
        arena.run(laid_out.program, first, end, progress)
        result.step_ns += time.perf_counter_ns() - started
        if check:
            _check(arena, shard.first + order, step)
        after = arena.counters().astype(np.int64)
        change = after - before
        change[:, _STATE_COLUMNS] = after[:, _STATE_COLUMNS]
        fold.step(step, change)
        keeper.keep(arena, result, step + 1)
        before = after
    fold.whole_run(before, len(laid_out.marks) - 1)
    back = np.argsort(order, kind="stable")
    result.counters = result.counters[back]
    result.metrics = {name: values[back] for name, values in result.metrics.items()}
    return result


def _check(arena: Arena, numbers: npt.NDArray[np.int64], step: int) -> None:
    """Recount the state of every device from the bottom."""
    for d, number in enumerate(numbers.tolist()):
        found = Checker(arena.view(d)).violations()
        if found:
            raise BrokenDeviceError(f"device {number} after step {step}: {'; '.join(found[:3])}")


def _ranges(laid_out: PhonePlan, counts: list[int]) -> dict[str, slice]:
    """Rows of each class among the devices of an arena."""
    ranges = {ALL: slice(0, sum(counts))}
    at = 0
    for name, n in zip(laid_out.classes, counts, strict=True):
        if n:
            ranges[name] = slice(at, at + n)
        at += n
    return ranges


class _Prices:
    """Prices events of devices, whose classes may have profiles and codecs of their own."""

    def __init__(self, scenario: FleetScenario, ranges: dict[str, slice]) -> None:
        self._parts: list[tuple[slice, Callable[[npt.NDArray[np.int64]], Price]]] = []
        names = load_library(None if scenario.content_library == "measured" else Path(scenario.content_library)).names

        def kind(name: str) -> tuple[str, str, int]:
            device = scenario.device_class[name]
            return device.cost, device.codec, (device.block // 4096).bit_length() - 1

        # Neighbours that cost the same are priced together.
        for (cost, codec, block_order), alike in groupby((name for name in ranges if name != ALL), kind):
            own = [ranges[name] for name in alike]
            pay = partial(price, profile=load_profile(cost), codec=codec, block_order=block_order, classes=names)
            self._parts.append((slice(own[0].start, own[-1].stop), pay))

    def of(self, events: Events) -> Price:
        """What the events cost, device by device."""
        paid = [pay(events.counted[rows]) for rows, pay in self._parts]
        return Price(
            stall_ns=np.concatenate([p.stall_ns for p in paid]),
            swapout_ns=np.concatenate([p.swapout_ns for p in paid]),
            background_ns=np.concatenate([p.background_ns for p in paid]),
            decompressed_bytes=np.concatenate([p.decompressed_bytes for p in paid]),
            parts={},
        )


def cells_of(metric: Metric, parts: Sequence[Ints], ranges: Mapping[str, slice]) -> dict[str, Cell]:
    """One metric of devices, in a cell for each range; a device whose share has no base has no value.

    Parameters
    ----------
    metric : Metric
    parts : sequence of int64 arrays of shape (devices,)
        As `Metric.parts` gives them.
    ranges : mapping of str to slice
        Rows of devices, none of them empty; they may overlap.
    """
    rows = np.concatenate([np.arange(own.start, own.stop) for own in ranges.values()])
    first = np.cumsum([0] + [own.stop - own.start for own in ranges.values()])[:-1]
    sums = [np.add.reduceat(part[rows], first).tolist() for part in parts]
    known = parts[1][rows] > 0 if metric.base else np.ones(len(rows), dtype=bool)
    sizes = np.add.reduceat(known, first, dtype=np.int64).tolist()
    histograms = LogHistogram.of_groups(metric.value(parts)[rows[known]], sizes)
    return {name: Cell(*facts) for name, *facts in zip(ranges, histograms, *sums, strict=True)}


class _Fold:
    """Adds what the devices of a shard do, step by step, to its cells and totals.

    Parameters
    ----------
    result : FleetShard
        Where to.
    scenario : FleetScenario
    ranges : dict of str to slice
        Rows of all devices, and of each class that has any.
    """

    def __init__(self, result: FleetShard, scenario: FleetScenario, ranges: dict[str, slice]) -> None:
        self._result = result
        self._page_scale = scenario.page_scale
        self._prices = _Prices(scenario, ranges)
        self._ranges = ranges

    def step(self, step: int, change: Ints) -> None:
        """Add what the devices did in a step, and the states they came to."""
        events = Events(change, self._page_scale)
        paid = self._prices.of(events)
        for name, metric in METRICS.items():
            parts = metric.parts(events, paid)
            self._add_cells(step, name, parts)
            if metric.state:
                passed = self._result.states.get(name, [np.zeros_like(part) for part in parts])
                self._result.states[name] = [a + b for a, b in zip(passed, parts, strict=True)]
        self._add_totals(step, events)

    def whole_run(self, counted: Ints, steps: int) -> None:
        """Add what the devices did in the run, their states at its end, and means of state metrics over its steps."""
        events = Events(counted, self._page_scale)
        paid = self._prices.of(events)
        for name, metric in METRICS.items():
            parts = metric.mean(self._result.states[name], steps) if metric.state else metric.parts(events, paid)
            self._add_cells(WHOLE_RUN, name, parts)
            self._result.metrics[name] = parts[0] if metric.base is None else np.stack(parts, axis=1)
        self._add_totals(WHOLE_RUN, events)
        self._result.counters = events.counted
        self._result.states = {}

    def _add_cells(self, step: int, name: str, parts: Sequence[Ints]) -> None:
        for where, cell in cells_of(METRICS[name], parts, self._ranges).items():
            self._result.cells[where, step, name] = cell

    def _add_totals(self, step: int, events: Events) -> None:
        for where, rows in self._ranges.items():
            self._result.totals[where, step] = events.counted[rows].sum(axis=0)


def warm_up(laid_out: PhonePlan, backend: Backend = ONE_THREAD) -> int:
    """Compile the kernels, or load them from the cache folder; nanoseconds it took."""
    started = time.perf_counter_ns()
    arena = Arena([(laid_out.blueprints[0], 1)], backend=backend)
    arena.init()
    arena.run(laid_out.program, 0, 0)
    return time.perf_counter_ns() - started


def run_shards(
    scenario: FleetScenario,
    laid_out: PhonePlan,
    shards: list[Shard],
    backend: Backend,
    progress: Progress = no_progress,
    check: bool = False,
) -> Iterator[FleetShard]:
    """Simulate shards one after the other, in pieces that fit memory (`run_shard`)."""
    fit = Fit()
    for shard in shards:
        yield from fit.run(
            shard, lambda piece, count: run_shard(scenario, laid_out, piece, backend, count, check), progress
        )


def add_up(cells: Cells, totals: Totals, shard: FleetShard) -> None:
    """Add the cells and totals of a shard to those of other devices."""
    for key, cell in shard.cells.items():
        cells.setdefault(key, Cell()).merge(cell)
    for at, counted in shard.totals.items():
        totals[at] = totals[at] + counted if at in totals else counted


def join(shard: Shard, pieces: Iterable[FleetShard]) -> FleetShard:
    """One shard of the pieces that it was simulated in, which follow each other (`engine.Fit`)."""
    whole, *others = pieces
    for other in others:
        whole.classes = np.concatenate([whole.classes, other.classes])
        whole.counters = np.concatenate([whole.counters, other.counters])
        whole.metrics = {name: np.concatenate([own, other.metrics[name]]) for name, own in whole.metrics.items()}
        add_up(whole.cells, whole.totals, other)
        whole.step_ns += other.step_ns
    whole.shard = shard
    return whole
