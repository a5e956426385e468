"""Log-binned histograms: exact fields, merges that cannot differ, quantiles within the stated error.

Expected quantiles come from the sorted values themselves, expected bins from Python's ``int.bit_length``.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.fleet.log_histogram import LogHistogram
from fleetswap_kernels.backend.log_bins import BINS, SUB_BITS, bin_bounds, bin_numbers
from tests.analysis.histograms import histogram

ERROR = 1 << (SUB_BITS + 1)  # a quantile is within 1 / ERROR
EXACT = 1 << (SUB_BITS + 1)  # magnitudes below are exact
LEAST, MOST = -(1 << 63), (1 << 63) - 1
LAST = BINS // 2

VALUES = st.integers(0, 63).flatmap(lambda bits: st.integers(-(1 << bits), (1 << bits) - 1))
FLEETS = st.lists(VALUES, max_size=60)
EDGES = sorted(
    {
        sign * value
        for bits in range(64)
        for value in ((1 << bits) - 1, 1 << bits, (1 << bits) + 1)
        for sign in (1, -1)
        if LEAST <= sign * value <= MOST
    }
)


def content(found: LogHistogram) -> bytes:
    """Everything it holds, as bytes."""
    return json.dumps(found.to_dict()).encode() + found.bins.tobytes() + found.counts.tobytes()


def exact(values: list[int], permille: int) -> int:
    """Smallest value that at least so many devices do not exceed, by definition."""
    return next(v for v in sorted(values) if sum(w <= v for w in values) * 1000 >= permille * len(values))


def expected_bin(value: int) -> int:
    """Bin by the module's description, in Python's integers."""
    extra = max(0, abs(value).bit_length() - SUB_BITS - 1)
    number = (extra << SUB_BITS) + (abs(value) >> extra)
    return number if value >= 0 else -number


def test_bins_at_every_power_of_two() -> None:
    # 2 ** 53 + 1 and 2 ** 54 - 1 among them would go wrong with a logarithm or a double.
    assert bin_numbers(np.array(EDGES, np.int64)).tolist() == [expected_bin(value) for value in EDGES]


@given(st.lists(VALUES, min_size=1))
def test_bins_of_any_values(values: list[int]) -> None:
    assert bin_numbers(np.array(values, np.int64)).tolist() == [expected_bin(value) for value in values]


def test_bins_are_contiguous_and_hold_their_bounds() -> None:
    for number in range(-LAST, LAST):
        assert bin_bounds(number)[1] + 1 == bin_bounds(number + 1)[0]
    inner = range(-LAST + 1, LAST)
    for side in (0, 1):
        bounds = np.array([bin_bounds(number)[side] for number in inner], np.int64)
        assert bin_numbers(bounds).tolist() == list(inner)
    assert bin_bounds(-LAST)[1] == LEAST


def test_a_bin_is_never_wider_than_its_share_of_its_least_value() -> None:
    for number in range(LAST + 1):
        low, high = bin_bounds(number)
        assert high == low if low < EXACT else (high - low + 1) << SUB_BITS <= low


@given(st.lists(FLEETS, min_size=1, max_size=6), st.data())
def test_any_partition_merged_in_any_order_gives_the_same_bytes(parts: list[list[int]], data: st.DataObject) -> None:
    whole = histogram([value for part in parts for value in part])
    waiting = [histogram(part) for part in parts]
    while len(waiting) > 1:  # any tree of merges
        one = waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))
        waiting[data.draw(st.integers(0, len(waiting) - 1))].merge(one)
    assert content(waiting[0]) == content(whole)


@given(st.lists(VALUES, min_size=1, max_size=60), st.integers(0, 1000))
def test_quantiles_are_within_the_stated_error(values: list[int], permille: int) -> None:
    truth = exact(values, permille)
    assert abs(histogram(values).quantile(permille) - truth) * ERROR <= abs(truth)


@given(st.lists(st.integers(1 - EXACT, EXACT - 1), min_size=1, max_size=60), st.integers(0, 1000))
def test_small_values_are_exact(values: list[int], permille: int) -> None:
    assert histogram(values).quantile(permille) == exact(values, permille)


@given(st.lists(VALUES, min_size=1, max_size=60))
def test_total_extremes_and_devices_are_exact(values: list[int]) -> None:
    found = histogram(values)
    assert (found.devices, found.total, found.least, found.greatest) == (
        len(values),
        sum(values),
        min(values),
        max(values),
    )
    assert (found.quantile(0), found.quantile(1000)) == (min(values), max(values))


def test_the_error_bound_is_reached() -> None:
    # 4096 to 4223 share a bin (e = 7, 128 wide); half a bin is 64 = 4096 / 64. The ends keep the answer from clamping.
    assert histogram([0, 4096, 10_000]).quantile(500) == 4096 + 64
    assert histogram([-10_000, -4096, 0]).quantile(500) == -4096 - 64


def test_a_total_beyond_64_bits() -> None:
    assert histogram([MOST] * 5).total == 5 * MOST
    assert histogram([LEAST] * 5).total == 5 * LEAST


@given(FLEETS)
def test_bins_count_the_devices(values: list[int]) -> None:
    found = histogram(values)
    assert dict(zip(found.bins.tolist(), found.counts.tolist(), strict=True)) == Counter(map(expected_bin, values))


def test_only_bins_in_use_take_memory() -> None:
    # 100,000 devices in 3 bins; whole shards of them are merged.
    found = histogram([5, -5, MOST] * 30_000)
    found.merge(histogram([5] * 10_000))
    assert (found.bins.tolist(), found.counts.tolist()) == ([-5, 5, expected_bin(MOST)], [30_000, 40_000, 30_000])
    assert found.bins.nbytes + found.counts.nbytes == 48


def test_a_merge_leaves_the_other_histogram_as_it_is() -> None:
    one, other = LogHistogram(), histogram([1, 2])
    before = content(other)
    one.merge(other)
    one.merge(histogram([2, 3]))
    assert content(other) == before
    assert content(one) == content(histogram([1, 2, 2, 3]))


@given(FLEETS)
def test_written_and_read_back(values: list[int]) -> None:
    found = histogram(values)
    again = LogHistogram.from_dict(json.loads(json.dumps(found.to_dict())))
    assert content(again) == content(found)


def test_what_is_written_names_only_bins_in_use() -> None:
    # 130 has 8 bits: e = 2, bin (2 << 5) + (130 >> 2) = 96.
    assert histogram([130, -3, 130]).to_dict() == {
        "sub_bits": 5,
        "devices": 3,
        "total": 257,
        "least": -3,
        "greatest": 130,
        "bins": [-3, 96],
        "counts": [1, 2],
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sub_bits": 6}, "sub_bits 6; this version reads 5"),
        ({"bins": [96, -3]}, "bad bins"),
        ({"bins": [-3, -3]}, "bad bins"),
        ({"bins": [-3]}, "bad bins"),
        ({"bins": [-3, 1889]}, "bad bins; expected one count each, ascending, -1888 to 1888"),
        ({"counts": [0, 3]}, "bad counts"),
        ({"counts": [1, 3]}, "bad counts"),
        ({"devices": 4}, "bad counts; expected positive ones with the sum 4"),
        ({"least": -4}, "least -4; its bins allow -3 to -3"),
        ({"greatest": 132}, "greatest 132; its bins allow 128 to 131"),
        ({"greatest": None}, "greatest None"),
        ({"total": 260}, "total 260; its bins allow 253 to 259"),
    ],
)
def test_what_cannot_be_is_not_read(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogHistogram.from_dict(histogram([130, -3, 130]).to_dict() | change)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ValueError, match="histogram without 'devices'"):
        LogHistogram.from_dict({"sub_bits": 5})


def test_no_devices() -> None:
    found = LogHistogram()
    found.merge(LogHistogram())
    assert (found.devices, found.total, found.least, found.greatest, found.bins.size) == (0, 0, None, None, 0)
    with pytest.raises(ValueError, match="no quantiles"):
        found.quantile(500)


def test_bad_quantiles_are_refused() -> None:
    with pytest.raises(ValueError, match="quantile 1001 permille"):
        histogram([1]).quantile(1001)
