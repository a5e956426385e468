"""Runs a fleet: shards of devices, step by step, counters folded into integer histograms."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.arena import Arena, device_bytes
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.contract import Backend, Fold
from fleetswap_kernels.backend.tally import FOLD_BYTES, Folding, Tally

from ..check.counters import check_counters, orders_by_advice
from ..check.device import Checker
from ..check.findings import Findings
from ..scenario.content_library import load_library
from ..scenario.cost import load_profile
from ..workload.laid_out import LaidOut
from ..workload.metrics import column_table, metric_table, parts_of
from .cells import WHOLE_RUN, Cell, Cells, Totals, cells_of, totals_of
from .pieces import Progress, Shard, no_progress
from .price import price_list

STEPS_AT_ONCE = 8
"""Steps that a device does before its backend turns to others: its memory stays in a processor's caches meanwhile."""


class BrokenDeviceError(RuntimeError):
    """The recounted state of a device differs from what it keeps; the message names device, step and difference."""


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
    by_step : dict of str to int64 array of shape (devices, steps)
        The same step by step, states as they are at its end, a share of nothing as 0; empty if it is not kept.
    cells : Cells
    totals : Totals
        Sums over the devices of a class of what each step changed, or of the states at its end.
    step_ns : int
        Time spent in kernels.
    """

    shard: Shard
    classes: npt.NDArray[np.int64]
    counters: npt.NDArray[np.int64]
    metrics: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    by_step: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    cells: Cells = field(default_factory=dict)
    totals: Totals = field(default_factory=dict)
    step_ns: int = 0

    def add(self, step: int, tally: Tally, laid_out: LaidOut, devices: npt.NDArray[np.int64]) -> None:
        """Add what the devices did in a step.

        Parameters
        ----------
        step : int
            The step from 0, or `WHOLE_RUN`.
        tally : Tally
            What they did, by class.
        laid_out : LaidOut
        devices : int64 array of shape (classes,)
            Number of devices of each class.
        """
        for (name, metric), cell in cells_of(tally, laid_out.classes, tuple(laid_out.metrics), devices).items():
            self.cells[name, step, metric] = cell
        for name, counted in totals_of(tally, laid_out.classes, devices).items():
            self.totals[name, step] = counted

    def add_values(self, step: int, laid_out: LaidOut, parts: npt.NDArray[np.int64]) -> None:
        """Add the metrics of each device in a step (`by_step`), out of its parts."""
        for name, metric in laid_out.metrics.items():
            empty = np.zeros((len(parts), laid_out.steps), np.int64)
            self.by_step.setdefault(name, empty)[:, step] = metric.value(parts_of(metric, parts))


class Keeper:
    """Keeps what a shard has reached, for another process to go on from; this one keeps nothing."""

    def restore(self, arena: Arena, fold: Fold, result: FleetShard) -> int:  # noqa: ARG002 (signature)
        """Fill a new arena, its fold and the result with what was kept; number of steps done, 0 if nothing was."""
        return 0

    def keep(self, arena: Arena, fold: Fold, result: FleetShard, steps: int) -> None:
        """Take note that so many steps are done: devices and their fold as they are, cells and totals of `result`.

        It is told whenever the backend has done some of them at once (`STEPS_AT_ONCE`).

        Parameters
        ----------
        arena : Arena
            Memory of the devices.
        fold : Fold
            What the arena's counters were folded into so far.
        result : FleetShard
            Cells and totals of the steps done.
        steps : int
            Number of steps done since the start of the simulation.
        """


NOTHING_KEPT = Keeper()


def fleet_bytes(laid_out: LaidOut) -> int:
    """Memory of all devices, were they simulated at once."""
    kinds = laid_out.kinds.values()
    share_bytes = sum(kind.share * device_bytes(kind.blueprint.sizes) for kind in kinds)
    return laid_out.devices * share_bytes // sum(kind.share for kind in kinds)


def mean_device_bytes(laid_out: LaidOut) -> int:
    """Memory of a device, on average over the fleet, rounded up."""
    return -(-fleet_bytes(laid_out) // laid_out.devices)


def shard_bytes(laid_out: LaidOut) -> int:
    """What a device takes of the memory of its shard: its own, what its counters are folded in, metrics of steps."""
    return mean_device_bytes(laid_out) + FOLD_BYTES + step_bytes(laid_out)


def step_bytes(laid_out: LaidOut) -> int:
    """What a device takes whose metrics are kept step by step."""
    return 8 * len(laid_out.metrics) * laid_out.steps if laid_out.keeps_steps else 0


def run_shard(
    laid_out: LaidOut,
    shard: Shard,
    backend: Backend,
    progress: Progress = no_progress,
    check: bool = False,
    keeper: Keeper = NOTHING_KEPT,
) -> FleetShard:
    """Simulate the devices of a shard.

    Parameters
    ----------
    laid_out : LaidOut
        The fleet.
    shard : Shard
        Range of its devices, which fits the backend's memory.
    backend : Backend
        What the kernels run on.
    progress : Progress
        Called with device-steps as they are done.
    check : bool
        Recount after every step that nothing is lost: frames, slots, swap counts, compressed bytes, mappings.
    keeper : Keeper
        Told every few steps what is reached. Results do not depend on it.

    Raises
    ------
    BrokenDeviceError
        If something is.
    """
    classes = laid_out.classes_of(shard.first, shard.end)
    counts = np.bincount(classes, minlength=len(laid_out.classes))
    started = time.perf_counter_ns()
    # Devices go back to their order at the end.
    arena, order = laid_out.arena(shard.first, shard.end, backend)
    back = np.argsort(order, kind="stable")
    fold = arena.fold(folding(laid_out, classes[order]))
    result = FleetShard(shard, classes, np.zeros((0, 0), dtype=np.int64))
    done = keeper.restore(arena, fold, result)
    if not done:
        arena.init()
    result.step_ns = time.perf_counter_ns() - started
    if done:
        progress(done * len(arena))
    steps = laid_out.steps
    for first, end in stretches(done, steps, 1 if check or laid_out.keeps_steps else STEPS_AT_ONCE):
        started = time.perf_counter_ns()
        tallies = arena.run_steps(fold, laid_out.program, laid_out.marks[first : end + 1], progress)
        result.step_ns += time.perf_counter_ns() - started
        if check:
            _check(arena, shard.first + order, first)
        for step, tally in enumerate(tallies, first):
            result.add(step, tally, laid_out, counts)
        if laid_out.keeps_steps:
            result.add_values(first, laid_out, fold.parts()[back])
        keeper.keep(arena, fold, result, end)
    result.add(WHOLE_RUN, fold.tally_run(steps), laid_out, counts)
    result.counters = fold.changes()[back]
    if laid_out.runs_short:
        _check_counters(laid_out, result)
    parts = fold.parts()[back]
    for name, metric in laid_out.metrics.items():
        figures = parts_of(metric, parts)
        result.metrics[name] = figures[0].copy() if metric.base is None else np.stack(figures, axis=1)
    arena.release()
    return result


def stretches(done: int, steps: int, at_once: int) -> Iterator[tuple[int, int]]:
    """Steps that a device does before others do any: first and end of each stretch, from `done` on."""
    for first in range(done, steps, at_once):
        yield first, min(steps, first + at_once)


def folding(laid_out: LaidOut, groups: npt.NDArray[np.int64]) -> Folding:
    """How counters of devices become metrics; classes have profiles and codecs of their own.

    Parameters
    ----------
    laid_out : LaidOut
    groups : int64 array of shape (devices,)
        Class of each device, by index.
    """
    contents = load_library(laid_out.library).names
    prices = [
        price_list(load_profile(kind.cost), kind.codec, kind.block_order, contents) for kind in laid_out.kinds.values()
    ]
    metrics = metric_table(laid_out.metrics.values())
    return Folding(groups, np.stack(prices), column_table(laid_out.page_scale), metrics)


def _check(arena: Arena, numbers: npt.NDArray[np.int64], step: int) -> None:
    """Recount the state of every device from the bottom."""
    for d, number in enumerate(numbers.tolist()):
        violations = Checker(arena.view(d)).violations()
        if violations:
            raise BrokenDeviceError(f"device {number} after step {step}: {'; '.join(violations[:3])}")


def _check_counters(laid_out: LaidOut, result: FleetShard) -> None:
    """Check at the end of every run that counters add up: it costs next to nothing."""
    for c, blueprint in enumerate(laid_out.blueprints):
        of_class = np.flatnonzero(result.classes == c)
        findings = Findings()
        orders = orders_by_advice(blueprint.policy.__getitem__, laid_out.advises)
        check_counters(result.counters[of_class], *orders, findings)
        if findings.lines:
            raise BrokenDeviceError(f"devices of class {laid_out.classes[c]}: {'; '.join(findings.lines[:3])}")


def warm_up(laid_out: LaidOut, backend: Backend = ONE_THREAD) -> int:
    """Compile the kernels, or load them from the cache folder; nanoseconds it took."""
    started = time.perf_counter_ns()
    arena = Arena([(laid_out.blueprints[0], 1)], backend=backend)
    arena.init()
    fold = arena.fold(folding(replace(laid_out, kinds=dict([*laid_out.kinds.items()][:1])), np.zeros(1, np.int64)))
    arena.run_steps(fold, laid_out.program, (0, 0))
    return time.perf_counter_ns() - started


def add_up(cells: Cells, totals: Totals, shard: FleetShard) -> None:
    """Add the cells and totals of a shard to those of other devices."""
    for key, cell in shard.cells.items():
        cells.setdefault(key, Cell()).merge(cell)
    for at, counted in shard.totals.items():
        totals[at] = totals[at] + counted if at in totals else counted


def join(shard: Shard, pieces: Iterable[FleetShard]) -> FleetShard:
    """One shard of the pieces that it was simulated in, which follow each other (`pieces.Fit`)."""
    rest = iter(pieces)
    joined_shard = next(rest)  # mostly the only one: its cells need no adding up
    joined_shard.shard = shard
    piece_arrays = [(joined_shard.classes, joined_shard.counters, joined_shard.metrics, joined_shard.by_step)]
    for piece in rest:
        add_up(joined_shard.cells, joined_shard.totals, piece)
        joined_shard.step_ns += piece.step_ns
        piece_arrays.append((piece.classes, piece.counters, piece.metrics, piece.by_step))
    classes, counted, metrics, values = zip(*piece_arrays, strict=True)
    joined_shard.classes, joined_shard.counters = np.concatenate(classes), np.concatenate(counted)
    joined_shard.metrics, joined_shard.by_step = join_columns(metrics), join_columns(values)
    return joined_shard


def join_columns(parts: Sequence[Mapping[str, npt.NDArray[np.int64]]]) -> dict[str, npt.NDArray[np.int64]]:
    """Columns of devices that follow each other, under one name each."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
