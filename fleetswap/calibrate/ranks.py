"""Ranks of measured sizes: quantiles, rank correlation, and how alike the values of a group are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def quantiles_at_knots(values: npt.NDArray[Any], parts: int) -> npt.NDArray[Any]:
    """Lower empirical quantiles i/parts, both ends included."""
    return np.sort(values)[np.arange(parts + 1) * (len(values) - 1) // parts]


def percentiles(values: Integers) -> list[int]:
    """Lower empirical quantiles, 1 to 99 %: of n values the one of rank ceil(n p / 100)."""
    rank = -(-np.arange(1, 100) * len(values) // 100) - 1
    quantiles: list[int] = np.sort(values)[rank].tolist()
    return quantiles


def mean_ranks(values: Integers) -> npt.NDArray[np.float64]:
    """Ranks from 1 on, equal values sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: npt.NDArray[np.float64] = np.cumsum(counts) - (counts - 1) / 2
    return middle[inverse]


def rank_correlation(a: Integers, b: Integers) -> float:
    """Spearman's rank correlation; equal values share their mean rank. 0 if either side does not vary."""
    x, y = mean_ranks(a), mean_ranks(b)
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / scale if scale else 0.0


def intraclass_correlation(values: npt.NDArray[np.float64], groups: npt.NDArray[np.intp]) -> float:
    """Likeness of the values of a group: ICC(1) of a one-way random effects model, groups of any sizes.

    Parameters
    ----------
    values : float64 array
    groups : int array
        Group of every value.

    Returns
    -------
    float
        1 if the values of every group are equal; 0 if nothing can be said: one group only, one value in each, or no
        differences at all.
    """
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    n, k = len(values), len(counts)
    if k < 2 or n == k:
        return 0.0
    means = np.bincount(inverse, weights=values) / counts
    between = float((counts * (means - values.mean()) ** 2).sum()) / (k - 1)
    within = float(((values - means[inverse]) ** 2).sum()) / (n - k)
    typical = (n - float((counts**2).sum()) / n) / (k - 1)  # values per group
    spread = between + (typical - 1) * within
    return (between - within) / spread if spread else 0.0
