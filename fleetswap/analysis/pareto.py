"""Pareto front: the points that no other point beats in one metric without losing in another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

Direction = Literal["min", "max"]
"""Whether a metric is better when it is smaller or when it is greater."""


def pareto_front(metrics: Mapping[str, npt.ArrayLike], directions: Mapping[str, Direction]) -> npt.NDArray[np.bool_]:
    """Which points are on the front.

    A point is off it if another one is at least as good in every metric and better in one. Equal points therefore
    share their fate. Values are only compared, never added: integers and floats may stand side by side, exactly.

    Parameters
    ----------
    metrics : mapping of str to array of n numbers
        One value per point.
    directions : mapping of str to "min" or "max"
        The metrics to look at; others are ignored.

    Returns
    -------
    bool array of n

    Raises
    ------
    ValueError
        If there is no direction, a metric is missing, has another length or holds a value that is no number.

    Notes
    -----
    Sorting takes O(n log n), then each distinct point of the front is compared with those left: O(front * n).
    """
    if not directions:
        raise ValueError("a Pareto front needs at least one metric")
    ranks = np.stack([_ranks(name, metrics, direction) for name, direction in directions.items()], axis=1)
    points, where = np.unique(ranks, axis=0, return_inverse=True)
    best = np.zeros(len(points), np.bool_)
    left = np.arange(len(points))
    # Points are in lexicographic order, so the first that is left is beaten by none; it takes out all that it beats.
    while left.size:
        best[left[0]] = True
        left = left[(points[left] < points[left[0]]).any(axis=1)]
    return best[where.reshape(-1)]


def _ranks(name: str, metrics: Mapping[str, npt.ArrayLike], direction: str) -> npt.NDArray[np.int64]:
    """Place of every point in one metric, 0 for the best; equal values have equal places."""
    if direction not in ("min", "max"):
        raise ValueError(f"metric {name!r} has direction {direction!r}; allowed are min, max")
    if name not in metrics:
        raise ValueError(f"no metric {name!r}; there are {', '.join(metrics) or 'none'}")
    values = np.asarray(metrics[name])
    n = np.size(next(iter(metrics.values())))
    if values.shape != (n,):
        raise ValueError(f"metric {name!r} has shape {values.shape}; expected one value for each of {n} points")
    # A total beyond 64 bits makes an array of objects.
    known = values.dtype.kind in "iuf" or all(isinstance(value, int | float) for value in values)
    if not known or np.isnan(values.astype(np.float64)).any():
        raise ValueError(f"metric {name!r} holds a value that is no number")
    places = np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return places if direction == "min" else places.max(initial=0) - places
