"""Log-binned histogram of integers: fixed bins, merged exactly, quantiles of any fleet with a stated error.

A magnitude below 2 ** (SUB_BITS + 1) has a bin of its own. Above, every octave has 2 ** SUB_BITS bins of equal width:
with e the bits that the magnitude has beyond SUB_BITS + 1, all magnitudes with equal ``m >> e`` share a bin. Negative
values have the same bins, mirrored. The bins are the same for every histogram, so merging adds counts; all fields are
integers, so the order and the grouping of merges cannot matter. Only bins that have devices take memory.

Error of a quantile: none for values between -63 and 63; else at most half a bin, 2 ** (e - 1), and a bin's values are
at least 2 ** (SUB_BITS + e). The answer is therefore within 1 / 2 ** (SUB_BITS + 1), 1/64, of the exact quantile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.log_bins import BINS, SUB_BITS, bin_bounds, bin_numbers, quantile
from fleetswap_kernels.backend.log_bins import LAST_BIN as _LAST

__all__ = ["BINS", "SUB_BITS", "LogHistogram", "bin_bounds", "bin_numbers"]

_INT64 = np.iinfo(np.int64)
_CHUNK = 1 << 16  # values at a time: temporaries stay in the processor's cache


@dataclass(eq=False)
class LogHistogram:
    """How many devices had a value of each bin, with exact total, least and greatest value.

    Parameters
    ----------
    bins : int64 array
        Numbers of the bins that have devices, ascending.
    counts : int64 array
        Devices of each of these bins. Neither array is ever changed in place, so histograms may share them.
    devices : int
        Number of devices.
    total : int
        Sum over all devices; may exceed 64 bits.
    least, greatest : int or None
        Extremes over all devices; None without devices.
    """

    bins: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    devices: int = 0
    total: int = 0
    least: int | None = None
    greatest: int | None = None

    @classmethod
    def of_groups(cls, values: npt.NDArray[np.int64], sizes: Sequence[int]) -> list[LogHistogram]:
        """One histogram for each group of values; groups follow each other and have these sizes."""
        histograms = [cls() for _ in sizes]
        full = np.flatnonzero(sizes)
        if not full.size:
            return histograms
        owner = np.repeat(np.arange(len(sizes)), sizes)
        keys, counts = np.unique(owner * BINS + (bin_numbers(values) + _LAST), return_counts=True)
        edges = np.searchsorted(keys, np.arange(len(sizes) + 1) * BINS).tolist()
        first = np.cumsum([0, *sizes])[full]
        # The sum of a group may exceed 64 bits, the sums of its halves cannot.
        facts = [np.add.reduceat(half, first).tolist() for half in (values >> 32, values & 0xFFFFFFFF)]
        facts += [extreme.reduceat(values, first).tolist() for extreme in (np.minimum, np.maximum)]
        for g, high, low, least, greatest in zip(full.tolist(), *facts, strict=True):
            inside = slice(edges[g], edges[g + 1])
            bins = keys[inside] - (g * BINS + _LAST)
            histograms[g] = cls(bins, counts[inside].copy(), sizes[g], (high << 32) + low, least, greatest)
        return histograms

    def add(self, values: npt.ArrayLike) -> None:
        """Count one value per device.

        Raises
        ------
        ValueError
            If the values are no integers or do not fit int64.
        """
        given = np.asarray(values).ravel()
        if given.size == 0:
            return
        if given.dtype.kind not in "iu":
            raise ValueError(f"values of type {given.dtype}; a histogram counts integers")
        if int(given.max()) > _INT64.max:
            raise ValueError(f"value {given.max()}; a histogram counts values up to {_INT64.max}")
        for first in range(0, given.size, _CHUNK):
            part = given[first : first + _CHUNK].astype(np.int64)
            self.merge(self.of_groups(part, [part.size])[0])

    def merge(self, other: LogHistogram) -> None:
        """Add the devices of another histogram."""
        bins = np.union1d(self.bins, other.bins)
        counts = np.zeros(bins.size, np.int64)
        for part in (self, other):
            counts[np.searchsorted(bins, part.bins)] += part.counts
        self.bins, self.counts = bins, counts
        self.devices += other.devices
        self.total += other.total
        if other.least is not None and other.greatest is not None:
            self.least = other.least if self.least is None else min(self.least, other.least)
            self.greatest = other.greatest if self.greatest is None else max(self.greatest, other.greatest)

    def quantile(self, permille: int) -> int:
        """Smallest value that at least `permille` / 1000 of the devices do not exceed, within 1/64 of itself.

        Exact between -63 and 63; exact also where it is the least or the greatest of all values.

        Raises
        ------
        ValueError
            If there are no devices, or `permille` lies outside 0 to 1000.
        """
        if not 0 <= permille <= 1000:
            raise ValueError(f"quantile {permille} permille; allowed are 0 to 1000")
        if self.least is None or self.greatest is None:
            raise ValueError("an empty histogram has no quantiles")
        return quantile(self.bins, self.counts, self.least, self.greatest, permille)

    def bars(self) -> Iterator[tuple[int, int, int]]:
        """Least value, greatest value and devices of every bin that has devices, ascending."""
        for number, n in zip(self.bins.tolist(), self.counts.tolist(), strict=True):
            yield *bin_bounds(number), n

    def to_dict(self) -> dict[str, Any]:
        """Content as plain integers, only bins that have devices; equal for equal histograms."""
        return {
            "sub_bits": SUB_BITS,
            "devices": self.devices,
            "total": self.total,
            "least": self.least,
            "greatest": self.greatest,
            "bins": self.bins.tolist(),
            "counts": self.counts.tolist(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> LogHistogram:
        """The histogram of what `to_dict` gave.

        Raises
        ------
        ValueError
            If a key is missing or its value cannot be: the message names it.
        """
        for key in ("sub_bits", "devices", "total", "least", "greatest", "bins", "counts"):
            if key not in content:
                raise ValueError(f"histogram without {key!r}")
        if content["sub_bits"] != SUB_BITS:
            raise ValueError(f"histogram with sub_bits {content['sub_bits']!r}; this version reads {SUB_BITS}")
        bins, counts = [int(n) for n in content["bins"]], [int(n) for n in content["counts"]]
        if bins != sorted(set(bins)) or len(bins) != len(counts) or any(abs(number) > _LAST for number in bins):
            raise ValueError(f"histogram with bad bins; expected one count each, ascending, {-_LAST} to {_LAST}")
        if min(counts, default=1) < 1 or sum(counts) != content["devices"]:
            raise ValueError(f"histogram with bad counts; expected positive ones with the sum {content['devices']!r}")
        # A column of totals may hold decimals.
        devices, total = content["devices"], int(content["total"])
        histogram = cls(np.array(bins, np.int64), np.array(counts, np.int64), devices, total)
        if bins:
            histogram._set_extremes(content["least"], content["greatest"], bins)
            bounds = [bin_bounds(number) for number in bins]
            low, high = (sum(n * bound[side] for n, bound in zip(counts, bounds, strict=True)) for side in (0, 1))
        else:
            low = high = 0
        if not low <= histogram.total <= high:
            raise ValueError(f"histogram with total {histogram.total}; its bins allow {low} to {high}")
        return histogram

    def _set_extremes(self, least: Any, greatest: Any, bins: list[int]) -> None:
        for key, value, number in (("least", least, bins[0]), ("greatest", greatest, bins[-1])):
            low, high = bin_bounds(number)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"histogram with {key} {value!r}; its bins allow {low} to {high}")
        self.least, self.greatest = least, greatest
