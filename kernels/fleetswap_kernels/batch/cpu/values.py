"""Histograms and sums of one value by group and column; the twin of ``cuda/values.cuh``."""

import numpy as np

from ...compile.decorators import device, entry
from ...device.figures.log_bin import LAST_BIN, bin_number

N_SUMS = 3
COUNT, HIGH_SUM, LOW_SUM = range(N_SUMS)
"""How many values; sums of their high and of their low 32 bits, which cannot overflow."""


@device
def count_value(part, value, group, column, counts):
    """Count a value in its bin."""
    counts[part, group, column, LAST_BIN + bin_number(value)] += 1


@device
def sum_value(part, value, group, column, totals, least, greatest):
    """Add a value to the sums and extremes of its group."""
    totals[part, group, column, COUNT] += 1
    totals[part, group, column, HIGH_SUM] += value >> 32
    totals[part, group, column, LOW_SUM] += value & 0xFFFFFFFF
    least[part, group, column] = min(np.int64(least[part, group, column]), value)
    greatest[part, group, column] = max(np.int64(greatest[part, group, column]), value)


@entry
def histogram(first, end, part, values, columns, row_groups, groups, counts):
    """Run `count_value` on a range of values, row by row; rows of a negative group are left out."""
    for i in range(first, end):
        group = np.int64(row_groups[i // columns])
        if group >= 0:
            count_value(part, np.int64(values[i]), group, i % columns, counts)


@entry
def sums(first, end, part, values, columns, row_groups, groups, totals, least, greatest):
    """Run `sum_value` on a range of values, row by row; rows of a negative group are left out."""
    for i in range(first, end):
        group = np.int64(row_groups[i // columns])
        if group >= 0:
            sum_value(part, np.int64(values[i]), group, i % columns, totals, least, greatest)
