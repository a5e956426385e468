"""Sums, extremes and histograms of many integers by group: reductions over a fleet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..device.batch.values import COUNT, HIGH_SUM, LOW_SUM, N_SUMS, BinWork, SumWork
from ..backend.contract import Backend, Batch
from ..backend.log_bins import BINS, LAST_BIN, quantile
from .accounting import check_most
from .page_tables import Ints

_LEAST, _GREATEST = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True)
class Reduction:
    """Values by group and column.

    Parameters
    ----------
    count : int64 array of shape (groups, columns)
    total : object array of shape (groups, columns)
        Exact sums, Python's ints: they may exceed 64 bits.
    least, greatest : int64 arrays of shape (groups, columns)
        Where a group has no values, the greatest and the least int64.
    """

    count: Ints
    total: npt.NDArray[np.object_]
    least: Ints
    greatest: Ints


def reduce(backend: Backend, values: Any, row_groups: Any, groups: int) -> Reduction:
    """Count and add up the values of each column by group, with their extremes.

    Parameters
    ----------
    backend : Backend
    values : int64 array of shape (rows, columns) or (rows,)
        For instance a row of counters for each device.
    row_groups : int32 array of shape (rows,)
        Group of each row, below `groups`; rows of a negative group are left out.
    groups : int
        Number of groups, for instance device classes.

    Raises
    ------
    ValueError
        If the shapes do not fit, values are no int64, or a group is out of range.
    """
    columns = _check(values, row_groups, groups)
    shape = (groups, columns)
    sums = np.zeros((*shape, N_SUMS), np.int64)
    least, greatest = np.full(shape, _GREATEST), np.full(shape, _LEAST)
    work = SumWork(values.reshape(len(values), columns), row_groups, sums, least, greatest)
    results = {"sums": np.add, "least": np.minimum, "greatest": np.maximum}
    found = backend.run_batch(Batch(work, len(values), results))
    total = (found.sums[..., HIGH_SUM].astype(object) << 32) + found.sums[..., LOW_SUM].astype(object)
    return Reduction(found.sums[..., COUNT], total, found.least, found.greatest)


def histogram(backend: Backend, values: Any, row_groups: Any, groups: int) -> Ints:
    """Count the values of each column by group and bin.

    Parameters
    ----------
    backend, values, row_groups, groups
        As for `reduce`.

    Returns
    -------
    int64 array of shape (groups, columns, `log_bins.BINS`)
        Bin n at index n + `log_bins.LAST_BIN`.

    Raises
    ------
    ValueError
        As for `reduce`.
    """
    columns = _check(values, row_groups, groups)
    work = BinWork(values.reshape(len(values), columns), row_groups, np.zeros((groups, columns, BINS), np.int64))
    found: Ints = backend.run_batch(Batch(work, len(values), {"counts": np.add})).counts
    return found


def quantiles(counts: Ints, reduction: Reduction, permille: int) -> Ints:
    """Quantile of every group and column, within 1/64 of itself (`log_bins.quantile`).

    Parameters
    ----------
    counts : int64 array of shape (groups, columns, `log_bins.BINS`)
        From `histogram`.
    reduction : Reduction
        From `reduce`, of the same values.
    permille : int
        0 to 1000.

    Returns
    -------
    int64 array of shape (groups, columns)
        0 where a group has no values.

    Raises
    ------
    ValueError
        If `permille` is out of range.
    """
    if not 0 <= permille <= 1000:
        raise ValueError(f"quantile {permille} permille; allowed are 0 to 1000")
    found = np.zeros(reduction.count.shape, np.int64)
    bins = np.arange(-LAST_BIN, LAST_BIN + 1)
    for at in zip(*np.nonzero(reduction.count), strict=True):
        found[at] = quantile(bins, counts[at], int(reduction.least[at]), int(reduction.greatest[at]), permille)
    return found


def _check(values: Any, row_groups: Any, groups: int) -> int:
    """Number of columns."""
    if values.ndim not in (1, 2) or values.dtype != np.int64:
        raise ValueError(
            f"values have shape {values.shape} and type {values.dtype}; expected (rows, columns) or (rows,), and int64"
        )
    if row_groups.shape != values.shape[:1] or row_groups.dtype.kind not in "iu":
        raise ValueError(
            f"row_groups has shape {row_groups.shape} and type {row_groups.dtype}; "
            f"expected {values.shape[:1]} and integers"
        )
    check_most("row_groups", row_groups, groups - 1)
    return 1 if values.ndim == 1 else int(values.shape[1])
