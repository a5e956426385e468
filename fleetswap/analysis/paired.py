"""Paired comparison of two policies on the same devices: differences, their intervals, and devices that lose or gain.

Both policies run on the same devices with the same random numbers, so the difference of each device is seen, and most
of what makes devices unlike cancels. A metric is an integer per device, or a numerator and a base per device, such as
fallbacks and attempts. Its level is the sum of numerators over the sum of bases; the base of a plain metric is 1.

Intervals are bootstrap intervals over devices:

- Weights: a resample draws n - 1 of n devices with replacement and counts how often each comes (multinomial weights),
  scaled by n / (n - 1), which makes the variance unbiased for classes however small (Rao and Wu 1988).
- Many devices: beyond `GROUPS` devices of a class, they are dealt at random into `GROUPS` groups of equal size, and
  groups are drawn. Their sums vary as those of single devices do; a width's standard error from it is
  1 / sqrt(2 * GROUPS), 1.1 %, beside the 2 % that 2000 resamples leave. Time and memory stop growing with the fleet.
- Strata: the classes' shares are the scenario's and not sampled, so each class is resampled for itself and the fleet's
  resample is the sum of theirs. If a class has no second device to vary from the first, the whole fleet is one stratum.
- Percentiles: the ends are the k-th least and k-th greatest resample. BCa would move them by about skewness / sqrt(n)
  standard errors of the difference, less than the 0.06 by which 2000 resamples blur them for the fleets of thousands
  that are meant. With fewer than about 30 devices, or where a handful makes the whole sum, intervals are too narrow.
- Unpaired: as if policy B had run on other devices; the sums of B are those of the next resample. `pairing` tells by
  formula what that costs.

NumPy keeps the raw stream of PCG64; it is scaled to device numbers in integers, and sums are exact integers. Floats
appear element by element and in sequential sums only: the same input gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..fleet.quantiles import quantiles
from .pairing import Columns, PairingGain, pairing_gain

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

GROUPS = 4096
"""Most devices of a class that are drawn one by one; more are drawn in this many groups."""

SEED = 20_240_530
RESAMPLES = 2000
CONFIDENCE = 950
"""Permille of intervals that hold the true value."""

PER_MILLION = 1_000_000
"""A device's value of a metric with a base is in millionths, rounded down, so that it stays an integer."""

_MOST = 1 << 62  # so that a difference of two values fits int64
_BLOCK = 1 << 20  # weights at a time, 8 MiB
_LOW = 0xFFFFFFFF


@dataclass(frozen=True)
class Interval:
    """A confidence interval, ends included."""

    low: float
    high: float


@dataclass(frozen=True)
class Contrast:
    """Policy B against policy A on the devices of one class, or on all of them.

    Parameters
    ----------
    name : str
        The class; "" for all devices.
    devices : int
    total_a, total_b, base_a, base_b : int
        Sums of the numerators and of the bases; the bases of a plain metric are the numbers of devices.
    difference : float or None
        Level of B less level of A: for a plain metric the mean difference of a device. None if a base is 0.
    relative : float or None
        Level of B over level of A, less 1. None unless the level of A is above 0.
    difference_paired, relative_paired, difference_unpaired, relative_unpaired : Interval or None
        Their intervals; None with one device, or if the value is undefined in any resample.
    gain : PairingGain
        How many times fewer devices pairing needs for an equally wide interval (`pairing`).
    better, worse, equal, undefined : int
        Devices by what B does to them, exactly; undefined are those with a base of 0.
    quantiles_a, quantiles_b, quantiles_difference : dict of str to int, or None
        Exact p5, p50, p95, p99 of the devices' values under each policy and of their differences: the smallest value
        that at least so many devices do not exceed. With a base they are in millionths, of devices that have one.
    """

    name: str
    devices: int
    total_a: int
    total_b: int
    base_a: int
    base_b: int
    difference: float | None
    relative: float | None
    difference_paired: Interval | None
    relative_paired: Interval | None
    difference_unpaired: Interval | None
    relative_unpaired: Interval | None
    gain: PairingGain
    better: int
    worse: int
    equal: int
    undefined: int
    quantiles_a: dict[str, int] | None
    quantiles_b: dict[str, int] | None
    quantiles_difference: dict[str, int] | None


@dataclass(frozen=True)
class PairedComparison:
    """Policy B against policy A, overall and by class.

    Parameters
    ----------
    overall : Contrast
    classes : tuple of Contrast
        In the order of the names, or of the sorted labels; empty without classes.
    worst_class : str or None
        The class whose difference is the worst one, in the metric's unit, the first of equal ones.
    better : "min" or "max"
    seed, resamples, confidence : int
    """

    overall: Contrast
    classes: tuple[Contrast, ...]
    worst_class: str | None
    better: Literal["min", "max"]
    seed: int
    resamples: int
    confidence: int


