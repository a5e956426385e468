"""Batches on a GPU: arrays of anybody go there, a thread does each unit of work, results come back."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract import Batch

MOST_COPIES = 64
"""Copies of a small result: enough that threads seldom wait for each other to change it."""
COPIES_BYTES = 1 << 20
"""What they take at most: in a large result threads seldom meet."""


class CudaBatches:
    """What runs batches, its kernels compiled at their first use.

    Parameters
    ----------
    cupy : module
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._kernels: dict[type, Any] = {}

    def run(self, batch: Batch) -> Any:
        """Do all units (`contract.Backend.run_batch`); inputs may be arrays of CuPy."""
        from .target import array_of, stream_of
        from .entries import Kernel, batch_kernel

        kind = type(batch.work)
        if kind not in self._kernels:
            self._kernels[kind] = Kernel(batch_kernel(kind))
        fields = batch.laid_out(copies := copies_of(batch))
        stream = self._cupy.cuda.Stream(non_blocking=True)
        there = {name: self._upload(value, stream) for name, value in fields.items() if hasattr(value, "dtype")}
        # Whatever makes a user's arrays there, on any stream, is done first.
        self._cupy.cuda.runtime.deviceSynchronize()
        if batch.units:
            work = batch.work._replace(**{name: array_of(array) for name, array in there.items()})
            self._kernels[kind].launch(stream_of(stream.ptr), batch.units, batch.units, copies, work)
        for name in batch.results:
            there[name].get(stream=stream, out=fields[name], blocking=False)
        stream.synchronize()
        return batch.found(fields)

    def _upload(self, array: Any, stream: Any) -> Any:
        """The array on the GPU."""
        if not isinstance(array, np.ndarray):
            return self._cupy.ascontiguousarray(array)
        copy = self._cupy.empty(array.shape, dtype=array.dtype)
        copy.set(np.ascontiguousarray(array), stream=stream)
        # The host may not change an array, or free it, until it has been read.
        stream.synchronize()
        return copy


def copies_of(batch: Batch) -> int:
    """How many copies of the shared results threads spread over."""
    shared: list[int] = [getattr(batch.work, name).nbytes for name, join in batch.results.items() if join is not None]
    return min(MOST_COPIES, max(1, COPIES_BYTES // max([1, *shared])))
