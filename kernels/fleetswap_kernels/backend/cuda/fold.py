"""Folds the counters of devices on a GPU: only tallies of their metrics return, until a run ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ...device.figures.figures import FoldMode
from ...device.figures.fold import FoldWork
from ...layout.device import HEADER_BYTES, Q_COUNTER
from ..contract import Fold, Progress
from ..tally import ROW_WORDS, Folding, Ints, Tally, flat
from .lanes import Gpu, Lane, Lanes, Result

QueueRun = Callable[[npt.NDArray[np.uint32], int, int], Callable[[Lane], None]]
"""Of a program and two positions in it: what queues the operations between them on a lane."""


@dataclass(frozen=True)
class _LaneFold:
    """What is folded of the devices of a lane.

    Parameters
    ----------
    work : FoldWork
        Its devices, and its tally, as arrays for kernels.
    results : list of Result
        The tally, as CuPy has it, and where on the host it comes to.
    tally : Tally
        There.
    """

    work: FoldWork
    results: list[Result]
    tally: Tally


class CudaFold(Fold):
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
        n = len(folding.groups)
        super().__init__(n)
        self._lanes, self._gpu, self._folding = lanes, gpu, folding
        self._quads, self._queue_run = quads, queue_run
        # Arrays of CuPy that are in use by a kernel must not be freed.
        self._arrays = {name: lanes.upload(table) for name, table in flat(folding).items()}
        self._arrays |= {name: lanes.new(n * words) for name, words in ROW_WORDS.items()}
        self._empty = [lanes.upload(array) for array in flat(folding.empty()).values()]
        self._of_lane = {lane.first: self._lane(lane) for lane in lanes}

    def _lane(self, lane: Lane) -> _LaneFold:
        from .target import array_of

        arrays = dict(self._arrays)
        for name, words in {"groups": 1, **ROW_WORDS}.items():
            arrays[name] = arrays[name][lane.first * words : (lane.first + lane.devices) * words]
        empty = self._folding.empty()
        results = {name: (self._lanes.new(a.size), self._lanes.pinned(a.size)) for name, a in flat(empty).items()}
        arrays |= {name: there for name, (there, _) in results.items()}
        work = FoldWork(quads=self._quads, base=lane.base, stride=HEADER_BYTES // 8, first=Q_COUNTER)
        here = {name: to.reshape(getattr(empty, name).shape) for name, (_, to) in results.items()}
        told = work._replace(**{name: array_of(array) for name, array in arrays.items()})
        return _LaneFold(told, list(results.values()), Tally(**here))

    def run_steps(self, program: npt.NDArray[np.uint32], marks: Sequence[int], progress: Progress) -> list[Tally]:
        """Run steps and tally what the devices did in each."""
        steps = pairwise(marks)
        return [self._fold(self._queue_run(program, *step), self._next_mode(), 0, progress) for step in steps]

    def _tally(self, mode: FoldMode, steps: int = 0) -> Tally:
        """Tally the counters as they are now."""
        return self._fold(lambda lane: None, mode, steps, lambda devices: None)

    def _read(self, name: str) -> Ints:
        """A copy."""
        copy: Ints = self._arrays[name].get()
        return copy

    def _write(self, name: str, values: Ints) -> None:
        """Upload them."""
        self._lanes.fill(self._arrays[name], values)

    def _fold(self, kernel: Callable[[Lane], None], mode: FoldMode, steps: int, progress: Progress) -> Tally:
        def bring(lane: Lane) -> list[Result]:
            lane_fold = self._of_lane[lane.first]
            work = lane_fold.work._replace(mode=int(mode), steps=steps)
            self._gpu.fold.launch(lane.queue, lane.devices, lane.devices, 1, work)
            return lane_fold.results

        for lane_fold in self._of_lane.values():
            for empty, (there, _) in zip(self._empty, lane_fold.results, strict=True):
                self._lanes.copy(there, empty)
        self._lanes.launch(kernel, progress, bring)
        tally = self._folding.empty()
        for lane_fold in self._of_lane.values():
            tally.add(lane_fold.tally)
        return tally