def compare_pairs(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    base_a: npt.ArrayLike | None = None,
    base_b: npt.ArrayLike | None = None,
    classes: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
    better: Literal["min", "max"] = "min",
    seed: int = SEED,
    resamples: int = RESAMPLES,
    confidence: int = CONFIDENCE,
) -> PairedComparison:
    """Compare policy B with policy A on the same devices.

    Parameters
    ----------
    a, b : arrays of n integers
        The metric of every device under each policy, devices in the same order.
    base_a, base_b : arrays of n integers that are not negative, or both None
        What the metric is counted against, such as offered folios for fallbacks.
    classes : array of n labels, optional
        Class of every device. With `names`, numbers of names.
    names : sequence of str, optional
        All classes; one without devices gets a contrast without values.
    better : "min" or "max"
        Whether less or more of the metric is better.
    seed, resamples : int
    confidence : int
        In permille, 1 to 999.

    Raises
    ------
    ValueError
        If an argument cannot be: the message names it.
    """
    if better not in ("min", "max"):
        raise ValueError(f"better {better!r}; allowed are min, max")
    tail = resamples * (1000 - confidence) // 2000
    if not 1 <= confidence <= 999 or tail < 1:
        raise ValueError(f"confidence {confidence} of {resamples} resamples leaves no resample outside an interval")
    if (base_a is None) != (base_b is None):
        raise ValueError("base_a and base_b: expected both or neither")
    n = np.size(a)
    ones = np.ones(n, np.int64)
    columns = [
        _integers("a", a, n),
        ones if base_a is None else _integers("base_a", base_a, n, least=0),
        _integers("b", b, n),
        ones if base_b is None else _integers("base_b", base_b, n, least=0),
    ]
    codes, labels = _codes(classes, names, n)
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=max(1, len(labels))))[:-1]
    # By stratum, the columns of its devices.
    strata = list(zip(*(np.split(column[order], ends) for column in columns), strict=True))
    draws = [_resample(stratum, resamples, seed, number) for number, stratum in enumerate(strata)]
    plain, sign = base_a is None, 1 if better == "min" else -1
    parts = tuple(
        _contrast(labels[i], strata[i], strata[i : i + 1], draws[i], tail, plain, sign) for i in range(len(labels))
    )
    sizes = [stratum[0].size for stratum in strata]
    if max(sizes) == n or 1 in sizes:
        strata = [tuple(columns)]
        drawn = draws[sizes.index(n)] if n in sizes else _resample(columns, resamples, seed, len(sizes))
    else:
        # Of each g devices or groups, g - 1 were drawn.
        scales = [min(size, GROUPS) / (min(size, GROUPS) - 1) for size in sizes if size]
        full = [draw for draw in draws if draw is not None]
        drawn = np.sum([draw * scale for draw, scale in zip(full, scales, strict=True)], axis=0)
    overall = _contrast("", columns, strata, drawn, tail, plain, sign)
    judged = [part for part in parts if part.difference is not None]
    worst = max(judged, key=lambda part: sign * (part.difference or 0.0), default=None)
    return PairedComparison(overall, parts, worst.name if worst else None, better, seed, resamples, confidence)


