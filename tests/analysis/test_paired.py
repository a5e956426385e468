"""Paired comparisons: examples worked by hand, intervals that cover a known truth, and the ends of the range.

With n devices a resample draws n - 1, so for 2 devices every possible resample can be written down: each is one device.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from fleetswap.analysis import paired
from fleetswap.analysis.paired import Contrast, Interval, compare_pairs
from fleetswap.analysis.pairing import PairingGain

TRIALS = 400
QUICK = 400  # resamples per trial
Ints = npt.NDArray[np.int64]


def least_plausible(trials: int, permille: int) -> int:
    """Successes that a binomial of this chance stays below once in 10,000 times."""
    p, below, k = Fraction(permille, 1000), 0.0, 0
    while below < 1e-4:
        below += float(math.comb(trials, k) * p**k * (1 - p) ** (trials - k))
        k += 1
    return k - 1


def holds(interval: Interval | None, truth: float) -> bool:
    assert interval is not None
    return interval.low <= truth <= interval.high


def width(interval: Interval | None) -> float:
    assert interval is not None
    return interval.high - interval.low


def test_a_metric_by_hand() -> None:
    # Differences -2, 0, 3, -5: mean -1, var 34/3; var(a) 500/3, var(b) 474/3; totals 100 and 96.
    found = compare_pairs([10, 20, 30, 40], [8, 20, 33, 35]).overall
    assert (found.name, found.devices, found.total_a, found.total_b) == ("", 4, 100, 96)
    assert (found.base_a, found.base_b) == (4, 4)
    assert found.difference == -1.0
    assert found.relative == -0.04
    assert found.gain.difference == pytest.approx(974 / 34)
    assert (found.better, found.worse, found.equal, found.undefined) == (2, 1, 1, 0)
    assert found.quantiles_a == {"p5": 10, "p50": 20, "p95": 40, "p99": 40}
    assert found.quantiles_b == {"p5": 8, "p50": 20, "p95": 35, "p99": 35}
    assert found.quantiles_difference == {"p5": -5, "p50": -2, "p95": 3, "p99": 3}


def test_every_resample_of_two_devices() -> None:
    # Paired: 10 -> 11 or 20 -> 25. Unpaired also 10 -> 25 and 20 -> 11.
    found = compare_pairs([10, 20], [11, 25]).overall
    assert found.difference_paired == Interval(1.0, 5.0)
    assert found.relative_paired == Interval(0.1, 0.25)
    assert found.difference_unpaired == Interval(-9.0, 15.0)
    assert found.relative_unpaired == Interval(-0.45, 1.5)


def test_a_ratio_by_hand() -> None:
    # 7 of 30 and 5 of 20. Each device alone: 0.1 -> 0.2, 0.3 -> 0.3. Linearised, the devices deviate from the level by
    # -+ 16/180 under A and -+ 9/180 under B, so their difference by +- 7/180.
    found = compare_pairs([1, 6], [2, 3], base_a=[10, 20], base_b=[10, 10]).overall
    assert (found.total_a, found.base_a, found.total_b, found.base_b) == (7, 30, 5, 20)
    assert found.difference == pytest.approx(1 / 60, rel=1e-15)
    assert found.relative == pytest.approx(1 / 14, rel=1e-15)
    assert found.difference_paired == Interval(0.0, 0.1)
    assert found.relative_paired == Interval(0.0, 1.0)
    assert found.gain.difference == pytest.approx((256 + 81) / 49)
    assert (found.better, found.worse, found.equal, found.undefined) == (0, 1, 1, 0)
    assert found.quantiles_a == {"p5": 100_000, "p50": 100_000, "p95": 300_000, "p99": 300_000}
    assert found.quantiles_difference == {"p5": 0, "p50": 0, "p95": 100_000, "p99": 100_000}


def test_classes_are_resampled_for_themselves() -> None:
    # Class x differs by 1 or 5, class y by 10 or 20: the fleet's mean is that of one of each, 5.5 to 12.5; drawn
    # across classes it could be 1 or 20.
    found = compare_pairs([0, 0, 0, 0], [10, 1, 20, 5], classes=["y", "x", "y", "x"])
    assert [part.name for part in found.classes] == ["x", "y"]
    assert [part.difference for part in found.classes] == [3.0, 15.0]
    assert [part.difference_paired for part in found.classes] == [Interval(1.0, 5.0), Interval(10.0, 20.0)]
    assert found.overall.difference == 9.0
    assert found.overall.difference_paired == Interval(5.5, 12.5)
    assert found.worst_class == "y"
    assert compare_pairs([0, 0], [1, 2], classes=["x", "y"], better="max").worst_class == "x"


def test_a_class_of_one_device_makes_the_fleet_one_stratum() -> None:
    # Two of three devices are drawn, so the mean can be that of one device twice: 1 or 9, each once in nine times.
    found = compare_pairs([0, 0, 0], [1, 5, 9], classes=["x", "x", "y"])
    assert found.classes[1].difference == 9.0
    assert found.classes[1].difference_paired is None
    assert found.classes[1].gain == PairingGain()
    assert found.overall.difference_paired == Interval(1.0, 9.0)


def test_a_class_without_devices() -> None:
    found = compare_pairs([1, 2, 3], [2, 3, 4], classes=[2, 0, 2], names=["big", "none", "small"])
    empty = found.classes[1]
    assert (empty.name, empty.devices, empty.total_a, empty.better) == ("none", 0, 0, 0)
    assert (empty.difference, empty.relative, empty.difference_paired) == (None,) * 3
    assert empty.gain == PairingGain()
    assert (empty.quantiles_a, empty.quantiles_difference) == (None, None)
    assert found.worst_class == "big"
    full = compare_pairs([1, 2], [2, 4], classes=[1, 1], names=["none", "all"])
    assert full.classes[1].difference_paired == full.overall.difference_paired == Interval(1.0, 2.0)


def test_no_devices_and_one_device() -> None:
    none = compare_pairs([], [])
    assert (none.overall.devices, none.overall.difference, none.worst_class, none.classes) == (0, None, None, ())
    one = compare_pairs([10], [15]).overall
    assert (one.difference, one.relative) == (5.0, 0.5)
    assert (one.difference_paired, one.relative_unpaired, one.gain) == (None, None, PairingGain())
    assert one.quantiles_difference == {"p5": 5, "p50": 5, "p95": 5, "p99": 5}


def test_equal_policies_differ_by_nothing() -> None:
    a = np.arange(1, 10_001)
    found = compare_pairs(a, a, base_a=a + 7, base_b=a + 7, classes=a % 3).overall
    assert (found.difference, found.relative) == (0.0, 0.0)
    assert found.difference_paired == found.relative_paired == Interval(0.0, 0.0)
    assert (found.gain.difference, found.gain.relative) == (None, None)
    assert found.equal == 10_000


def test_differences_that_do_not_vary() -> None:
    a = np.random.default_rng(1).integers(0, 10**12, 10_000)
    found = compare_pairs(a, a + 7).overall
    assert found.difference_paired == Interval(7.0, 7.0)
    assert found.gain.difference is None
    assert width(found.difference_unpaired) > 10**9


def test_no_relative_difference_to_nothing() -> None:
    found = compare_pairs([0, 0, 0], [1, 2, 3]).overall
    assert (found.relative, found.relative_paired, found.relative_unpaired) == (None, None, None)
    assert found.difference_paired is not None


def test_devices_without_attempts() -> None:
    # A resample of the first device alone has no level.
    found = compare_pairs([0, 1], [0, 2], base_a=[0, 10], base_b=[0, 10]).overall
    assert (found.difference, found.relative) == (0.1, 1.0)
    assert (found.difference_paired, found.relative_paired) == (None, None)
    assert (found.better, found.worse, found.equal, found.undefined) == (0, 1, 0, 1)
    assert found.quantiles_b == dict.fromkeys(("p5", "p50", "p95", "p99"), 200_000)
    nothing = compare_pairs([0, 0], [0, 0], base_a=[0, 0], base_b=[0, 0]).overall
    assert (nothing.difference, nothing.gain, nothing.undefined, nothing.quantiles_a) == (None, PairingGain(), 2, None)


def test_quantiles_of_a_side_are_those_of_its_own_devices() -> None:
    # The second device has no attempts under B: it counts for A, and not for B or the difference.
    found = compare_pairs([1, 9], [3, 0], base_a=[10, 10], base_b=[10, 0]).overall
    assert found.quantiles_a == {"p5": 100_000, "p50": 100_000, "p95": 900_000, "p99": 900_000}
    assert found.quantiles_b == dict.fromkeys(("p5", "p50", "p95", "p99"), 300_000)
    assert found.quantiles_difference == dict.fromkeys(("p5", "p50", "p95", "p99"), 200_000)


def test_large_values_keep_their_last_bit() -> None:
    big = 1 << 62
    found = compare_pairs([big] * 3, [big - 1, big - 2, big - 3]).overall
    assert (found.total_a, found.total_b) == (3 * big, 3 * big - 6)
    assert found.difference == -2.0
    assert found.difference_paired == Interval(-3.0, -1.0)
    # 3 of 2 ** 61 and 2 ** 61 - 1: their products with the other's base differ in the last of 123 bits.
    ratio = compare_pairs([3], [3], base_a=[1 << 61], base_b=[(1 << 61) - 1]).overall
    assert (ratio.worse, ratio.equal) == (1, 0)
    assert compare_pairs([big], [big], base_a=[big], base_b=[big]).overall.quantiles_a == {
        "p5": 10**6,
        "p50": 10**6,
        "p95": 10**6,
        "p99": 10**6,
    }


def test_the_same_bits_again() -> None:
    rng = np.random.default_rng(2)
    a, change, classes = rng.integers(0, 10**6, 9000), rng.integers(-99, 99, 9000), rng.integers(0, 2, 9000)
    first, again, other = (asdict(compare_pairs(a, a + change, classes=classes, seed=seed)) for seed in (1, 1, 2))
    assert json.dumps(first) == json.dumps(again)
    assert first["overall"]["difference_paired"] != other["overall"]["difference_paired"]
    assert first["overall"]["difference"] == other["overall"]["difference"]


@pytest.mark.parametrize("devices", [1000, 50_000])
def test_width_is_that_of_the_mean_drawn_one_by_one_or_in_groups(devices: int) -> None:
    # Normal differences: 2 * 1.96 standard errors. A width of 2000 resamples has a standard error of 2.1 %, groups or
    # the sample's own variance add at most 2.2 %; allowed are 4 times both.
    assert (devices > paired.GROUPS) == (devices == 50_000)
    rng = np.random.default_rng(3)
    a = rng.normal(10**6, 10**5, devices).astype(np.int64)
    found = compare_pairs(a, a + rng.normal(0, 1000, devices).astype(np.int64)).overall
    expected = 2 * 1.96 * 1000 / math.sqrt(devices)
    assert width(found.difference_paired) == pytest.approx(expected, rel=4 * math.hypot(0.021, 0.022))


def test_intervals_of_a_skewed_metric_cover_the_truth() -> None:
    # floor(Exp(mean 1000)) has the mean 1 / (e ** 0.001 - 1); the devices themselves spread ten times as far. Policy B
    # also runs on devices of its own, for which the unpaired interval is meant.
    truth, level = 1 / math.expm1(0.001), 20_000.0
    hits = dict.fromkeys(("paired", "relative", "unpaired", "relative unpaired"), 0)
    for trial in range(TRIALS):
        rng = np.random.default_rng([5, trial])
        a, elsewhere = (10_000 + np.rint(rng.normal(10_000, 3000, 200)).astype(np.int64) for _ in range(2))
        change = rng.exponential(1000, 200).astype(np.int64)
        found = compare_pairs(a, a + change, seed=trial, resamples=QUICK).overall
        hits["paired"] += holds(found.difference_paired, truth)
        hits["relative"] += holds(found.relative_paired, truth / level)
        apart = compare_pairs(a, elsewhere + change, seed=trial, resamples=QUICK).overall
        hits["unpaired"] += holds(apart.difference_unpaired, truth)
        hits["relative unpaired"] += holds(apart.relative_unpaired, truth / level)
    assert min(hits.values()) >= least_plausible(TRIALS, 950), hits
    assert max(hits.values()) <= TRIALS - least_plausible(TRIALS, 50), hits


@pytest.mark.parametrize("groups", [4096, 50])
def test_intervals_of_a_ratio_cover_the_truth_in_classes_and_in_groups(
    groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Device i of class c fails with chance p_i, of the mean 0.2 or 0.4 by class, independent of its attempts; policy B
    # halves p_i. Both classes make as many attempts on average: from 0.3 to 0.15.
    monkeypatch.setattr(paired, "GROUPS", groups)
    hits = dict.fromkeys(("difference", "relative", "class"), 0)
    classes = np.arange(300) % 3 > 0
    shares = 100 * 0.2 + 200 * 0.4
    for trial in range(TRIALS):
        rng = np.random.default_rng([6, trial])
        p = np.where(classes, rng.beta(4, 6, 300), rng.beta(2, 8, 300))
        tries_a, tries_b = rng.poisson(40, 300), rng.poisson(40, 300)
        found = compare_pairs(
            rng.binomial(tries_a, p),
            rng.binomial(tries_b, p / 2),
            base_a=tries_a,
            base_b=tries_b,
            classes=classes,
            seed=trial,
            resamples=QUICK,
        )
        hits["difference"] += holds(found.overall.difference_paired, -shares / 600)
        hits["relative"] += holds(found.overall.relative_paired, -0.5)
        hits["class"] += holds(found.classes[0].difference_paired, -0.1)
    assert min(hits.values()) >= least_plausible(TRIALS, 950), hits
    assert max(hits.values()) <= TRIALS - least_plausible(TRIALS, 50), hits


def test_quantiles_are_those_of_a_sorted_list() -> None:
    values = np.random.default_rng(7).permutation(np.arange(1, 201))
    found: Contrast = compare_pairs(values, values * 2).overall
    assert found.quantiles_a == {"p5": 10, "p50": 100, "p95": 190, "p99": 198}
    assert found.quantiles_b == {"p5": 20, "p50": 200, "p95": 380, "p99": 396}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"b": [1]}, r"b has shape \(1,\); expected one value for each of 2 devices"),
        ({"a": [0.5, 1.5]}, "a has type float64; expected integers"),
        ({"a": np.array([1 << 63, 1], np.uint64)}, "a holds 1 to 9223372036854775808; allowed are"),
        ({"base_a": [1, 1]}, "base_a and base_b: expected both or neither"),
        ({"base_a": [1, 1], "base_b": [1, -1]}, "base_b holds -1 to 1; allowed are 0 to"),
        ({"a": [1 << 62, 1], "base_a": [1, 1], "base_b": [1, 1]}, r"numerator is more than 2 \*\* 42 times its base"),
        ({"classes": ["x"]}, r"classes has shape \(1,\); expected one label for each of 2 devices"),
        ({"classes": [0, 2], "names": ["x", "y"]}, "classes holds 0 to 2; allowed are 0 to 1"),
        ({"names": ["x"]}, "names without classes"),
        ({"better": "low"}, "better 'low'; allowed are min, max"),
        ({"confidence": 1000}, "confidence 1000 of 2000 resamples"),
        ({"resamples": 39}, "confidence 950 of 39 resamples leaves no resample outside"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_pairs(**({"a": [1, 2], "b": [3, 4]} | arguments))  # type: ignore[arg-type] # wrong on purpose
