"""Runs batch kernels on a GPU: the CUDA C++ source through CuPy, one thread a unit.

Of the batch kernels only this module imports CuPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend.extras import install_command
from .cuda_source import cuda_source

THREADS_PER_BLOCK = 128
MOST_PARTS = 64
"""Copies of a small result: enough that threads seldom wait for each other to add to it."""
OPTIONS = ("--std=c++14",)


class CupyMissingError(RuntimeError):
    """There is no GPU that CuPy can use; the message says what is missing."""


class CupyLaunch:
    """The `contract.Launch` of the current CUDA device.

    Raises
    ------
    CupyMissingError
        Without CuPy, a driver or a device.
    """

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError as error:
            raise CupyMissingError(f"cupy cannot be imported ({error}); {install_command('cuda13')}") from None
        try:
            devices = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise CupyMissingError(f"no CUDA device can be used: {error}") from None
        if devices == 0:
            raise CupyMissingError("no CUDA device is visible; see CUDA_VISIBLE_DEVICES")
        self._cupy = cupy
        self._module = cupy.RawModule(code=cuda_source(), options=OPTIONS)

    def parts(self, rows: int) -> int:
        """Copies of a result: fewer if its rows are many."""
        return max(1, MOST_PARTS // max(rows, 1))

    def put(self, array: npt.ArrayLike, dtype: npt.DTypeLike) -> Any:
        """The array on the device."""
        return self._cupy.ascontiguousarray(self._cupy.asarray(array, dtype))

    def full(self, shape: tuple[int, ...], value: int, dtype: npt.DTypeLike = np.int64) -> Any:
        """A new array on the device."""
        return self._cupy.full(shape, value, dtype)

    def get(self, array: Any) -> npt.NDArray[Any]:
        """The array on the host, once the kernels before have ended."""
        found: npt.NDArray[Any] = self._cupy.asnumpy(array)
        return found

    def run(
        self,
        kernel: str,
        units: int,
        arguments: Sequence[Any],
        parts: int = 1,
        cuts: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Start the units of a kernel (`contract.Launch.run`)."""
        if units == 0:
            return
        function = self._module.get_function(kernel)
        wide = (np.int64(value) if isinstance(value, int) else value for value in (units, parts, *arguments))
        function((-(-units // THREADS_PER_BLOCK),), (THREADS_PER_BLOCK,), tuple(wide))
