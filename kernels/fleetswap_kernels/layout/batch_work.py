"""Fields of the named tuples that batch kernels take: their defaults say which types a kernel is compiled for."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = Any
"""An array of NumPy or CuPy for the host, of Numba in a body."""


def empty(dtype: npt.DTypeLike, dimensions: int = 1) -> Array:
    """An array without elements."""
    return np.empty((0,) * dimensions, dtype)
