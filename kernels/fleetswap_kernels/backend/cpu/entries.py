"""CPU entry points: loops over devices that a thread runs on its share of a fleet."""

from __future__ import annotations

from typing import Any

from ...compile.decorators import entry
from ...compile.views import device_at, model_at
from ...device.access import counter_value
from ...device.engine.interpreter import run_program
from ...device.engine.setup import setup_device
from ...device.figures.figures import (
    METRIC_BASE, METRIC_PART, METRIC_WORDS, PARTS, FoldMode, fold_device, value_of_metric,
)  # fmt: skip
from ...device.figures.log_bin import BINS, LAST_BIN, bin_number
from ...device.figures.price import PRICE_WORDS
from ...layout.counters import N_COUNTERS
from ..tally import (
    BASE_HIGH, BASE_LOW, DEVICES, GREATEST, HIGH, LEAST, LOW, N_FACTS, TOP_HIGH, TOP_LOW,
)  # fmt: skip


@entry
def init_devices(arena: Any, base: Any, models: Any, ids: Any, first: int, end: int, header_content: int) -> None:
    """Set up the devices `first` to `end` - 1 of an arena.

    Parameters
    ----------
    arena, base, models : arrays
        Records of all devices, where each starts (and the last one ends), the one content model.
    ids : int64 array of shape (devices,)
        Number of each device in the whole fleet.
    first, end : int
        First device, and the one behind the last.
    header_content : int
        Content of the swap header page (`setup_device`).
    """
    for d in range(first, end):
        setup_device(device_at(arena, base, d), model_at(models), header_content, ids[d])


@entry
def run_devices(
    arena: Any, base: Any, models: Any, first: int, end: int, program: Any, marks: Any, counted: Any
) -> None:
    """Run the parts of a program that lie between marks on the devices `first` to `end` - 1 of an arena.

    A device does all parts before the next one begins, while its memory is in the processor's caches.

    Parameters
    ----------
    arena, base, models : arrays
        Records of all devices, where each starts (and the last one ends), the one content model.
    first, end : int
        First device, and the one behind the last.
    program : uint32 array of shape (operations, operations.OP_WORDS)
    marks : int64 array of shape (parts + 1,)
        Positions in the program.
    counted : int64 array of shape (parts or fewer, devices, counters.N_COUNTERS)
        Filled with the counters of a device after each part.
    """
    for d in range(first, end):
        dev = device_at(arena, base, d)
        for part in range(len(marks) - 1):
            run_program(dev, model_at(models), program, marks[part], marks[part + 1])
            if part < len(counted):
                for i in range(N_COUNTERS):
                    counted[part, d, i] = counter_value(dev, i)


@entry
def fold_devices(
    counted: Any,
    groups: Any,
    columns: Any,
    prices: Any,
    metrics: Any,
    since: Any,
    change: Any,
    sums: Any,
    parts: Any,
    bins: Any,
    facts: Any,
    totals: Any,
    mode: int,
    steps: int,
) -> None:
    """Measure devices by what they counted and add them to a tally; all arrays are flat (`tally.Folding`).

    Parameters
    ----------
    counted : int64 array of shape (devices, counters.N_COUNTERS)
        Counters as they are now.
    groups, columns, prices, metrics : int64 arrays
        Those of the `Folding`.
    since, change : int64 arrays of the shape of `counted`
        Counters when they were last taken, and what changed.
    sums, parts : int64 arrays of shape (devices, figures.PARTS)
        Sums of states over the steps; price and figures.
    bins, facts, totals : int64 arrays
        Those of the `Tally`.
    mode : int
        A `FoldMode`.
    steps : int
        Steps of the whole run; for WHOLE only.
    """
    n_metrics = len(metrics) // METRIC_WORDS
    for d in range(len(groups)):
        group = groups[d]
        p = group * PRICE_WORDS
        at = d * N_COUNTERS
        fold_device(counted, at, d, columns, prices, p, metrics, n_metrics, since, change, sums, parts, mode, steps)
        if mode == FoldMode.RESUME:
            continue
        for i in range(N_COUNTERS):
            totals[group * N_COUNTERS + i] += change[d * N_COUNTERS + i]
        for m in range(n_metrics):
            row = group * n_metrics + m
            o = row * N_FACTS
            top = parts[d * PARTS + metrics[METRIC_WORDS * m + METRIC_PART]]
            facts[o + TOP_HIGH] += top >> 32
            facts[o + TOP_LOW] += top & 0xFFFFFFFF
            base_part = metrics[METRIC_WORDS * m + METRIC_BASE]
            if base_part >= 0:
                bottom = parts[d * PARTS + base_part]
                facts[o + BASE_HIGH] += bottom >> 32
                facts[o + BASE_LOW] += bottom & 0xFFFFFFFF
                if bottom <= 0:
                    continue
            value = value_of_metric(metrics, m, parts, d * PARTS)
            facts[o + DEVICES] += 1
            facts[o + HIGH] += value >> 32
            facts[o + LOW] += value & 0xFFFFFFFF
            facts[o + LEAST] = min(facts[o + LEAST], value)
            facts[o + GREATEST] = max(facts[o + GREATEST], value)
            bins[row * BINS + LAST_BIN + bin_number(value)] += 1
