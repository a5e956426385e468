"""Bins of log histograms: fixed, the same for every histogram, at most 1/64 wide.

A magnitude below 2 ** (SUB_BITS + 1) has a bin of its own. Above, every octave has 2 ** SUB_BITS bins of equal width:
with e the bits that the magnitude has beyond SUB_BITS + 1, all magnitudes with equal ``m >> e`` share a bin. Negative
values have the same bins, mirrored.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..device.figures.log_bin import BINS, LAST_BIN, SUB_BITS
from .host_calls import fill_bins

__all__ = ["BINS", "LAST_BIN", "SUB_BITS", "bin_bounds", "bin_numbers", "quantile"]


def bin_numbers(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bin of every value, from -1888 to 1888; greater values never have a smaller bin.

    Parameters
    ----------
    values : int64 array of any shape

    Returns
    -------
    int64 array of the same shape
    """
    numbers = np.empty(values.shape, np.int64)
    fill_bins(np.ascontiguousarray(values).ravel(), numbers.ravel())
    return numbers


def bin_bounds(number: int) -> tuple[int, int]:
    """Least and greatest value of a bin; the outermost ones reach beyond int64."""
    if number < 0:
        low, high = bin_bounds(-number)
        return -high, -low
    extra = max(0, (number >> SUB_BITS) - 1)
    low = (number - (extra << SUB_BITS)) << extra
    return low, low + (1 << extra) - 1


def quantile(
    bins: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], least: int, greatest: int, permille: int
) -> int:
    """Smallest value that at least `permille` / 1000 of the counted ones do not exceed, within 1/64 of itself.

    Parameters
    ----------
    bins, counts : int64 arrays of one shape (n,)
        Numbers of bins, ascending, and the values in each; at least one value.
    least, greatest : int
        Extremes of the values.
    permille : int
        0 to 1000.
    """
    values = int(counts.sum())
    rank = max(1, -(-values * permille // 1000))
    if rank == 1:
        return least
    if rank == values:
        return greatest
    number = int(bins[np.searchsorted(np.cumsum(counts), rank)])
    low, high = bin_bounds(abs(number))
    middle = low + (high - low + 1) // 2  # of the magnitude, so that both signs round alike
    return min(max(middle if number >= 0 else -middle, least), greatest)
