"""Tally of a fleet's metrics: what is to be folded, and the sums and histograms by class that come of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..device.figures.figures import METRIC_WORDS, PARTS
from ..device.figures.fold import GREATEST, LEAST, N_FACTS
from ..device.figures.log_bin import BINS
from ..layout.counters import N_COUNTERS

Ints = npt.NDArray[np.int64]

LEAST_OF_NONE, GREATEST_OF_NONE = (1 << 63) - 1, -(1 << 63)
"""Extremes of no values."""
ROW_WORDS = {"since": N_COUNTERS, "change": N_COUNTERS, "sums": PARTS, "parts": PARTS}
"""Arrays of a `FoldWork` that a fold keeps, and what each has for a device."""
FOLD_BYTES = 8 * sum(ROW_WORDS.values()) + 8
"""What folding takes of memory for a device: those, and its class."""


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


def flat(told: Folding | Tally) -> dict[str, Any]:
    """Arrays as a `FoldWork` has them, by name: the same memory."""
    return {name: array.reshape(-1) for name, array in vars(told).items()}
