"""A run: one scenario becomes devices, series, summary and report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from ..analysis.allocator_test import summarise_allocator_test
from ..analysis.breakeven import summarise_breakeven
from ..fleet.directory import versions
from ..fleet.fleet_directory import FleetWriter, read_by_step, read_classes, read_metric, summarise
from ..fleet.shard import mean_device_bytes
from ..report.page import render_run
from ..scenario.experiments import Breakeven
from ..scenario.kinds import AnyScenario
from ..scenario.model import FleetScenario
from ..workload.laid_out import LaidOut
from ..workload.lay_out import lay_out
from .question import Answer, Question, Shards


def ask_run(scenario: AnyScenario, check: bool = False) -> Question:
    """The question what a fleet does.

    Parameters
    ----------
    scenario : AnyScenario
    check : bool
        Whether every device is recounted after every step.

    Raises
    ------
    InputError
        If a file that the scenario names cannot be used.
    """
    return Question("run", [lay_out(scenario)], {"started": datetime.now(UTC).isoformat()}, check)


def merge_run(
    fleets: Sequence[LaidOut], about: Mapping[str, Any], shards: Shards, facts: Mapping[str, Any], folder: Path
) -> tuple[Answer, dict[str, Any]]:
    """Write the files of a run (`question.Merge`).

    Parameters
    ----------
    fleets : sequence of LaidOut
        The one that was simulated.
    about : mapping
        `Question.about`: when the run was started.
    shards : iterable of (int, FleetShard)
        In the order of devices, each with index 0.
    facts : mapping
        How the work was done (backend, timings); goes into the manifest.
    folder : Path
        Where the files are written; it exists.
    """
    fleet = fleets[0]
    writer = FleetWriter(folder, fleet)
    started = time.perf_counter()
    writer.add_all(shard for _, shard in shards)
    timings = {"step": writer.step_ns / 1e9, "merge": time.perf_counter() - started}
    writer.finish()
    summary = _summarise(fleet, writer)
    page = render_run({**summary, "versions": versions(), "backend": str(facts.get("backend", "cpu"))})
    (folder / "report.html").write_text(page, encoding="utf-8")
    manifest = {
        "scenario": summary["scenario"],
        "scenario_hash": summary["digest"],
        **about,
        "seed": fleet.scenario.seed,
        "device_bytes": mean_device_bytes(fleet),
        "page_scale": fleet.page_scale,
        **facts,
        "timings_s": timings,
    }
    return Answer(summary), manifest


def _summarise(fleet: LaidOut, writer: FleetWriter) -> dict[str, Any]:
    """Content of summary.json: what is asked of each kind of scenario."""
    path = writer.devices_path
    values, by_step = partial(read_metric, path), partial(read_by_step, path)
    if isinstance(fleet.scenario, FleetScenario):
        return summarise(fleet.scenario, writer.totals, read_classes(path, fleet.classes), values)
    if isinstance(fleet.scenario, Breakeven):
        return summarise_breakeven(fleet, values, by_step)
    return summarise_allocator_test(fleet, writer.totals.cells, by_step)
