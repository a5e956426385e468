"""Sums, extremes, histograms and quantiles by group: both backends against Python's own integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap_kernels.backend.log_bins import BINS, LAST_BIN, SUB_BITS
from fleetswap_kernels.batch.values import histogram, quantiles, reduce
from tests.analysis.histograms import histogram as log_histogram

GROUPS = 3
LEAST, MOST = -(1 << 63), (1 << 63) - 1
VALUE = st.integers(0, 63).flatmap(lambda bits: st.integers(-(1 << bits), (1 << bits) - 1)) | st.sampled_from(
    (LEAST, LEAST + 1, -1, 0, 63, 64, 127, 128, MOST)
)


@st.composite
def matrices(draw):
    """Rows of values, and the group of each."""
    columns = draw(st.integers(1, 3))
    rows = draw(st.lists(st.lists(VALUE, min_size=columns, max_size=columns), max_size=150))
    groups = draw(st.lists(st.integers(-1, GROUPS - 1), min_size=len(rows), max_size=len(rows)))
    return np.array(rows, np.int64).reshape(-1, columns), np.array(groups, np.int32)


def of_group(values, groups, group, column):
    return [int(row[column]) for row, its in zip(values, groups.tolist(), strict=True) if its == group]


def bin_of(value):
    """By the module's description, in Python's integers."""
    extra = max(0, abs(value).bit_length() - SUB_BITS - 1)
    number = (extra << SUB_BITS) + (abs(value) >> extra)
    return LAST_BIN + (number if value >= 0 else -number)


@settings(max_examples=50)
@given(matrices())
def test_both_backends_agree_with_plain_sums(cpu, cuda, matrix):
    values, groups = matrix
    for backend in (cpu, cuda):
        found, counts = reduce(backend, values, groups, GROUPS), histogram(backend, values, groups, GROUPS)
        for group in range(GROUPS):
            for column in range(values.shape[1]):
                mine, at = of_group(values, groups, group, column), (group, column)
                assert (found.count[at], found.total[at]) == (len(mine), sum(mine))
                assert (found.least[at], found.greatest[at]) == (min(mine, default=MOST), max(mine, default=LEAST))
                assert (counts[at] == np.bincount([bin_of(v) for v in mine] or [0], minlength=BINS)).all() or not mine
                assert counts[at].sum() == len(mine)


@settings(max_examples=40)
@given(matrices(), st.integers(0, 1000))
def test_quantiles_are_those_of_a_log_histogram(cpu, cuda, matrix, permille):
    values, groups = matrix
    for backend in (cpu, cuda):
        found = quantiles(histogram(backend, values, groups, GROUPS), reduce(backend, values, groups, GROUPS), permille)
        for group in range(GROUPS):
            for column in range(values.shape[1]):
                mine = of_group(values, groups, group, column)
                if not mine:
                    assert found[group, column] == 0
                    continue
                assert found[group, column] == log_histogram(mine).quantile(permille)
                # Within 1/64 of the exact one, by definition the value of that rank.
                truth = sorted(mine)[max(1, -(-len(mine) * permille // 1000)) - 1]
                assert abs(int(found[group, column]) - truth) * 64 <= abs(truth)


def test_one_column_may_be_flat(cpu):
    found = reduce(cpu, np.array([5, -7, 9]), np.array([1, 1, -1]), 2)
    assert (found.count.tolist(), found.total.tolist()) == ([[0], [2]], [[0], [-2]])


@pytest.mark.parametrize(
    ("values", "groups", "message"),
    [
        (np.zeros(2), np.zeros(2, int), r"^values have shape \(2,\) and type float64"),
        (np.zeros((2, 2, 2), int), np.zeros(2, int), r"^values have shape \(2, 2, 2\)"),
        (np.zeros(2, int), np.zeros(3, int), r"^row_groups has shape \(3,\) and type int64; expected \(2,\)"),
        (np.zeros(2, int), np.array([0, 5]), r"^row_groups\[1\] is 5; allowed are values up to 1$"),
    ],
)
def test_arrays_that_do_not_fit(cpu, values, groups, message):
    for function in (reduce, histogram):
        with pytest.raises(ValueError, match=message):
            function(cpu, values, groups, 2)


def test_a_quantile_out_of_range(cpu):
    values, groups = np.array([1]), np.array([0])
    with pytest.raises(ValueError, match="quantile 1001 permille; allowed are 0 to 1000"):
        quantiles(histogram(cpu, values, groups, 1), reduce(cpu, values, groups, 1), 1001)
