"""Lanes of a fleet on a GPU: streams that run a range of devices each, what goes there, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...layout.counters import N_COUNTERS
from ..contract import NewFleet, Progress
from ..warps import WARP

LANES = 4
"""Streams of a fleet: one computes, one copies, and two keep the GPU busy while a lane ends."""
NOBODY = np.iinfo(np.int64).max
"""No device has failed."""
Result = tuple[Any, npt.NDArray[Any]]
"""An array on the GPU, and where on the host it comes to."""


@dataclass
class Spent:
    """Time and bytes that moved, by events on the GPU.

    Parameters
    ----------
    compute_s : float
        From the start of each launch to the end of the last lane's kernel.
    waited_s : float
        What remained of bringing results back after that: the part of the transfer that nothing hides.
    result_bytes : int
        Results that came back.
    upload_bytes, laid_out_bytes : int
        Images and programs that went to the GPU, and memory that was filled with copies of the images there.
    """

    compute_s: float = 0.0
    waited_s: float = 0.0
    result_bytes: int = 0
    upload_bytes: int = 0
    laid_out_bytes: int = 0

    def as_dict(self) -> dict[str, float]:
        """Ready for JSON."""
        return dict(vars(self))


class Gpu(Protocol):
    """What lanes need of an opened GPU (`gpu.CudaBackend`)."""

    cupy: Any
    spent: Spent
    gather: Any
    fold: Any

    def refusals(self, fleet: NewFleet) -> AbstractContextManager[None]:
        """Turn what is said of exhausted memory into one error."""


@dataclass(frozen=True)
class Lane:
    """A range of devices and the stream that runs them.

    Parameters
    ----------
    devices : int
    stream : cupy Stream
    queue : numba stream
        The same for launches.
    base, ids, failed, gathered : arrays for kernels
        Starts and numbers of its devices; the least number of a failed one, within the lane; its counters.
    counters, worst : pairs of arrays
        Counters and the number of a failed device, as CuPy has them, and where on the host they come to.
    first : int
        Its first device.
    started, computed, copied : cupy Event
    """

    first: int
    devices: int
    stream: Any
    queue: Any
    base: Any
    ids: Any
    failed: Any
    gathered: Any
    counters: Result
    worst: Result
    started: Any
    computed: Any
    copied: Any


class Lanes:
    """The lanes of a fleet, and copies to and from the memory of the GPU.

    Parameters
    ----------
    gpu : Gpu
    fleet : NewFleet

    Attributes
    ----------
    quads : array for kernels
        The memory of all devices in words of 64 bits, from which counters are gathered; set when it is there.
    """

    quads: Any

    def __init__(self, gpu: Gpu, fleet: NewFleet) -> None:
        cupy = gpu.cupy
        self._gpu = gpu
        self._fleet = fleet
        n = len(fleet.ids)
        self._uploads = cupy.cuda.Stream(non_blocking=True)
        self._base, self._ids = self.upload(fleet.base), self.upload(fleet.ids)
        self._gathered = cupy.empty(n * N_COUNTERS, dtype=np.uint64)
        self._counters = self.pinned(n * N_COUNTERS, np.uint64)
        lanes = min(LANES, -(-n // WARP))
        self._failed = cupy.empty(lanes, dtype=np.int64)
        self._worst = self.pinned(lanes, np.int64)
        edges = [n * i // lanes for i in range(lanes + 1)]
        self._lanes = [self._lane(i, *ends) for i, ends in enumerate(pairwise(edges))]
        self._counters_are_here = False

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes)

    def _lane(self, number: int, first: int, end: int) -> Lane:
        from .target import array_of, stream_of

        cupy = self._gpu.cupy
        stream = cupy.cuda.Stream(non_blocking=True)
        results = slice(first * N_COUNTERS, end * N_COUNTERS)
        mine = slice(number, number + 1)
        return Lane(
            first=first,
            devices=end - first,
            stream=stream,
            queue=stream_of(stream.ptr),
            base=array_of(self._base[first : end + 1]),
            ids=array_of(self._ids[first:end]),
            failed=array_of(self._failed[mine]),
            gathered=array_of(self._gathered[results]),
            counters=(self._gathered[results], self._counters[results]),
            worst=(self._failed[mine], self._worst[mine]),
            started=cupy.cuda.Event(),
            computed=cupy.cuda.Event(),
            copied=cupy.cuda.Event(),
        )

    def new(self, n: int) -> Any:
        """An array of int64 on the GPU, filled with anything."""
        return self._gpu.cupy.empty(n, dtype=np.int64)

    def pinned(self, n: int, dtype: type[np.generic] = np.int64) -> npt.NDArray[Any]:
        """An array of the host that the GPU can copy to while both go on."""
        return np.frombuffer(self._gpu.cupy.cuda.alloc_pinned_memory(n * np.dtype(dtype).itemsize), dtype, n)

    def upload(self, array: npt.NDArray[Any]) -> Any:
        """A copy on the GPU."""
        copy = self._gpu.cupy.empty(array.shape, dtype=array.dtype)
        self.fill(copy, array)
        return copy

    def fill(self, to: Any, array: npt.NDArray[Any]) -> None:
        """Copy to an array on the GPU."""
        to.set(np.ascontiguousarray(array), stream=self._uploads)
        # The array is the host's again once it has been read.
        self._uploads.synchronize()
        self._gpu.spent.upload_bytes += array.nbytes

    def copy(self, to: Any, source: Any) -> None:
        """Copy an array on the GPU to another one there."""
        to.data.copy_from_device_async(source.data, source.nbytes, self._uploads)
        self._uploads.synchronize()

    def forget_failures(self) -> None:
        """No device has failed."""
        self.fill(self._failed, np.full(len(self._worst), NOBODY, dtype=np.int64))

    def _bring_counters(self, lane: Lane) -> list[Result]:
        self._gpu.gather.launch_once(lane.queue, self.quads, lane.base, lane.gathered)
        return [lane.counters]

    def launch(
        self,
        kernel: Callable[[Lane], None],
        progress: Progress = lambda devices: None,
        bring: Callable[[Lane], list[Result]] | None = None,
    ) -> None:
        """Queue a kernel on every lane, and behind it what brings the lane's results back; wait for all.

        Parameters
        ----------
        kernel : function of a lane
        progress : Progress
        bring : function of a lane, optional
            Queues what makes results, and tells which arrays on the GPU come back and where to; by default counters.
        """
        brought = 0
        self._counters_are_here = bring is None
        with self._gpu.refusals(self._fleet):
            for lane in self._lanes:
                lane.started.record(lane.stream)
                kernel(lane)
                lane.computed.record(lane.stream)
                for source, to in [*(bring or self._bring_counters)(lane), lane.worst]:
                    source.get(stream=lane.stream, out=to, blocking=False)
                    brought += to.nbytes
                lane.copied.record(lane.stream)
            for lane in self._lanes:
                lane.stream.synchronize()
                progress(lane.devices)
        between = self._gpu.cupy.cuda.get_elapsed_time
        begin = self._lanes[0].started
        computed = max(between(begin, lane.computed) for lane in self._lanes)
        self._gpu.spent.compute_s += computed / 1e3
        self._gpu.spent.waited_s += (max(between(begin, lane.copied) for lane in self._lanes) - computed) / 1e3
        self._gpu.spent.result_bytes += brought

    def first_failed(self) -> int | None:
        """Number of the first device whose error word is set, or None."""
        for lane, worst in zip(self._lanes, self._worst.tolist(), strict=True):
            if worst != NOBODY:
                return lane.first + int(worst)
        return None

    def counters(self) -> npt.NDArray[np.uint64]:
        """Counters of all devices, as they came back with the last launch; behind a fold they did not."""
        if not self._counters_are_here:
            self.launch(lambda lane: None)
        return self._counters.reshape(-1, N_COUNTERS).copy()

    def release(self) -> None:
        """Give the memory back to CuPy's pools."""
        self._lanes = []
        self._gathered = self.quads = None
        self._counters = self._worst = np.zeros(0)
