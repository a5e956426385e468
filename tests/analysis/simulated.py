"""Fleets simulated side by side in this process, by any backend: what a job yields, without a job."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fleetswap.analysis.comparison import Comparison, Source
from fleetswap.execution.comparison import ask_comparison, merge_comparison
from fleetswap.fleet.pieces import Progress, cut, no_progress
from fleetswap.fleet.shard import FleetShard, run_shard
from fleetswap.scenario.model import FleetScenario
from fleetswap.workload.laid_out import LaidOut
from fleetswap.workload.lay_out import lay_out
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.contract import Backend


def simulate(
    scenarios: Sequence[FleetScenario], backend: Backend = ONE_THREAD, shards: int = 1
) -> Iterator[tuple[int, FleetShard]]:
    """Shards of the same devices under one policy after the other, then of the next ones."""
    return simulate_fleets([lay_out(scenario) for scenario in scenarios], backend, shards)


def simulate_fleets(
    fleets: Sequence[LaidOut],
    backend: Backend = ONE_THREAD,
    shards: int = 1,
    progress: Progress = no_progress,
) -> Iterator[tuple[int, FleetShard]]:
    for shard in cut(fleets[0].devices, shards) if fleets else ():
        for number, fleet in enumerate(fleets):
            yield number, run_shard(fleet, shard, backend, progress)


def compare(
    a: Source,
    b: Source,
    reference: FleetScenario | None = None,
    names: tuple[str, str] | None = None,
    backend: Backend = ONE_THREAD,
    **options: Any,
) -> Comparison:
    """What is asked and merged as a command does it."""
    question = ask_comparison(a, b, reference, names)
    shards = simulate_fleets(question.fleets, backend, **options)
    with tempfile.TemporaryDirectory() as folder:
        answer, _ = merge_comparison(question.fleets, question.about, shards, {"backend": backend.name}, Path(folder))
    found: Comparison = answer.result
    return found
