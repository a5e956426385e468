"""Runs batch kernels on the CPU: threads that share the units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend.cores import usable_cores
from .cpu import accounting
from .cpu import census
from .cpu import uniformity
from .cpu import values

_KERNELS: dict[str, Callable[..., None]] = {
    "census": census.census,
    "uniformity": uniformity.uniformity,
    "accounting": accounting.accounting,
    "histogram": values.histogram,
    "sums": values.sums,
}


class CpuLaunch:
    """The `contract.Launch` of the CPU.

    Parameters
    ----------
    threads : int, optional
        Threads that share the units; all usable cores by default.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or usable_cores()

    def parts(self, rows: int) -> int:
        """Copies of a result: one a thread."""
        return self.threads

    def put(self, array: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """The array itself if it can be; the kernels are compiled for writable ones."""
        return np.require(array, dtype, ("C_CONTIGUOUS", "WRITEABLE"))

    def full(self, shape: tuple[int, ...], value: int, dtype: npt.DTypeLike = np.int64) -> npt.NDArray[Any]:
        """A new array."""
        return np.full(shape, value, dtype)

    def get(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The array itself."""
        return array

    def run(
        self,
        kernel: str,
        units: int,
        arguments: Sequence[Any],
        parts: int = 1,
        cuts: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Run the units of a kernel, about as many on every thread (`contract.Launch.run`)."""
        if units == 0:
            return
        pieces = max(parts, self.threads) if cuts is not None else parts
        bounds = units * np.arange(pieces + 1) // pieces
        if cuts is not None:
            bounds = cuts[np.searchsorted(cuts, bounds)]
        shares = [
            (first, end, part % parts) for part, (first, end) in enumerate(pairwise(bounds.tolist())) if first < end
        ]
        run = _KERNELS[kernel]
        if len(shares) == 1:
            run(*shares[0], *arguments)
            return
        with ThreadPoolExecutor(len(shares)) as pool:
            list(pool.map(lambda share: run(*share, *arguments), shares))
