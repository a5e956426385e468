"""Integer histograms over a fleet: one per step and metric, merged exactly, quantiles read from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass
class Histogram:
    """How many devices had each value.

    Parameters
    ----------
    counts : dict of int to int
        Devices by value.
    """

    counts: dict[int, int] = field(default_factory=dict)

    def add(self, values: npt.NDArray[np.int64]) -> None:
        """Count one value per device."""
        for value, n in zip(*np.unique(values, return_counts=True), strict=True):
            self.counts[int(value)] = self.counts.get(int(value), 0) + int(n)

    def merge(self, other: Histogram) -> None:
        """Add the devices of another histogram."""
        for value, n in other.counts.items():
            self.counts[value] = self.counts.get(value, 0) + n

    @property
    def devices(self) -> int:
        """Number of devices."""
        return sum(self.counts.values())

    @property
    def total(self) -> int:
        """Sum over all devices."""
        return sum(value * n for value, n in self.counts.items())

    def quantile(self, percent: int) -> int:
        """Smallest value that at least `percent` % of the devices do not exceed."""
        need = -(-self.devices * percent // 100)
        seen = 0
        for value in sorted(self.counts):
            seen += self.counts[value]
            if seen >= max(need, 1):
                return value
        raise ValueError("an empty histogram has no quantiles")


METRICS = ("swpout", "swpout_fallback", "fallback_permyriad", "pgmajfault", "pswpin", "pswpout")
"""What is kept per step. The fallback share is in 1/100 of a percent, rounded down, so that it stays an integer."""


@dataclass
class Series:
    """Histograms by (policy, step, metric).

    Parameters
    ----------
    cells : dict of (str, int, str) to Histogram
    """

    cells: dict[tuple[str, int, str], Histogram] = field(default_factory=dict)

    def cell(self, policy: str, step: int, metric: str) -> Histogram:
        """The histogram of a policy, step and metric; empty at first."""
        return self.cells.setdefault((policy, step, metric), Histogram())

    def merge(self, others: Iterable[Series]) -> None:
        """Add the devices of other series."""
        for other in others:
            for key, histogram in other.cells.items():
                self.cell(*key).merge(histogram)
