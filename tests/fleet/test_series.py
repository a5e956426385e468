"""Histograms over a fleet: exact quantiles, exact merging."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.fleet.exact_series import Histogram, Series

VALUES = st.lists(st.integers(0, 50), min_size=1, max_size=60)


def histogram(values: list[int]) -> Histogram:
    """Histogram of one value per device."""
    made = Histogram()
    made.add(np.array(values, dtype=np.int64))
    return made


@given(VALUES, st.integers(1, 100))
def test_quantile_is_the_smallest_value_that_covers(values: list[int], percent: int) -> None:
    got = histogram(values).quantile(percent)
    covered = sum(v <= got for v in values)
    assert covered * 100 >= percent * len(values)
    assert got in values
    assert all(sum(v <= w for v in values) * 100 < percent * len(values) for w in values if w < got)


@given(VALUES, VALUES)
def test_merging_is_the_histogram_of_all(a: list[int], b: list[int]) -> None:
    series, other = Series(), Series()
    series.cell("on", 1, "swpout").add(np.array(a, dtype=np.int64))
    other.cell("on", 1, "swpout").add(np.array(b, dtype=np.int64))
    series.merge([other])
    merged = series.cell("on", 1, "swpout")
    assert merged.counts == histogram(a + b).counts
    assert merged.total == sum(a) + sum(b)
    assert merged.devices == len(a) + len(b)
