"""A sweep: every point of a grid of policies on the same devices, compared with the first one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..analysis.comparison import rows_table
from ..analysis.sweep import DEFAULT_METRICS, DEFAULT_PARETO, Axis, Point, check_metrics, grid, sweep
from ..scenario.model import FleetScenario
from ..workload.laid_out import LaidOut
from ..workload.lay_out import lay_out
from .question import Answer, Question, Shards


def ask_sweep(
    name_or_path: str,
    axes: Sequence[Axis],
    settings: Sequence[str] = (),
    devices: int | None = None,
    seed: int = 0,
    metrics: Sequence[str] = DEFAULT_METRICS,
    pareto: Sequence[str] = DEFAULT_PARETO,
) -> Question:
    """The question which point of a grid is best.

    Parameters
    ----------
    name_or_path : str
        A built-in fleet, or a .toml file.
    axes : sequence of Axis
    settings : sequence of str
        ``KEY=VALUE``, of all points.
    devices : int, optional
    seed : int
    metrics, pareto : sequence of str
        Metrics to report, and those of the Pareto front.

    Raises
    ------
    InputError
        With the problems of all points.
    """
    check_metrics("--metrics", metrics)
    check_metrics("--pareto", pareto)
    points = grid(name_or_path, axes, settings, devices, seed)
    about = {
        "seed": seed,
        "started": datetime.now(UTC).isoformat(),
        "over": [axis.text for axis in axes],
        "settings": [dict(point.settings) for point in points],
        "metrics": list(metrics),
        "pareto": list(pareto),
    }
    return Question("sweep", [lay_out(point.scenario) for point in points], about)


def merge_sweep(
    fleets: Sequence[LaidOut], about: Mapping[str, Any], shards: Shards, facts: Mapping[str, Any], folder: Path
) -> tuple[Answer, dict[str, Any]]:
    """Write the files of a sweep (`question.Merge`).

    Parameters
    ----------
    fleets : sequence of LaidOut
        One for each point.
    about : mapping
        `Question.about`: axes, settings of each point, metrics, those of the Pareto front.
    shards : iterable of (int, FleetShard)
        In the order of devices, each with the index of its point.
    facts : mapping
        How the work was done (backend, timings); goes into the manifest.
    folder : Path
        Where the files are written; it exists.
    """
    import pyarrow.parquet as pq

    started = time.perf_counter()
    points = [
        Point(point_settings, scenario)
        for point_settings, fleet in zip(about["settings"], fleets, strict=True)
        if isinstance(scenario := fleet.scenario, FleetScenario)
    ]
    result = sweep(points, shards, about["metrics"], about["pareto"])
    summary = result.to_dict()
    pq.write_table(rows_table(summary["rows"]), folder / "sweep.parquet", compression="zstd")
    manifest = {name: about[name] for name in ("kind", "seed", "started", "over")}
    manifest |= {"points": summary["points"], "scenario": summary["scenario"]}
    return Answer(summary, result), {**manifest, **facts, "timings_s": {"sweep": time.perf_counter() - started}}