def _resample(columns: Columns, resamples: int, seed: int, number: int) -> Floats | None:
    """Unscaled sums of every resample: numerator and base of A and of B, and B's numerator less A's."""
    n = columns[0].size
    if n < 2:
        return None
    bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(number,)))
    g = min(n, GROUPS)
    dealt = np.argsort(bits.random_raw(n), kind="stable") if n > g else slice(None)
    first = np.arange(g) * n // g
    units = np.empty((g, 8), np.int64)
    for i, column in enumerate(columns):
        values = column[dealt]
        # In halves, whose sums fit 64 bits for any fleet.
        units[:, i] = np.add.reduceat(values >> 32, first)
        units[:, 4 + i] = np.add.reduceat(values & _LOW, first)
    sums = np.empty((resamples, 8), np.int64)
    rows = max(1, _BLOCK // g)
    for start in range(0, resamples, rows):
        block = sums[start : start + rows]
        many = len(block) * (g - 1)
        raw = bits.random_raw(many // 2 + 1)
        halves = np.stack((raw & np.uint64(_LOW), raw >> np.uint64(32)), axis=1).reshape(-1)[:many]
        picked = (halves * np.uint64(g) >> np.uint64(32)).astype(np.int64).reshape(-1, g - 1)
        picked += np.arange(len(block))[:, None] * g
        block[:] = np.bincount(picked.reshape(-1), minlength=len(block) * g).reshape(-1, g) @ units
    high, low = sums[:, :4].T, sums[:, 4:].T
    high, low = np.vstack((high, high[2] - high[0])), np.vstack((low, low[2] - low[0]))
    return (high * 2.0**32 + low).astype(np.float64)


def _contrast(
    name: str, columns: Columns, strata: Sequence[Columns], drawn: Floats | None, tail: int, plain: bool, sign: int
) -> Contrast:
    """Everything about some devices, from their values and from the sums of their resamples."""
    total_a, base_a, total_b, base_b = totals = [_total(column) for column in columns]
    across = total_b * base_a - total_a * base_b
    defined = (columns[1] > 0) & (columns[3] > 0)
    num_a, den_a, num_b, den_b = (column[defined] for column in columns)
    left, right = _product(num_b, den_a), _product(num_a, den_b)
    less, more = int((left < right).sum()), int((left > right).sum())
    own_a, own_b = (
        num if plain else _millionths(num[den > 0], den[den > 0]) for num, den in (columns[:2], columns[2:])
    )
    change = num_b - num_a if plain else _millionths(num_b, den_b) - _millionths(num_a, den_a)
    difference_paired, relative_paired = _intervals(drawn, tail)
    if drawn is not None:
        other = np.roll(drawn[2:4], -1, axis=1)
        drawn = np.vstack((drawn[:2], other, other[0] - drawn[0]))
    difference_unpaired, relative_unpaired = _intervals(drawn, tail)
    return Contrast(
        name=name,
        devices=columns[0].size,
        total_a=total_a,
        total_b=total_b,
        base_a=base_a,
        base_b=base_b,
        difference=across / (base_a * base_b) if base_a and base_b else None,
        relative=across / (total_a * base_b) if total_a > 0 and base_a and base_b else None,
        difference_paired=difference_paired,
        relative_paired=relative_paired,
        difference_unpaired=difference_unpaired,
        relative_unpaired=relative_unpaired,
        gain=pairing_gain(strata, totals),
        better=less if sign > 0 else more,
        worse=more if sign > 0 else less,
        equal=num_a.size - less - more,
        undefined=columns[0].size - num_a.size,
        quantiles_a=quantiles(own_a),
        quantiles_b=quantiles(own_b),
        quantiles_difference=quantiles(change),
    )


def _intervals(drawn: Floats | None, tail: int) -> tuple[Interval | None, Interval | None]:
    """Intervals of the difference and of the relative difference of levels."""
    if drawn is None:
        return None, None
    num_a, base_a, num_b, base_b, change = drawn
    with np.errstate(divide="ignore", invalid="ignore"):
        level = num_a / base_a
        difference = np.where(base_a == base_b, change / base_a, num_b / base_b - level)
        relative = np.where(level > 0, difference / level, np.nan)
    return _percentiles(difference, tail), _percentiles(relative, tail)


def _percentiles(values: Floats, tail: int) -> Interval | None:
    """Interval that leaves `tail` - 1 values out at each end; None if one is undefined."""
    ends = np.sort(values)[[tail - 1, -tail]]
    return Interval(*ends.tolist()) if np.isfinite(values).all() else None


def _total(values: Ints) -> int:
    """Exact sum, of any size."""
    return (int((values >> 32).sum()) << 32) + int((values & _LOW).sum())


def _product(x: Ints, y: Ints) -> npt.NDArray[Any]:
    """Exact products: in int64 if they fit, else in Python's integers."""
    most = int(np.abs(x).max(initial=0)) * int(np.abs(y).max(initial=0))
    return np.multiply(x, y, dtype=np.int64 if most < 1 << 63 else object)


def _millionths(numerators: Ints, bases: Ints) -> Ints:
    """Every device's value in millionths, rounded down."""
    quotients = _product(numerators, np.full(1, PER_MILLION)) // bases
    if np.abs(quotients).max(initial=0) > _MOST:
        raise ValueError("a device's numerator is more than 2 ** 42 times its base")
    return quotients.astype(np.int64)


def _integers(name: str, values: npt.ArrayLike, n: int, least: int = -_MOST, most: int = _MOST) -> Ints:
    """The values as int64, if they are integers, one per device, and in range."""
    given = np.asarray(values)
    if given.shape != (n,):
        raise ValueError(f"{name} has shape {given.shape}; expected one value for each of {n} devices")
    if given.size and given.dtype.kind not in "iu":
        raise ValueError(f"{name} has type {given.dtype}; expected integers")
    if given.size and not least <= int(given.min()) <= int(given.max()) <= most:
        raise ValueError(f"{name} holds {given.min()} to {given.max()}; allowed are {least} to {most}")
    return given.astype(np.int64)


def _codes(classes: npt.ArrayLike | None, names: Sequence[str] | None, n: int) -> tuple[Ints, list[str]]:
    """Number of every device's class, and the classes' names; no names without classes."""
    if classes is None:
        if names is not None:
            raise ValueError("names without classes; expected the number of every device's class")
        return np.zeros(n, np.int64), []
    if names is not None:
        return _integers("classes", classes, n, least=0, most=len(names) - 1), list(names)
    given = np.asarray(classes)
    if given.shape != (n,):
        raise ValueError(f"classes has shape {given.shape}; expected one label for each of {n} devices")
    labels, codes = np.unique(given, return_inverse=True)
    return codes.astype(np.int64), [str(label) for label in labels]
