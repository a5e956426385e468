"""Ranks, quantiles and correlations of a few values, worked out by hand or typed from a publication."""

from __future__ import annotations

import numpy as np
import pytest

from fleetswap.calibrate.ranks import (
    intraclass_correlation,
    mean_ranks,
    percentiles,
    quantiles_at_knots,
    rank_correlation,
)

# P. E. Shrout, J. L. Fleiss, Intraclass correlations (1979), table 2: six targets, four judges; table 4: ICC(1,1) .17
SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def test_intraclass_correlation_of_a_published_example() -> None:
    values = np.array(SHROUT_FLEISS, dtype=np.float64).reshape(-1)
    found = intraclass_correlation(values, np.repeat(np.arange(6), 4))
    assert round(found, 2) == 0.17


@pytest.mark.parametrize(
    ("values", "groups", "expected"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 7 / 9),  # between 4, within 1/2: (4 - 1/2) / (4 + 1/2)
        ([1, 3, 2, 4], [5, 5, 9, 9], -1 / 3),  # between 1, within 2: (1 - 2) / (1 + 2)
        # Groups of 1 and 2: means 1 and 4, of all 3; between 1*4 + 2*1 = 6, within 2, typical 3 - 5/3 = 4/3.
        ([1, 3, 5], [0, 1, 1], (6 - 2) / (6 + 2 / 3)),
        ([4, 4, 7, 7, 7], [0, 0, 1, 1, 1], 1),
        ([3, 3, 3, 3], [0, 0, 1, 1], 0),  # no differences
        ([1, 2, 3], [0, 0, 0], 0),  # one group
        ([1, 2, 3], [0, 1, 2], 0),  # one value in each
    ],
)
def test_intraclass_correlation_by_hand(values: list[float], groups: list[int], expected: float) -> None:
    found = intraclass_correlation(np.array(values, dtype=np.float64), np.array(groups))
    assert found == pytest.approx(expected, abs=1e-12)


def test_equal_values_share_their_mean_rank() -> None:
    assert mean_ranks(np.array([20, 30, 10, 20])).tolist() == [2.5, 4, 1, 2.5]
    assert mean_ranks(np.array([7, 7, 7])).tolist() == [2, 2, 2]
    assert mean_ranks(np.array([], dtype=np.int64)).tolist() == []


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([10, 20, 20, 30], [5, 90, 70, 100], 4.5 / 22.5**0.5),  # ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: 4.5 of 4.5 * 5
        ([1, 2, 3, 9], [9, 3, 2, 1], -1),
        ([1, 2, 3, 4, 5], [10, 30, 20, 50, 40], 0.8),  # 1 - 6 * (0 + 1 + 1 + 1 + 1) / (5 * 24)
        ([1, 2, 3], [7, 7, 7], 0),  # one side does not vary
    ],
)
def test_rank_correlation_by_hand(a: list[int], b: list[int], expected: float) -> None:
    assert rank_correlation(np.array(a), np.array(b)) == pytest.approx(expected, abs=1e-12)
    assert rank_correlation(np.array(b), np.array(a)) == pytest.approx(expected, abs=1e-12)


def test_percentiles_are_values_that_occur() -> None:
    # Of 101 values i + 1 are at least i %; of two values the lower one is a half.
    assert percentiles(np.arange(101)[::-1] * 10) == [10 * i for i in range(1, 100)]
    assert percentiles(np.array([9, 4])) == [4] * 50 + [9] * 49
    # Of 1 .. 100 the p % quantile is p, whatever floating point makes of 0.07 * 100.
    assert percentiles(np.arange(1, 101)) == list(range(1, 100))


def test_quantiles_at_knots_have_both_ends() -> None:
    # Of seven values the places 0, 6/4, 12/4, 18/4 and 6, rounded down.
    assert quantiles_at_knots(np.array([60, 0, 30, 10, 50, 20, 40]), 4).tolist() == [0, 10, 30, 40, 60]
    assert quantiles_at_knots(np.array([5]), 3).tolist() == [5, 5, 5, 5]
