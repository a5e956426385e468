"""When large compression blocks pay: time and bytes over the success of large-folio allocation, and their crossings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from typing import Any

from fleetswap_kernels.layout.codecs import CODECS
from fleetswap_kernels.layout.pages import MIB_PAGES

from ..scenario.experiments import Breakeven
from ..workload.breakeven import VARIANTS, Variant, success_rates
from ..workload.laid_out import LaidOut
from ..workload.metrics import Ints

STATES = {"pool_bytes": "mem_used_bytes", "compr_data_size": "compressed_bytes"}
"""What is added up over the ends of swap-outs, and the metric that it is."""
CROSSED = ("stall_ns", "cpu_ns", "pool_bytes")


@dataclass(frozen=True)
class Point:
    """One success rate for one codec and size.

    Parameters
    ----------
    codec : str
    variant : Variant
    success_percent : int
        Chance that a large folio can be had, at the first fault as at swap-in.
    totals : dict of str to int
        Over the devices of a fleet and all rounds.
    """

    codec: str
    variant: Variant
    success_percent: int
    totals: dict[str, int]


def summarise_breakeven(
    laid_out: LaidOut, values: Callable[[str], Ints], by_step: Callable[[str], Ints]
) -> dict[str, Any]:
    """Totals of every point over the fleet, and the crossings.

    Parameters
    ----------
    laid_out : LaidOut
    values, by_step : callable
        Give a metric of all devices, of the whole run and of every step, as `FleetShard` has them.
    """
    scenario = laid_out.scenario
    if not isinstance(scenario, Breakeven):
        raise TypeError(f"{scenario.name} asks something else")
    points = _points_of(scenario, _totals_of(laid_out, values, by_step))
    rows = [{"codec": p.codec, **asdict(p.variant), "success_percent": p.success_percent, **p.totals} for p in points]
    return {
        **laid_out.resolved(),
        "pages": scenario.devices * scenario.rounds * scenario.memory_mib * MIB_PAGES,
        "points": rows,
        "crossings": [crossing for metric in CROSSED for crossing in crossings(points, metric)],
    }


def _totals_of(
    laid_out: LaidOut, values: Callable[[str], Ints], by_step: Callable[[str], Ints]
) -> dict[str, dict[str, int]]:
    """Totals over the devices of each class, by name and metric."""
    names = laid_out.classes
    # Devices stand in all classes, one after the other. Step 0 is mkswap, which is nobody's cost; of the others every
    # second one, from the first on, swaps out.
    columns = {
        name: values(name) - by_step(name)[:, 0] for name, metric in laid_out.metrics.items() if not metric.state
    }
    columns |= {name: by_step(metric)[:, 1::2].sum(axis=1) for name, metric in STATES.items()}
    sums = {name: column.reshape(-1, len(names)).sum(axis=0).tolist() for name, column in columns.items()}
    return {kind: {metric: sums[metric][number] for metric in sums} for number, kind in enumerate(names)}


def _points_of(scenario: Breakeven, totals: dict[str, dict[str, int]]) -> list[Point]:
    """All points; single pages need no large folio, and are the same at every rate."""
    return [
        Point(codec, variant, percent, totals[variant.class_name(codec, percent)])
        for codec, variant, percent in product(CODECS, VARIANTS, success_rates(scenario))
    ]


def crossings(points: Sequence[Point], metric: str) -> list[dict[str, Any]]:
    """Success rates from which a block size takes less than single pages of the same codec, or more.

    Returns
    -------
    list of dict
        For every codec and block size ``codec``, ``variant``, ``metric``, and ``pays``: a list of stretches
        ``[from_percent, to_percent]`` in which blocks take less. Ends between simulated rates are interpolated.
    """
    rows = []
    for codec in CODECS:
        mine = [p for p in points if p.codec == codec]
        single = {p.success_percent: p.totals[metric] for p in mine if not p.variant.block_order}
        for variant in VARIANTS[1:]:
            curve = sorted(
                (p.success_percent, p.totals[metric] - single[p.success_percent]) for p in mine if p.variant == variant
            )
            rows.append({"codec": codec, "variant": variant.name, "metric": metric, "pays": _below_zero(curve)})
    return rows


def _below_zero(curve: list[tuple[int, int]]) -> list[list[float]]:
    """Stretches in which a curve, linear between its points, lies below zero."""
    stretches: list[list[float]] = []
    for (a, before), (b, after) in pairwise(curve):
        if before >= 0 and after >= 0:
            continue
        crossing = a + (b - a) * before / (before - after) if before != after else a
        start = float(a) if before < 0 else crossing
        end = float(b) if after < 0 else crossing
        if stretches and stretches[-1][1] == start:
            stretches[-1][1] = round(end, 2)
        else:
            stretches.append([round(start, 2), round(end, 2)])
    return stretches
