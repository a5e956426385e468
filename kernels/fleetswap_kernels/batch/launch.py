"""What runs batch kernels: the interface of the launch layers, of which `launch_cpu` and `launch_cupy` are two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Launch(Protocol):
    """Where arrays of the batch kernels are, and what runs a kernel on them.

    A kernel is a number of independent units of work. Units that add to the same numbers of a result do so in one of
    `parts` copies of it, which the host adds up: all is integer, so the result does not depend on who did what.
    """

    def parts(self, rows: int) -> int:
        """Copies of a result that has so many rows."""

    def put(self, array: npt.ArrayLike, dtype: npt.DTypeLike) -> Any:
        """An array where kernels can read it: contiguous, of this type, copied only if it has to be."""

    def full(self, shape: tuple[int, ...], value: int, dtype: npt.DTypeLike = np.int64) -> Any:
        """A new array where kernels can write it."""

    def get(self, array: Any) -> npt.NDArray[Any]:
        """An array as NumPy's."""

    def run(self, kernel: str, units: int, arguments: Sequence[Any], parts: int = 1, cuts: Any = None) -> None:
        """Run the units 0 to `units` - 1 of a kernel.

        Parameters
        ----------
        kernel : str
            One of `cuda_source.KERNELS`.
        units : int
        arguments : sequence of arrays (from `put` and `full`) and ints
        parts : int
            Copies of the result in the arguments.
        cuts : int64 array, optional
            Ascending numbers of units, 0 and `units` among them: the units between two of them add to rows of the
            result that no others add to. Without it any two units may add to the same row of a part.
        """
