"""Histograms and sums of one value by group and column."""

from typing import NamedTuple

import numpy as np

from ...compile.atomics import add, keep_greatest, keep_least
from ...compile.decorators import device
from ..figures.log_bin import LAST_BIN, bin_number
from ...layout.batch_work import Array, empty

N_SUMS = 3
COUNT, HIGH_SUM, LOW_SUM = range(N_SUMS)
"""How many values; sums of their high and of their low 32 bits, which cannot overflow."""


class BinWork(NamedTuple):
    """Rows of values, the group of each row, and counts by group, column and bin."""

    values: Array = empty(np.int64, 2)
    row_groups: Array = empty(np.int32)
    counts: Array = empty(np.int64, 4)


class SumWork(NamedTuple):
    """Rows of values, the group of each row, and sums and extremes by group and column."""

    values: Array = empty(np.int64, 2)
    row_groups: Array = empty(np.int32)
    sums: Array = empty(np.int64, 4)
    least: Array = empty(np.int64, 3)
    greatest: Array = empty(np.int64, 3)


@device
def count_values(unit, part, work):
    """Count the values of a row in their bins; one of a negative group is left out."""
    group = np.int64(work.row_groups[unit])
    if group >= 0:
        for column in range(work.values.shape[1]):
            value = np.int64(work.values[unit, column])
            add(work.counts, (part, group, column, LAST_BIN + bin_number(value)), 1)


@device
def sum_values(unit, part, work):
    """Add the values of a row to the sums and extremes of its group; one of a negative group is left out."""
    group = np.int64(work.row_groups[unit])
    if group >= 0:
        for column in range(work.values.shape[1]):
            value = np.int64(work.values[unit, column])
            add(work.sums, (part, group, column, COUNT), 1)
            add(work.sums, (part, group, column, HIGH_SUM), value >> 32)
            add(work.sums, (part, group, column, LOW_SUM), value & 0xFFFFFFFF)
            keep_least(work.least, (part, group, column), value)
            keep_greatest(work.greatest, (part, group, column), value)
