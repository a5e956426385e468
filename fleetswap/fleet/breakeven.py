"""When large compression blocks pay: time and bytes over the success of large-folio allocation, and their crossings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.arena import Arena, Blueprint
from fleetswap_kernels.backend.contract import Backend
from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout.codecs import CODECS
from fleetswap_kernels.layout.pages import PAGE_BYTES

from ..scenario.content_library import load_library
from ..scenario.cost import load_profile
from ..scenario.experiments import Breakeven
from ..workload.breakeven import VARIANTS, Variant, contents_of, plan
from .pieces import Fit, Progress, Shard
from .price import price

if TYPE_CHECKING:
    import pyarrow as pa

METRICS = ("stall_ns", "cpu_ns", "decompressed_bytes", "pool_bytes", "compr_data_size")
"""Of every device, over all rounds; bytes in the pool are those after each swap-out, added up."""


@dataclass(frozen=True)
class Point:
    """One success rate for one codec and size, over the devices of a fleet.

    Parameters
    ----------
    codec : str
    variant : Variant
    success_percent : int
        Chance that a large folio can be had, at the first fault as at swap-in.
    values : dict of str to int64 array of shape (devices,)
        By `METRICS`.
    counted : uint64 array of shape (devices, counters.N_COUNTERS)
        All counters at the end.
    """

    codec: str
    variant: Variant
    success_percent: int
    values: dict[str, npt.NDArray[np.int64]]
    counted: npt.NDArray[np.uint64]

    def total(self, metric: str) -> int:
        """Sum over the devices."""
        return int(self.values[metric].sum())


def success_rates(scenario: Breakeven) -> range:
    """Success rates that are simulated, percent."""
    return range(0, 101, scenario.step_percent)


def points_of(scenario: Breakeven) -> int:
    """Number of points."""
    return len(CODECS) * len(VARIANTS) * len(success_rates(scenario))


def run_points(scenario: Breakeven, shards: list[Shard], backend: Backend, progress: Progress) -> Iterator[Point]:
    """Simulate every point, shard after shard; single pages need no large folio and are simulated once.

    Parameters
    ----------
    scenario : Breakeven
    shards : list of Shard
        Ranges that hold all devices together.
    backend : Backend
        What the kernels run on.
    progress : Progress
        Called with the number of devices after every point.
    """
    fit = Fit()
    for codec in CODECS:
        for variant in VARIANTS:
            blueprint, program, marks = plan(scenario, codec, variant)
            single: Point | None = None
            for percent in success_rates(scenario):
                if single is None or variant.block_order:
                    kind = _with_chance(blueprint, percent)
                    simulate_piece = partial(_run, scenario, kind, program, marks, backend, variant, codec)
                    parts = [part for shard in shards for part in fit.run(shard, simulate_piece)]
                    values = {name: np.concatenate([part[0][name] for part in parts]) for name in METRICS}
                    counted = np.concatenate([part[1] for part in parts])
                    single = Point(codec, variant, percent, values, counted)
                yield replace(single, success_percent=percent)
                progress(scenario.devices)


def _with_chance(blueprint: Blueprint, percent: int) -> Blueprint:
    chance = {"verdicts": 1, "folio_chance": 1, "folio_chance_q16": (percent << 16) // 100}
    return replace(blueprint, policy={**blueprint.policy, **chance})


def _run(
    scenario: Breakeven,
    blueprint: Blueprint,
    program: npt.NDArray[np.uint32],
    marks: tuple[int, ...],
    backend: Backend,
    variant: Variant,
    codec: str,
    shard: Shard,
    progress: Progress,
) -> tuple[dict[str, npt.NDArray[np.int64]], npt.NDArray[np.uint64]]:
    """One point on a range of devices."""
    n = shard.end - shard.first
    arena = Arena([(blueprint, n)], first_id=shard.first, backend=backend)
    arena.init()
    fresh = arena.counters()
    pool = np.zeros(n, dtype=np.int64)
    compressed = np.zeros(n, dtype=np.int64)
    first = 0
    for half, mark in enumerate(marks):
        arena.run(program, first, mark, progress)
        first = mark
        if half % 2 == 0:
            now = arena.counters().astype(np.int64)
            pool += now[:, counters.POOL_PAGES] * PAGE_BYTES
            compressed += now[:, counters.COMPR_DATA_SIZE]
    counted = arena.counters()
    library, _ = contents_of(scenario.content)
    names = load_library(library).names
    # What mkswap did is nobody's cost.
    events = counted.astype(np.int64) - fresh.astype(np.int64)
    paid = price(events, load_profile(scenario.cost), codec, variant.block_order, names)
    values = {
        "stall_ns": paid.stall_ns,
        "cpu_ns": paid.cpu_ns,
        "decompressed_bytes": paid.decompressed_bytes,
        "pool_bytes": pool,
        "compr_data_size": compressed,
    }
    return values, counted


def crossings(points: list[Point], metric: str) -> list[dict[str, Any]]:
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
        single = {p.success_percent: p.total(metric) for p in mine if not p.variant.block_order}
        for variant in VARIANTS[1:]:
            curve = sorted(
                (p.success_percent, p.total(metric) - single[p.success_percent]) for p in mine if p.variant == variant
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


def summarise(scenario: Breakeven, points: list[Point]) -> dict[str, Any]:
    """Totals of every point over the fleet, and the crossings."""
    rows = [
        {
            "codec": p.codec,
            "block_kib": p.variant.block_kib,
            "fallback": p.variant.fallback,
            "success_percent": p.success_percent,
            **{metric: p.total(metric) for metric in METRICS},
        }
        for p in points
    ]
    crossed = [c for metric in ("stall_ns", "cpu_ns", "pool_bytes") for c in crossings(points, metric)]
    pages = scenario.devices * scenario.rounds * scenario.memory_mib * 256
    return {
        "scenario": scenario.resolved(),
        "digest": scenario.digest(),
        "pages": pages,
        "points": rows,
        "crossings": crossed,
    }


def devices_table(points: list[Point]) -> pa.Table:
    """One row per point and device."""
    return _table(points, lambda p, d: {m: int(p.values[m][d]) for m in METRICS} | _counted(p, d))


def _counted(point: Point, d: int) -> dict[str, int]:
    return {name: int(point.counted[d, i]) for i, name in enumerate(counters.SCALAR_NAMES) if name not in METRICS}


def _table(points: list[Point], row: Callable[[Point, int], dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    rows = [{"device": d, "class": "breakeven", **_key(p), **row(p, d)} for p in points for d in range(len(p.counted))]
    return pa.Table.from_pylist(rows)


def _key(point: Point) -> dict[str, Any]:
    return {
        "codec": point.codec,
        "block_kib": point.variant.block_kib,
        "fallback": point.variant.fallback,
        "success_percent": point.success_percent,
    }


def series_table(points: list[Point]) -> pa.Table:
    """One row per point and metric: total, and how many devices had each value."""
    import pyarrow as pa

    rows = []
    for point in points:
        for metric in METRICS:
            values, counts = np.unique(point.values[metric], return_counts=True)
            rows.append(
                {
                    "class": "breakeven",
                    **_key(point),
                    "metric": metric,
                    "devices": len(point.counted),
                    "total": point.total(metric),
                    "values": values.tolist(),
                    "counts": counts.tolist(),
                }
            )
    return pa.Table.from_pylist(rows)
