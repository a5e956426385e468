"""Folds the counters of devices on a GPU: only tallies of their metrics return, until a run ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .counters import N_COUNTERS
from .figures import FIRST, PARTS, RESUME, STEP, WHOLE
from .launch import Progress
from .tally import Folding, Ints, Tally

if TYPE_CHECKING:
    from .gpu_state import CudaState, Lane, Result
    from .launch_gpu import CudaBackend


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
    """Folds counters in the memory of a GPU (`launch.Fold`).

    Parameters
    ----------
    state : CudaState
    gpu : CudaBackend
    folding : Folding
    """

    def __init__(self, state: CudaState, gpu: CudaBackend, folding: Folding) -> None:
        from .launch_cuda import array_of

        n = len(folding.groups)
        self._state, self._gpu, self._folding = state, gpu, folding
        tables = (folding.columns, folding.prices, folding.metrics)
        # Arrays of CuPy that are in use by a kernel must not be freed.
        self._kept = [state.upload(table.reshape(-1)) for table in tables]
        self._tables = tuple(map(array_of, self._kept))
        self._groups = state.upload(folding.groups)
        self._since, self._change = state.new(n * N_COUNTERS), state.new(n * N_COUNTERS)
        self._sums, self._parts = state.new(n * PARTS), state.new(n * PARTS)
        empty = folding.empty()
        self._empty = [state.upload(array.reshape(-1)) for array in (empty.bins, empty.facts, empty.totals)]
        self._lanes = {lane.first: self._lane(lane) for lane in state.lanes}
        self._mode = FIRST

    def _lane(self, lane: Lane) -> _LaneFold:
        from .launch_cuda import array_of

        end = lane.first + lane.devices
        own = [self._groups[lane.first : end]]
        own += [one[lane.first * N_COUNTERS : end * N_COUNTERS] for one in (self._since, self._change)]
        own += [one[lane.first * PARTS : end * PARTS] for one in (self._sums, self._parts)]
        empty = self._folding.empty()
        shapes = [one.shape for one in (empty.bins, empty.facts, empty.totals)]
        results = [(self._state.new(int(np.prod(shape))), self._state.pinned(int(np.prod(shape)))) for shape in shapes]
        bins, facts, totals = (array_of(there) for there, _ in results)
        here = (to.reshape(shape) for (_, to), shape in zip(results, shapes, strict=True))
        return _LaneFold(tuple(map(array_of, own)), (bins, facts, totals), results, Tally(*here))

    def steps(self, program: npt.NDArray[np.uint32], marks: Sequence[int], progress: Progress) -> list[Tally]:
        """Run steps and tally what the devices did in each."""
        return [self._step(program, first, end, progress) for first, end in pairwise(marks)]

    def _step(self, program: npt.NDArray[np.uint32], first: int, end: int, progress: Progress) -> Tally:
        operations = self._state.operations(program)
        mode, self._mode = self._mode, STEP
        return self._fold(lambda lane: self._state.run_lane(lane, operations, first, end), mode, progress=progress)

    def whole_run(self, steps: int) -> Tally:
        """Tally what the devices did in all."""
        return self._fold(lambda lane: None, WHOLE, steps)

    def change(self) -> Ints:
        """What was last tallied of each device."""
        found: Ints = self._change.get()
        return found.reshape(-1, N_COUNTERS)

    def parts(self) -> Ints:
        """Its price and figures."""
        found: Ints = self._parts.get()
        return found.reshape(-1, PARTS)

    def state_sums(self) -> Ints:
        """Sums of states over the steps."""
        found: Ints = self._sums.get()
        return found.reshape(-1, PARTS)

    def resume(self, state_sums: Ints) -> None:
        """Go on where another fold had these sums."""
        self._state.fill(self._sums, state_sums.reshape(-1))
        self._fold(lambda lane: None, RESUME)
        self._mode = STEP

    def _fold(
        self,
        kernel: Callable[[Lane], None],
        mode: int,
        steps: int = 0,
        progress: Progress = lambda devices: None,
    ) -> Tally:
        def bring(lane: Lane) -> list[Result]:
            own = self._lanes[lane.first]
            groups, since, change, sums, parts = own.devices
            self._gpu.fold.launch(
                lane.queue,
                lane.devices,
                self._state.signed_quads,
                lane.base,
                groups,
                *self._tables,
                since,
                change,
                sums,
                parts,
                *own.sums,
                mode,
                steps,
            )
            return own.results

        for own in self._lanes.values():
            for empty, (there, _) in zip(self._empty, own.results, strict=True):
                self._state.copy(there, empty)
        self._state.launch(kernel, progress, bring)
        tally = self._folding.empty()
        for lane in self._lanes.values():
            tally.add(lane.tally)
        return tally
