"""Tally of a fleet's metrics: what is to be folded, and the sums and histograms by class that come of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..device.figures.figures import METRIC_WORDS, PARTS
from ..device.figures.log_bin import BINS
from ..layout.counters import N_COUNTERS

Ints = npt.NDArray[np.int64]

N_FACTS = 9
TOP_HIGH, TOP_LOW, BASE_HIGH, BASE_LOW, DEVICES, HIGH, LOW, LEAST, GREATEST = range(N_FACTS)
"""Of a metric: sums of its numerators and denominators over all devices; then, over those that have a value, their
number, the sum of the values, and the extremes. Sums of high and of low 32 bits apart cannot overflow."""
LEAST_OF_NONE, GREATEST_OF_NONE = (1 << 63) - 1, -(1 << 63)
"""Extremes of no values."""
FOLD_BYTES = 2 * 8 * (N_COUNTERS + PARTS) + 8
"""What folding takes of memory for a device: its counters when last taken, their change, its parts, sums of states, and
its class."""


@dataclass(frozen=True)
class Folding:
    """What is made of the counters of a fleet's devices.

    Parameters
    ----------
    groups : int64 array of shape (devices,)
        Class of each device, from 0 on.
    prices : int64 array of shape (classes, price.PRICE_WORDS)
        List of prices of each class.
    columns : int64 array of shape (counters.N_COUNTERS, figures.COLUMN_WORDS)
    metrics : int64 array of shape (metrics, figures.METRIC_WORDS)
    """

    groups: Ints
    prices: Ints
    columns: Ints
    metrics: Ints

    def __post_init__(self) -> None:
        states = self.metrics[self.metrics[:, METRIC_WORDS - 1] != 0, :2]
        parts = states[states >= 0]
        if len(set(parts.tolist())) != parts.size:
            raise ValueError("two metrics that are states have a part in common")

    @property
    def rows(self) -> int:
        """Metrics of all classes."""
        return len(self.prices) * len(self.metrics)

    def empty(self) -> Tally:
        """A tally of no devices."""
        facts = np.zeros((self.rows, N_FACTS), np.int64)
        facts[:, LEAST], facts[:, GREATEST] = LEAST_OF_NONE, GREATEST_OF_NONE
        bins = np.zeros((self.rows, BINS), np.int64)
        return Tally(bins, facts, np.zeros((len(self.prices), len(self.columns)), np.int64))


@dataclass(frozen=True)
class Tally:
    """What the devices of a fleet did in a step, by class; a row is a metric of a class.

    Parameters
    ----------
    bins : int64 array of shape (classes * metrics, log_bin.BINS)
        Devices by the bin of their value; a device whose share has no base has no value.
    facts : int64 array of shape (classes * metrics, N_FACTS)
    totals : int64 array of shape (classes, counters.N_COUNTERS)
        Sums of what counters changed, and of states.
    """

    bins: Ints
    facts: Ints
    totals: Ints

    def add(self, other: Tally) -> None:
        """Add the devices of another tally."""
        self.bins[:] += other.bins
        least = np.minimum(self.facts[:, LEAST], other.facts[:, LEAST])
        greatest = np.maximum(self.facts[:, GREATEST], other.facts[:, GREATEST])
        self.facts[:] += other.facts
        self.facts[:, LEAST], self.facts[:, GREATEST] = least, greatest
        self.totals[:] += other.totals
