"""What pairing gains: how many times fewer devices it needs than two separate fleets, for an interval as wide.

Let a and b be the deviations of devices from the levels of their classes under the two policies, rho their correlation.
A contrast b - s a varies by s^2 var(a) + var(b) with separate fleets, and by 2 s cov(a, b) less with the same devices.
The gain is the ratio of the two. There are two contrasts:

- the difference of levels, s = 1. What a policy does in proportion to a device's level does not cancel: b = (1 - c) a
  leaves c^2 var(a), a gain of (1 + (1 - c)^2) / c^2;
- their ratio R, which is the relative difference, s = R (delta method). There b = (1 - c) a leaves nothing. The gain is
  that of the coefficients of variation.

No contrast gains more than 1 / (1 - rho), since s^2 var(a) + var(b) is at least 2 s sd(a) sd(b). A policy that takes
away what devices differ by, or makes them differ by something else, leaves a small rho. Regression on what devices have
in common under both policies (control variates, CUPED) does not help then: it subtracts a multiple of the sample's mean
of it less the true mean, which nobody knows. A longer run helps where chance makes the rest, since chance evens out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Columns = Sequence[npt.NDArray[np.int64]]
"""One array each, a value per device: numerator and base of policy A, numerator and base of B."""

_NOISE = 2.0**-48  # deviations below this share of the greatest value are rounding


@dataclass(frozen=True)
class PairingGain:
    """Gains of pairing, by contrast.

    Parameters
    ----------
    difference, relative : float or None
        Of the difference of levels and of the relative difference; None if the contrast does not vary, and the latter
        unless the level of A is above 0.
    correlation : float or None
        Of the devices' deviations under the two policies, within classes; None if one of them does not vary.
    """

    difference: float | None = None
    relative: float | None = None
    correlation: float | None = None


def pairing_gain(strata: Sequence[Columns], totals: Sequence[int]) -> PairingGain:
    """Gains of pairing the devices of some classes.

    Parameters
    ----------
    strata : sequence of Columns
        The devices of each class.
    totals : sequence of 4 int
        Sums of the columns over all of them.
    """
    if not (totals[1] and totals[3]):
        return PairingGain()
    devices = sum(columns[0].size for columns in strata)
    levels = [totals[i] / totals[i + 1] for i in (0, 2)]
    slopes = [1.0] if levels[0] <= 0 else [1.0, levels[1] / levels[0]]
    spread_a = spread_b = together = 0.0
    left = [0.0] * len(slopes)
    for columns in strata:
        n = columns[0].size
        if n < 2:
            continue
        unbiased = n / (n - 1)
        a, b = (
            # The mean base makes the parts of the two policies comparable; for a plain metric it is 1.
            _deviations(columns[i], columns[i + 1], level, totals[i + 1] / devices)
            for i, level in zip((0, 2), levels, strict=True)
        )
        spread_a += _sum(a.values**2) * unbiased
        spread_b += _sum(b.values**2) * unbiased
        together += _sum(a.values * b.values) * unbiased
        for k, slope in enumerate(slopes):
            rest = _cleared(b.values - slope * a.values, max(slope * a.noise, b.noise))
            left[k] += _sum(rest**2) * unbiased
    gains = [
        (slope * slope * spread_a + spread_b) / rest if rest else None for slope, rest in zip(slopes, left, strict=True)
    ]
    both = math.sqrt(spread_a) * math.sqrt(spread_b)
    return PairingGain(gains[0], gains[1] if len(gains) == 2 else None, together / both if both else None)


@dataclass(frozen=True)
class _Deviations:
    """Of devices from their class, and how much of them may be rounding."""

    values: npt.NDArray[np.float64]
    noise: float


def _deviations(
    numerators: npt.NDArray[np.int64], bases: npt.NDArray[np.int64], level: float, mean_base: float
) -> _Deviations:
    """What each device adds to the level of all (linearised), less the mean of its class."""
    values = (numerators - level * bases) / mean_base
    values -= _sum(values) / values.size
    noise = float(np.abs(numerators).max()) / mean_base * _NOISE
    return _Deviations(_cleared(values, noise), noise)


def _cleared(values: npt.NDArray[np.float64], noise: float) -> npt.NDArray[np.float64]:
    return np.where(np.abs(values) <= noise, 0.0, values)


def _sum(values: npt.NDArray[np.float64]) -> float:
    """Sum from first to last, which no vector unit reorders."""
    return float(np.cumsum(values)[-1])
