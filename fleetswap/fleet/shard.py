"""Runs a fleet of phones: shards of devices, step by step, counters folded into integer histograms."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.arena import Arena, device_bytes
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.contract import Backend, Fold
from fleetswap_kernels.backend.tally import FOLD_BYTES, Folding, Tally
from fleetswap_kernels.device.figures.price import PRICE_WORDS
from fleetswap_kernels.layout.pages import order_of

from ..check.counters import check_counters, orders_by_advice
from ..check.device import Checker
from ..check.findings import Findings
from ..scenario.content_library import load_library
from ..scenario.cost import load_profile
from ..scenario.model import FleetScenario
from ..workload.phones import LaidOut, arena_of, class_of_devices
from .cells import WHOLE_RUN, Cell, Cells, Totals, cells_of, totals_of
from .metrics import METRICS, column_table, metric_table, parts_of
from .pieces import Fit, Progress, Shard, cut, no_progress
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
    cells: Cells = field(default_factory=dict)
    totals: Totals = field(default_factory=dict)
    step_ns: int = 0

    def add(self, step: int, tally: Tally, names: tuple[str, ...], devices: npt.NDArray[np.int64]) -> None:
        """Add what the devices did in a step; of the named classes there are so many devices.

        Parameters
        ----------
        step : int
            The step from 0, or `WHOLE_RUN`.
        tally : Tally
            What they did, by class.
        names : tuple of str
            Of the classes.
        devices : int64 array of shape (classes,)
            Number of devices of each class.
        """
        for (name, metric), cell in cells_of(tally, names, devices).items():
            self.cells[name, step, metric] = cell
        for name, counted in totals_of(tally, names, devices).items():
            self.totals[name, step] = counted


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


def plan_shards(laid_out: LaidOut, shards: int = 0, backend: Backend = ONE_THREAD) -> list[Shard]:
    """Cut a fleet into ranges of devices that fit memory; results do not depend on how."""
    if shards == 0:
        shards = -(-laid_out.devices // backend.devices_at_once(mean_device_bytes(laid_out) + FOLD_BYTES))
    return cut(laid_out.devices, shards)


def fleet_bytes(laid_out: LaidOut) -> int:
    """Memory of all devices, were they simulated at once."""
    shares = np.array([c.share for c in laid_out.scenario.device_class.values()], dtype=np.int64)
    class_bytes = [device_bytes(b.sizes) for b in laid_out.blueprints]
    return laid_out.devices * int(shares @ np.array(class_bytes, dtype=np.int64)) // int(shares.sum())


def mean_device_bytes(laid_out: LaidOut) -> int:
    """Memory of a device, on average over the fleet, rounded up."""
    return -(-fleet_bytes(laid_out) // laid_out.devices)


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
    classes = class_of_devices(laid_out.scenario, shard.first, shard.end)
    counts = np.bincount(classes, minlength=len(laid_out.classes))
    started = time.perf_counter_ns()
    # Devices go back to their order at the end.
    arena, order = arena_of(laid_out, shard.first, shard.end, backend)
    fold = arena.fold(folding(laid_out.scenario, classes[order]))
    result = FleetShard(shard, classes, np.zeros((0, 0), dtype=np.int64))
    done = keeper.restore(arena, fold, result)
    if not done:
        arena.init()
    result.step_ns = time.perf_counter_ns() - started
    if done:
        progress(done * len(arena))
    steps = laid_out.steps
    for first, end in stretches(done, steps, 1 if check else STEPS_AT_ONCE):
        started = time.perf_counter_ns()
        tallies = arena.run_steps(fold, laid_out.program, laid_out.marks[first : end + 1], progress)
        result.step_ns += time.perf_counter_ns() - started
        if check:
            _check(arena, shard.first + order, first)
        for step, tally in enumerate(tallies, first):
            result.add(step, tally, laid_out.classes, counts)
        keeper.keep(arena, fold, result, end)
    result.add(WHOLE_RUN, fold.tally_run(steps), laid_out.classes, counts)
    back = np.argsort(order, kind="stable")
    result.counters = fold.changes()[back]
    _check_counters(laid_out, result)
    parts = fold.parts()[back]
    for name, metric in METRICS.items():
        figures = parts_of(metric, parts)
        result.metrics[name] = figures[0].copy() if metric.base is None else np.stack(figures, axis=1)
    arena.release()
    return result


def stretches(done: int, steps: int, at_once: int) -> Iterator[tuple[int, int]]:
    """Steps that a device does before others do any: first and end of each stretch, from `done` on."""
    for first in range(done, steps, at_once):
        yield first, min(steps, first + at_once)


def folding(scenario: FleetScenario, groups: npt.NDArray[np.int64]) -> Folding:
    """How counters of devices become metrics; the classes of a scenario have profiles and codecs of their own.

    Parameters
    ----------
    groups : int64 array of shape (devices,)
        Class of each device, by index.
    """
    library = None if scenario.content_library == "measured" else Path(scenario.content_library)
    contents = load_library(library).names
    prices = [
        price_list(load_profile(device.cost), device.codec, order_of(device.block), contents)
        for device in scenario.device_class.values()
    ]
    return Folding(groups, np.stack(prices), column_table(scenario.page_scale), metric_table())


def _check(arena: Arena, numbers: npt.NDArray[np.int64], step: int) -> None:
    """Recount the state of every device from the bottom."""
    for d, number in enumerate(numbers.tolist()):
        violations = Checker(arena.view(d)).violations()
        if violations:
            raise BrokenDeviceError(f"device {number} after step {step}: {'; '.join(violations[:3])}")


def _check_counters(laid_out: LaidOut, result: FleetShard) -> None:
    """Check at the end of every run that counters add up: it costs next to nothing."""
    advises = any(app.madvise_hugepage for app in laid_out.scenario.app_class.values())
    for c, blueprint in enumerate(laid_out.blueprints):
        of_class = np.flatnonzero(result.classes == c)
        findings = Findings()
        orders = orders_by_advice(blueprint.policy.__getitem__, advises)
        check_counters(result.counters[of_class], *orders, findings)
        if findings.lines:
            raise BrokenDeviceError(f"devices of class {laid_out.classes[c]}: {'; '.join(findings.lines[:3])}")


def warm_up(laid_out: LaidOut, backend: Backend = ONE_THREAD) -> int:
    """Compile the kernels, or load them from the cache folder; nanoseconds it took."""
    started = time.perf_counter_ns()
    arena = Arena([(laid_out.blueprints[0], 1)], backend=backend)
    arena.init()
    free = np.zeros((1, PRICE_WORDS), dtype=np.int64)
    fold = arena.fold(Folding(np.zeros(1, dtype=np.int64), free, column_table(1), metric_table()))
    arena.run_steps(fold, laid_out.program, (0, 0))
    return time.perf_counter_ns() - started


def run_shards(
    laid_out: LaidOut,
    shards: list[Shard],
    backend: Backend,
    progress: Progress = no_progress,
    check: bool = False,
) -> Iterator[FleetShard]:
    """Simulate shards one after the other, in pieces that fit memory (`run_shard`).

    Parameters
    ----------
    laid_out : LaidOut
        The fleet.
    shards : list of Shard
        In the order of devices.
    backend : Backend
        What the kernels run on.
    progress : Progress
        Called with device-steps as they are done; those of a piece that did not fit are taken back.
    check : bool
        Recount every device after every step.
    """
    fit = Fit()
    for shard in shards:
        yield from fit.run(shard, lambda piece, count: run_shard(laid_out, piece, backend, count, check), progress)


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
    piece_arrays = [(joined_shard.classes, joined_shard.counters, joined_shard.metrics)]
    for piece in rest:
        add_up(joined_shard.cells, joined_shard.totals, piece)
        joined_shard.step_ns += piece.step_ns
        piece_arrays.append((piece.classes, piece.counters, piece.metrics))
    classes, counted, metrics = zip(*piece_arrays, strict=True)
    joined_shard.classes, joined_shard.counters = np.concatenate(classes), np.concatenate(counted)
    joined_shard.metrics = {
        name: np.concatenate([piece_metrics[name] for piece_metrics in metrics]) for name in metrics[0]
    }
    return joined_shard
