"""Folding: what devices counted becomes their metrics, and those become sums and histograms by class."""

from typing import NamedTuple

import numpy as np

from ...compile.atomics import add, keep_greatest, keep_least
from ...compile.decorators import device
from ...layout.batch_work import Array, empty
from ...layout.counters import N_COUNTERS
from .figures import (
    COLUMN_FACTOR, COLUMN_STATE, COLUMN_WORDS, METRIC_BASE, METRIC_PART, METRIC_PER, METRIC_STATE, METRIC_WORDS, PARTS,
    FoldMode, fill_figures,
)  # fmt: skip
from .log_bin import BINS, LAST_BIN, bin_number
from .price import PRICE_WORDS, price_row

N_FACTS = 9
TOP_HIGH, TOP_LOW, BASE_HIGH, BASE_LOW, DEVICES, HIGH, LOW, LEAST, GREATEST = range(N_FACTS)
"""Of a metric: sums of its numerators and denominators over all devices; then, over those that have a value, their
number, the sum of the values, and the extremes. Sums of high and of low 32 bits apart cannot overflow."""


class FoldWork(NamedTuple):
    """Devices to be folded, one a unit of work; all arrays are flat.

    Counters of device d stand in `quads` from ``base[d] * stride + first`` on. `groups`, `columns`, `prices` and
    `metrics` are those of a `tally.Folding`, `bins`, `facts` and `totals` those of a `tally.Tally`. `since` and
    `change`, `N_COUNTERS` a device: counters when they were last taken, and what changed; `sums` and `parts`, `PARTS`
    a device: sums of states over the steps, and price and figures. `mode` is a `FoldMode`, `steps` those of the whole
    run, for WHOLE only.
    """

    quads: Array = empty(np.int64)
    base: Array = empty(np.int64)
    groups: Array = empty(np.int64)
    columns: Array = empty(np.int64)
    prices: Array = empty(np.int64)
    metrics: Array = empty(np.int64)
    since: Array = empty(np.int64)
    change: Array = empty(np.int64)
    sums: Array = empty(np.int64)
    parts: Array = empty(np.int64)
    bins: Array = empty(np.int64)
    facts: Array = empty(np.int64)
    totals: Array = empty(np.int64)
    stride: int = 0
    first: int = 0
    mode: int = 0
    steps: int = 0


@device
def take_change(d, work):
    """What the counters of a device changed by since the last time, and states as they are, scaled to a real device."""
    at = work.base[d] * work.stride + work.first
    o = d * N_COUNTERS
    for i in range(N_COUNTERS):
        now = work.quads[at + i]
        value = now
        if work.mode != FoldMode.WHOLE:
            if work.mode != FoldMode.FIRST and work.columns[COLUMN_WORDS * i + COLUMN_STATE] == 0:
                value = now - work.since[o + i]
            work.since[o + i] = now
        work.change[o + i] = value * work.columns[COLUMN_WORDS * i + COLUMN_FACTOR]


@device
def mean_states(d, work):
    """Add states to their sums over the steps; of a whole run take the means, of a share the sums of its parts."""
    q = d * PARTS
    for o in range(0, work.metrics.size, METRIC_WORDS):
        if work.metrics[o + METRIC_STATE]:
            base = work.metrics[o + METRIC_BASE]
            for k in range(METRIC_PART, METRIC_BASE + 1):
                at = q + work.metrics[o + k]
                if at >= q:
                    if work.mode == FoldMode.WHOLE:
                        work.parts[at] = work.sums[at] // work.steps if base < 0 else work.sums[at]
                    else:
                        work.sums[at] += work.parts[at]


@device
def fold_metric(d, m, row, work):
    """Add a metric of a device to a row of the tally: a part, or a share of another one, which may have no value."""
    metric = m * METRIC_WORDS
    o = row * N_FACTS
    value = work.parts[d * PARTS + work.metrics[metric + METRIC_PART]]
    add(work.facts, o + TOP_HIGH, value >> 32)
    add(work.facts, o + TOP_LOW, value & 0xFFFFFFFF)
    base_part = work.metrics[metric + METRIC_BASE]
    if base_part >= 0:
        base = work.parts[d * PARTS + base_part]
        add(work.facts, o + BASE_HIGH, base >> 32)
        add(work.facts, o + BASE_LOW, base & 0xFFFFFFFF)
        if base <= 0:
            return
        value = value * work.metrics[metric + METRIC_PER] // base
    add(work.facts, o + DEVICES, 1)
    add(work.facts, o + HIGH, value >> 32)
    add(work.facts, o + LOW, value & 0xFFFFFFFF)
    keep_least(work.facts, o + LEAST, value)
    keep_greatest(work.facts, o + GREATEST, value)
    add(work.bins, row * BINS + LAST_BIN + bin_number(value), 1)


@device
def fold_devices(unit, part, work):
    """Measure a device by what it counted, and add it to the tally, of which there is one copy."""
    group = work.groups[unit]
    o = unit * N_COUNTERS
    q = unit * PARTS
    take_change(unit, work)
    if work.mode == FoldMode.FIRST:
        for i in range(PARTS):
            work.sums[q + i] = 0
    if work.mode == FoldMode.RESUME:
        return
    price_row(work.change, o, work.prices, group * PRICE_WORDS, work.parts, q)
    fill_figures(work.change, o, work.parts, q)
    mean_states(unit, work)
    for i in range(N_COUNTERS):
        add(work.totals, group * N_COUNTERS + i, work.change[o + i])
    n_metrics = work.metrics.size // METRIC_WORDS
    for m in range(n_metrics):
        fold_metric(unit, m, group * n_metrics + m, work)
