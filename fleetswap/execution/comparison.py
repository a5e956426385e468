"""A comparison: the same devices under two policies, simulated or read from finished runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..analysis.comparison import Collected, Source, check_sources, compare, name_of, read_side
from ..errors import InputError
from ..report.page import render_comparison
from ..scenario.model import FleetScenario
from ..workload.laid_out import LaidOut
from ..workload.lay_out import lay_out
from .question import Answer, Question, Shards


def ask_comparison(
    a: Source, b: Source, reference: Source | None = None, names: tuple[str, str] | None = None
) -> Question:
    """The question what policy B changes.

    Parameters
    ----------
    a, b : AnyScenario or Path
        A fleet to be simulated, or the directory of a finished run. Both must be the same fleet; policies, sizes and
        apps may differ.
    reference : AnyScenario, optional
        A third policy; the pages that A reads beyond it are told as extra pages.
    names : (str, str), optional
        What the user calls A and B.

    Raises
    ------
    InputError
        If the fleets differ, naming what differs, or a directory is no finished run.
    """
    called = names or (name_of(a), name_of(b))
    if isinstance(reference, Path):
        raise InputError(f"--set-reference: A is {called[0]}, a run directory; allowed is a scenario")
    sources = [source for source in (a, b, reference) if source is not None]
    check_sources(sources, [*called, "the reference"][: len(sources)])
    fleets: list[LaidOut] = []
    source_references: list[int | str] = []
    for source in sources:
        if isinstance(source, Path):
            source_references.append(str(source.absolute()))
        else:
            source_references.append(len(fleets))
            fleets.append(lay_out(source))
    about = {
        "kind": "comparison",
        "started": datetime.now(UTC).isoformat(),
        "names": list(called),
        "sources": source_references,
    }
    return Question("comparison", fleets, about)


def merge_comparison(
    fleets: Sequence[LaidOut], about: Mapping[str, Any], shards: Shards, facts: Mapping[str, Any], folder: Path
) -> tuple[Answer, dict[str, Any]]:
    """Write the files of a comparison (`question.Merge`).

    Parameters
    ----------
    fleets : sequence of LaidOut
        Those that were simulated: none of a side that is a finished run.
    about : mapping
        `Question.about`: names of the sides, and of each source its index in `fleets` or its run directory.
    shards : iterable of (int, FleetShard)
        In the order of devices, each with the index of its fleet.
    facts : mapping
        How the work was done (backend, timings); goes into the manifest.
    folder : Path
        Where the files are written; it exists.
    """
    import pyarrow.parquet as pq

    started = time.perf_counter()
    # What is read can be refused: before what was simulated is added up.
    read = {source: read_side(Path(source)) for source in about["sources"] if isinstance(source, str)}
    collected = [Collected(fleet.scenario) for fleet in fleets if isinstance(fleet.scenario, FleetScenario)]
    for number, shard in shards:
        collected[number].add(shard)
        del shard  # so that it does not wait in memory for the next one
    backend = str(facts.get("backend", ""))
    sides = [read[s] if isinstance(s, str) else collected[s].side(backend) for s in about["sources"]]
    result = compare(sides[:2], about["names"], sides[2] if len(sides) > 2 else None)
    summary = result.to_dict()
    (folder / "report.html").write_text(render_comparison(summary), encoding="utf-8")
    pq.write_table(result.table(), folder / "comparison.parquet", compression="zstd")
    asked = {
        side: {"scenario": summary[side]["scenario"], "scenario_hash": summary[side]["digest"]} for side in ("a", "b")
    }
    manifest = {**about, **asked, **facts, "timings_s": {"compare": time.perf_counter() - started}}
    return Answer(summary, result), manifest
