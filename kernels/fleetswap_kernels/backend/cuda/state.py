"""Devices in the memory of a GPU: laid out there, run in lanes, their results brought back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ...layout.content_model import MODEL
from ...layout.device import HEADER_BYTES
from ..contract import NewFleet, Progress
from ..tally import Folding
from .fold import CudaFold
from .lanes import Gpu, Lane, Lanes


class CudaState:
    """Devices in the memory of a GPU (`contract.State`).

    Parameters
    ----------
    gpu : Gpu
    fleet : NewFleet
    init, run : Kernel
        Those for its type of header.
    """

    def __init__(self, gpu: Gpu, fleet: NewFleet, init: Any, run: Any) -> None:
        from .target import array_of, records_of

        self._gpu = gpu
        self._fleet = fleet
        self._init, self._run = init, run
        self._memory = gpu.cupy.empty(int(fleet.base[-1]) * HEADER_BYTES, dtype=np.uint8)
        self.lanes = Lanes(gpu, fleet)
        self._model = self.lanes.upload(fleet.model)
        self._records = records_of(self._memory, fleet.header)
        self.lanes.quads = array_of(self._memory.view(np.uint64))
        self._models = records_of(self._model, MODEL)
        self._program: tuple[npt.NDArray[np.uint32] | None, Any] = (None, None)
        self._lay_out()
        self.lanes.forget_failures()
        self.lanes.launch(lambda lane: None)

    def _lay_out(self) -> None:
        """Upload one device of each kind and copy it, on the GPU, to all others: twice as many with every copy."""
        start = 0
        for kind in self._fleet.kinds:
            image = np.zeros(kind.device_bytes, dtype=np.uint8)
            for at, part in kind.parts:
                image[at : at + len(part)] = part
            end = start + kind.devices * kind.device_bytes
            self.lanes.fill(self._memory[start : start + len(image)], image)
            at = start + len(image)
            while at < end:
                size = min(at - start, end - at)
                self.lanes.copy(self._memory[at : at + size], self._memory[start : start + size])
                at += size
            self._gpu.spent.laid_out_bytes += end - start
            start = end

    def init(self, header_content: int) -> None:
        """Bring all devices to the state after swapon."""
        self.lanes.launch(
            lambda lane: self._init.launch(
                lane.queue, lane.devices, self._records, lane.base, self._models, lane.ids, lane.failed, header_content
            )
        )

    def run(self, program: npt.NDArray[np.uint32], first: int, end: int, progress: Progress) -> None:
        """Run the operations `first` to `end` - 1 of a program on all devices.

        Parameters
        ----------
        program : uint32 array of shape (operations, operations.OP_WORDS)
        first, end : int
            First operation, and the one behind the last.
        progress : Progress
            Told of devices that are done.
        """
        self.lanes.launch(self.queue_run(program, first, end), progress)

    def queue_run(self, program: npt.NDArray[np.uint32], first: int, end: int) -> Callable[[Lane], None]:
        """What queues operations of a program on the devices of a lane; it is uploaded unless it was the last one."""
        from .target import array_of

        known, uploaded = self._program
        if known is not program:
            uploaded = self.lanes.upload(program)
            self._program = (program, uploaded)
        operations = array_of(uploaded)

        def queue(lane: Lane) -> None:
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

        return queue

    def fold(self, folding: Folding) -> CudaFold:
        """What makes metrics of the counters."""
        from .target import array_of

        with self._gpu.refusals(self._fleet):
            return CudaFold(self.lanes, self._gpu, folding, array_of(self._memory.view(np.int64)), self.queue_run)

    def first_failed(self) -> int | None:
        """Number of the first device whose error word is set, or None."""
        return self.lanes.first_failed()

    def counters(self) -> npt.NDArray[np.uint64]:
        """Counters of all devices, as they came back with the last launch; behind a fold they did not."""
        return self.lanes.counters()

    def read(self, first: int, end: int) -> npt.NDArray[np.uint8]:
        """A copy of a part of the memory."""
        copy: npt.NDArray[np.uint8] = self._memory[first:end].get()
        return copy

    def write(self, devices: npt.NDArray[np.uint8]) -> None:
        """Upload all devices."""
        self.lanes.fill(self._memory, devices)
        self.lanes.forget_failures()
        self.lanes.launch(lambda lane: None)

    def release(self) -> None:
        """Give the memory back to CuPy's pools."""
        self.lanes.release()
        self._memory = self._records = None
