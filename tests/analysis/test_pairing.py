"""What pairing gains: cases in closed form, the bound, and agreement with the widths of bootstrap intervals."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.analysis.paired import compare_pairs
from fleetswap.analysis.pairing import PairingGain, pairing_gain

Ints = npt.NDArray[np.int64]


def gain(a: list[int] | Ints, b: list[int] | Ints) -> PairingGain:
    """Of a plain metric of devices of one class."""
    columns = [np.array(a, np.int64), np.ones(len(a), np.int64), np.array(b, np.int64), np.ones(len(b), np.int64)]
    return pairing_gain([columns], [int(column.sum()) for column in columns])


def normal(devices: int, mean: tuple[float, float], sigma: tuple[float, float], rho: float) -> tuple[Ints, Ints]:
    """Levels under two policies, bivariate normal."""
    x, y = np.random.default_rng([int(100 * rho), devices]).normal(size=(2, devices))
    a = mean[0] + sigma[0] * x
    b = mean[1] + sigma[1] * (rho * x + math.sqrt(1 - rho * rho) * y)
    return np.rint(a).astype(np.int64), np.rint(b).astype(np.int64)


def test_by_hand() -> None:
    # Deviations -15, -5, 5, 15 and -16, -4, 9, 11: squares 500 and 474, products 470; levels 25 and 24.
    found = gain([10, 20, 30, 40], [8, 20, 33, 35])
    assert found.difference == pytest.approx((500 + 474) / (500 + 474 - 2 * 470))
    assert found.relative == pytest.approx((0.96**2 * 500 + 474) / (0.96**2 * 500 + 474 - 2 * 0.96 * 470))
    assert found.correlation == pytest.approx(470 / math.sqrt(500 * 474))


def test_a_share_by_hand() -> None:
    # 7 of 30 and 5 of 20; linearised, devices deviate by -+ 16/180 and -+ 9/180. R is 15/14: 120/7 and 9.
    columns = [np.array(values, np.int64) for values in ([1, 6], [10, 20], [2, 3], [10, 10])]
    found = pairing_gain([columns], [7, 30, 5, 20])
    assert found.difference == pytest.approx((256 + 81) / (16 - 9) ** 2)
    assert found.relative == pytest.approx((120**2 + 63**2) / (120 - 63) ** 2)
    assert found.correlation == pytest.approx(1)


def test_only_what_varies_within_classes_counts() -> None:
    # A: 0, 2 and 100, 104, squares about the class means 2 and 8; B: 1, 5 and 100, 106: 8 and 18; differences 1, 3 and
    # 0, 2: 2 and 2. All times n / (n - 1) = 2. Products 4 and 12; R is 212 / 206.
    found = compare_pairs([0, 2, 100, 104], [1, 5, 100, 106], classes=[0, 0, 1, 1])
    assert found.overall.gain.difference == pytest.approx((2 + 8 + 8 + 18) / (2 + 2))
    assert [part.gain.difference for part in found.classes] == [pytest.approx(10 / 2), pytest.approx(26 / 2)]
    apart = (212 / 206) ** 2 * 10 + 26
    assert found.overall.gain.relative == pytest.approx(apart / (apart - 2 * 212 / 206 * 16))
    assert found.overall.gain.correlation == pytest.approx(16 / math.sqrt(10 * 26))


@pytest.mark.parametrize("percent", [50, 70, 95])
def test_an_effect_in_proportion_has_a_gain_without_bound_as_a_relative_difference(percent: int) -> None:
    # b = k a leaves nothing of the relative difference, and (1 - k) ** 2 of var(a) of the difference.
    a = np.arange(1, 400) ** 2 * 100
    found = gain(a, a // 100 * percent)
    k = percent / 100
    assert found.relative is None
    assert found.difference == pytest.approx((1 + k * k) / (1 - k) ** 2)
    assert found.correlation == pytest.approx(1)


@pytest.mark.parametrize(
    ("mean", "sigma", "rho"),
    [
        ((1e6, 2e6), (1e5, 2e5), 0.9),  # twice as much of all: 5 / 1.4, and 10
        ((1e6, 5e5), (1e5, 1e5), 0.9),  # the spread stays: 10, and 5 / 1.4
        ((1e6, 9e5), (1e5, 3e4), 0.2),  # nearly gone
        ((1e6, 1e6), (1e5, 1e5), 0.0),
    ],
)
def test_known_covariances(mean: tuple[float, float], sigma: tuple[float, float], rho: float) -> None:
    # A variance of 200,000 devices has a standard error of 0.3 %; where most of it cancels, so does its error.
    found = gain(*normal(200_000, mean, sigma, rho))
    for told, (x, y) in (
        (found.difference, sigma),
        (found.relative, (sigma[0] / mean[0], sigma[1] / mean[1])),
    ):
        assert told == pytest.approx((x * x + y * y) / (x * x + y * y - 2 * rho * x * y), rel=0.02)
    assert found.correlation == pytest.approx(rho, abs=4 / math.sqrt(200_000))


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), min_size=3, max_size=40))
def test_no_contrast_gains_more_than_the_bound(pairs: list[tuple[int, int]]) -> None:
    found = gain([a for a, _ in pairs], [b for _, b in pairs])
    rho = found.correlation
    for told in (found.difference, found.relative):
        if told is not None and rho is not None and rho < 1 - 1e-9:
            assert told <= max(1.0, 1 / (1 - rho)) * (1 + 1e-6)


def test_the_widths_of_the_intervals_say_the_same() -> None:
    # a = x + e, b = x + f with var(x) = 9 var(e): (10 + 10) / (1 + 1), and a relative difference that scales b by
    # levels of 1 to 1.5. Each width is within 2.1 %.
    rng = np.random.default_rng(4)
    x, e, f = (rng.normal(0, sigma, 20_000) for sigma in (3e6, 1e6, 1e6))
    found = compare_pairs((2e7 + x + e).astype(np.int64), (3e7 + x + f).astype(np.int64)).overall
    assert found.gain.difference == pytest.approx(10, rel=0.06)
    # Variances 1.5 ** 2 * 10 and 10, covariance 9.
    assert found.gain.relative == pytest.approx((22.5 + 10) / (22.5 + 10 - 2 * 1.5 * 9), rel=0.06)
    for told, apart, together in (
        (found.gain.difference, found.difference_unpaired, found.difference_paired),
        (found.gain.relative, found.relative_unpaired, found.relative_paired),
    ):
        assert apart is not None
        assert together is not None
        ratio = (apart.high - apart.low) / (together.high - together.low)
        assert ratio**2 == pytest.approx(told, rel=4 * 2 * math.hypot(0.021, 0.021))


def test_what_does_not_vary_has_no_gain() -> None:
    assert gain([], []) == PairingGain()
    assert gain([5], [7]) == PairingGain()
    assert gain([1, 2, 3], [2, 3, 4]).difference is None
    assert gain([5, 5], [1, 9]) == PairingGain(1.0, 1.0, None)
    # Nothing is left of the metric under B: all of what A varies by is the difference's.
    assert gain([1, 3], [0, 0]) == PairingGain(1.0, None, None)
    # No relative difference to nothing.
    assert gain([0, 0], [1, 3]) == PairingGain(1.0, None, None)
    nothing = [np.zeros(2, np.int64)] * 4
    assert pairing_gain([nothing], [0, 0, 0, 0]) == PairingGain()


@pytest.mark.parametrize("scale", [10**3, 10**12])
def test_rounding_is_no_spread(scale: int) -> None:
    a = np.arange(1, 1000) * scale + 7
    assert gain(a, a + 3).difference is None
    assert gain(a, 3 * a).relative is None
