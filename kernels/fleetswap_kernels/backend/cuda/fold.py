"""Folds the counters of devices on a GPU: only tallies of their metrics return, until a run ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ...device.figures.figures import PARTS, FoldMode
from ...layout.counters import N_COUNTERS
from ..contract import Progress
from ..tally import Folding, Ints, Tally
from .lanes import Gpu, Lane, Lanes, Result

QueueRun = Callable[[npt.NDArray[np.uint32], int, int], Callable[[Lane], None]]
"""Of a program and two positions in it: what queues the operations between them on a lane."""


@dataclass(frozen=True)
class _LaneFold:
    """What is folded of the devices of a lane.

    Parameters
    ----------
    devices : tuple of arrays for kernels
        Of its devices: classes; then, for each, counters when they were last taken, their change, sums, parts.
    sums : tuple of arrays for kernels
        Its tally.
    results : list of Result
        The tally, as CuPy has it, and where on the host it comes to.
    tally : Tally
        There.
    """

    devices: tuple[Any, ...]
    sums: tuple[Any, Any, Any]
    results: list[Result]
    tally: Tally


class CudaFold:
    """Folds counters in the memory of a GPU (`contract.Fold`).

    Parameters
    ----------
    lanes : Lanes
    gpu : Gpu
    folding : Folding
    quads : array for kernels
        Memory of the devices in words of 64 bits with a sign.
    queue_run : QueueRun
    """

    def __init__(self, lanes: Lanes, gpu: Gpu, folding: Folding, quads: Any, queue_run: QueueRun) -> None:
        from .target import array_of

        n = len(folding.groups)
        self._lanes, self._gpu, self._folding = lanes, gpu, folding
        self._quads, self._queue_run = quads, queue_run
        tables = (folding.columns, folding.prices, folding.metrics)
        # Arrays of CuPy that are in use by a kernel must not be freed.
        self._kept = [lanes.upload(table.reshape(-1)) for table in tables]
        self._tables = tuple(map(array_of, self._kept))
        self._groups = lanes.upload(folding.groups)
        self._since, self._change = lanes.new(n * N_COUNTERS), lanes.new(n * N_COUNTERS)
        self._sums, self._parts = lanes.new(n * PARTS), lanes.new(n * PARTS)
        empty = folding.empty()
        self._empty = [lanes.upload(array.reshape(-1)) for array in (empty.bins, empty.facts, empty.totals)]
        self._of_lane = {lane.first: self._lane(lane) for lane in lanes}
        self._mode = FoldMode.FIRST

    def _lane(self, lane: Lane) -> _LaneFold:
        from .target import array_of

        end = lane.first + lane.devices
        arrays = [self._groups[lane.first : end]]
        arrays += [array[lane.first * N_COUNTERS : end * N_COUNTERS] for array in (self._since, self._change)]
        arrays += [array[lane.first * PARTS : end * PARTS] for array in (self._sums, self._parts)]
        empty = self._folding.empty()
        shapes = [array.shape for array in (empty.bins, empty.facts, empty.totals)]
        results = [(self._lanes.new(int(np.prod(shape))), self._lanes.pinned(int(np.prod(shape)))) for shape in shapes]
        bins, facts, totals = (array_of(there) for there, _ in results)
        here = (to.reshape(shape) for (_, to), shape in zip(results, shapes, strict=True))
        return _LaneFold(tuple(map(array_of, arrays)), (bins, facts, totals), results, Tally(*here))

    def run_steps(self, program: npt.NDArray[np.uint32], marks: Sequence[int], progress: Progress) -> list[Tally]:
        """Run steps and tally what the devices did in each."""
        return [self._step(program, first, end, progress) for first, end in pairwise(marks)]

    def _step(self, program: npt.NDArray[np.uint32], first: int, end: int, progress: Progress) -> Tally:
        mode, self._mode = self._mode, FoldMode.STEP
        return self._fold(self._queue_run(program, first, end), mode, progress=progress)

    def tally_run(self, steps: int) -> Tally:
        """Tally what the devices did in all."""
        return self._fold(lambda lane: None, FoldMode.WHOLE, steps)

    def changes(self) -> Ints:
        """What was last tallied of each device."""
        copy: Ints = self._change.get()
        return copy.reshape(-1, N_COUNTERS)

    def parts(self) -> Ints:
        """Its price and figures."""
        copy: Ints = self._parts.get()
        return copy.reshape(-1, PARTS)

    def state_sums(self) -> Ints:
        """Sums of states over the steps."""
        copy: Ints = self._sums.get()
        return copy.reshape(-1, PARTS)

    def resume(self, state_sums: Ints) -> None:
        """Go on where another fold had these sums."""
        self._lanes.fill(self._sums, state_sums.reshape(-1))
        self._fold(lambda lane: None, FoldMode.RESUME)
        self._mode = FoldMode.STEP

    def _fold(
        self,
        kernel: Callable[[Lane], None],
        mode: FoldMode,
        steps: int = 0,
        progress: Progress = lambda devices: None,
    ) -> Tally:
        def bring(lane: Lane) -> list[Result]:
            lane_fold = self._of_lane[lane.first]
            groups, since, change, sums, parts = lane_fold.devices
            self._gpu.fold.launch(
                lane.queue,
                lane.devices,
                self._quads,
                lane.base,
                groups,
                *self._tables,
                since,
                change,
                sums,
                parts,
                *lane_fold.sums,
                int(mode),
                steps,
            )
            return lane_fold.results

        for lane_fold in self._of_lane.values():
            for empty, (there, _) in zip(self._empty, lane_fold.results, strict=True):
                self._lanes.copy(there, empty)
        self._lanes.launch(kernel, progress, bring)
        tally = self._folding.empty()
        for lane in self._of_lane.values():
            tally.add(lane.tally)
        return tally
