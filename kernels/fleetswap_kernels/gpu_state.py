"""Devices in the memory of a GPU: laid out there, run in lanes, their results brought back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .content_model import MODEL
from .counters import N_COUNTERS
from .gpu_fold import CudaFold
from .launch import NewFleet, Progress
from .layout import HEADER_BYTES
from .tally import Folding
from .warps import WARP

if TYPE_CHECKING:
    from .launch_gpu import CudaBackend

LANES = 4
"""Streams of a fleet: one computes, one copies, and two keep the GPU busy while a lane ends."""
NOBODY = np.iinfo(np.int64).max
"""No device has failed."""
Result = tuple[Any, npt.NDArray[Any]]
"""An array on the GPU, and where on the host it comes to."""


@dataclass(frozen=True)
class Lane:
    """A range of devices and the stream that runs them.

    Parameters
    ----------
    devices : int
    stream : cupy Stream
    queue : numba stream
        The same for launches.
    base, ids, failed, found : arrays for kernels
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
    found: Any
    counters: Result
    worst: Result
    started: Any
    computed: Any
    copied: Any


class CudaState:
    """Devices in the memory of a GPU (`launch.State`).

    Parameters
    ----------
    gpu : CudaBackend
    fleet : NewFleet
    init, run : Kernel
        Those for its type of header.
    """

    def __init__(self, gpu: CudaBackend, fleet: NewFleet, init: Any, run: Any) -> None:
        from .launch_cuda import array_of, records_of

        cupy = gpu.cupy
        self._gpu = gpu
        self._fleet = fleet
        self._init, self._run = init, run
        n = len(fleet.ids)
        self._uploads = cupy.cuda.Stream(non_blocking=True)
        self._memory = cupy.empty(int(fleet.base[-1]) * HEADER_BYTES, dtype=np.uint8)
        self._base, self._ids = self.upload(fleet.base), self.upload(fleet.ids)
        self._model = self.upload(fleet.model)
        self._records = records_of(self._memory, fleet.header)
        self._quads = array_of(self._memory.view(np.uint64))
        self.signed_quads = array_of(self._memory.view(np.int64))
        self._models = records_of(self._model, MODEL)
        self._program: tuple[npt.NDArray[np.uint32] | None, Any] = (None, None)
        self._found = cupy.empty(n * N_COUNTERS, dtype=np.uint64)
        self._counters = self.pinned(n * N_COUNTERS, np.uint64)
        lanes = min(LANES, -(-n // WARP))
        self._failed = cupy.empty(lanes, dtype=np.int64)
        self._worst = self.pinned(lanes, np.int64)
        edges = [n * i // lanes for i in range(lanes + 1)]
        self.lanes = [self._lane(i, *ends) for i, ends in enumerate(pairwise(edges))]
        self._counters_are_here = False
        self._lay_out()
        self._forget_failures()
        self.launch(lambda lane: None)

    def _lane(self, number: int, first: int, end: int) -> Lane:
        from .launch_cuda import array_of, stream_of

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
            found=array_of(self._found[results]),
            counters=(self._found[results], self._counters[results]),
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

    def _lay_out(self) -> None:
        """Upload one device of each kind and copy it, on the GPU, to all others: twice as many with every copy."""
        start = 0
        for kind in self._fleet.kinds:
            image = np.zeros(kind.device_bytes, dtype=np.uint8)
            for at, part in kind.parts:
                image[at : at + len(part)] = part
            end = start + kind.devices * kind.device_bytes
            self.fill(self._memory[start : start + len(image)], image)
            at = start + len(image)
            while at < end:
                size = min(at - start, end - at)
                self.copy(self._memory[at : at + size], self._memory[start : start + size])
                at += size
            self._gpu.spent.laid_out_bytes += end - start
            start = end

    def _forget_failures(self) -> None:
        self.fill(self._failed, np.full(len(self._worst), NOBODY, dtype=np.int64))

    def init(self, header_content: int) -> None:
        """Bring all devices to the state after swapon."""
        self.launch(
            lambda lane: self._init.launch(
                lane.queue,
                lane.devices,
                self._records,
                lane.base,
                self._models,
                lane.ids,
                lane.failed,
                header_content,
            )
        )

    def run(self, program: npt.NDArray[np.uint32], first: int, end: int, progress: Progress) -> None:
        """Run the operations `first` to `end` - 1 of a program on all devices."""
        operations = self.operations(program)
        self.launch(lambda lane: self.run_lane(lane, operations, first, end), progress)

    def operations(self, program: npt.NDArray[np.uint32]) -> Any:
        """A program as kernels take it; uploaded unless it was the last one."""
        from .launch_cuda import array_of

        known, kept = self._program
        if known is not program:
            kept = self.upload(program)
            self._program = (program, kept)
        return array_of(kept)

    def fold(self, folding: Folding) -> CudaFold:
        """What makes metrics of the counters."""
        with self._gpu.refusals(self._fleet):
            return CudaFold(self, self._gpu, folding)

    def run_lane(self, lane: Lane, operations: Any, first: int, end: int) -> None:
        """Queue operations of an uploaded program on the devices of a lane."""
        self._run.launch_spread(
            lane.queue,
            lane.devices,
            self._run.per_warp(len(self._fleet.ids)),
            self._records,
            lane.base,
            self._models,
            lane.failed,
            operations,
            first,
            end,
        )

    def _bring_counters(self, lane: Lane) -> list[Result]:
        self._gpu.gather.launch_once(lane.queue, self._quads, lane.base, lane.found)
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
            for lane in self.lanes:
                lane.started.record(lane.stream)
                kernel(lane)
                lane.computed.record(lane.stream)
                for source, to in [*(bring or self._bring_counters)(lane), lane.worst]:
                    source.get(stream=lane.stream, out=to, blocking=False)
                    brought += to.nbytes
                lane.copied.record(lane.stream)
            for lane in self.lanes:
                lane.stream.synchronize()
                progress(lane.devices)
        between = self._gpu.cupy.cuda.get_elapsed_time
        begin = self.lanes[0].started
        computed = max(between(begin, lane.computed) for lane in self.lanes)
        self._gpu.spent.compute_s += computed / 1e3
        self._gpu.spent.waited_s += (max(between(begin, lane.copied) for lane in self.lanes) - computed) / 1e3
        self._gpu.spent.result_bytes += brought

    def first_failed(self) -> int | None:
        """Number of the first device whose error word is set, or None."""
        for lane, worst in zip(self.lanes, self._worst.tolist(), strict=True):
            if worst != NOBODY:
                return lane.first + int(worst)
        return None

    def counters(self) -> npt.NDArray[np.uint64]:
        """Counters of all devices, as they came back with the last launch; behind a fold they did not."""
        if not self._counters_are_here:
            self.launch(lambda lane: None)
        return self._counters.reshape(-1, N_COUNTERS).copy()

    def read(self, first: int, end: int) -> npt.NDArray[np.uint8]:
        """A copy of a part of the memory."""
        copy: npt.NDArray[np.uint8] = self._memory[first:end].get()
        return copy

    def write(self, devices: npt.NDArray[np.uint8]) -> None:
        """Upload all devices."""
        self.fill(self._memory, devices)
        self._forget_failures()
        self.launch(lambda lane: None)

    def release(self) -> None:
        """Give the memory back to CuPy's pools."""
        self.lanes = []
        self._memory = self._found = self._records = self._quads = self.signed_quads = None
        self._counters = self._worst = np.zeros(0)
