"""Log-binned histogram of integers: fixed bins, merged exactly, quantiles of any fleet with a stated error.

A magnitude below 2 ** (SUB_BITS + 1) has a bin of its own. Above, every octave has 2 ** SUB_BITS bins of equal width:
with e the bits that the magnitude has beyond SUB_BITS + 1, all magnitudes with equal ``m >> e`` share a bin. Negative
values have the same bins, mirrored. The bins are the same for every histogram, so merging adds counts; all fields are
integers, so the order and the grouping of merges cannot matter. Only bins that have devices take memory.

Error of a quantile: none for values between -63 and 63; else at most half a bin, 2 ** (e - 1), and a bin's values are
at least 2 ** (SUB_BITS + e). The answer is therefore within 1 / 2 ** (SUB_BITS + 1), 1/64, of the exact quantile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.log_bins import LAST_BIN as _LAST
from fleetswap_kernels.backend.log_bins import SUB_BITS, bin_bounds, quantile

if TYPE_CHECKING:
    import pyarrow as pa


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
        if not low <= histogram.total <= high:
            raise ValueError(f"histogram with total {histogram.total}; its bins allow {low} to {high}")
        return histogram

    def _set_extremes(self, least: Any, greatest: Any, bins: list[int]) -> None:
        for key, value, number in (("least", least, bins[0]), ("greatest", greatest, bins[-1])):
            low, high = bin_bounds(number)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"histogram with {key} {value!r}; its bins allow {low} to {high}")
        self.least, self.greatest = least, greatest


def histogram_columns() -> dict[str, pa.DataType]:
    """Types of what `LogHistogram.to_dict` gives, but for the format of its bins."""
    import pyarrow as pa

    ints, list_of_ints = pa.int64(), pa.list_(pa.int64())
    columns = {"devices": ints, "total": wide(), "least": ints, "greatest": ints}
    return columns | {"bins": list_of_ints, "counts": list_of_ints}


def wide() -> pa.DataType:
    """The type of sums of a fleet, which may exceed 64 bits."""
    import pyarrow as pa

    return pa.decimal128(38, 0)
