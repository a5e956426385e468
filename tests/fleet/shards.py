"""Shards of a fleet simulated one after the other, without a job."""

from __future__ import annotations

from collections.abc import Iterator

from fleetswap.fleet.pieces import Fit, Progress, Shard, no_progress
from fleetswap.fleet.shard import FleetShard, run_shard
from fleetswap.workload.laid_out import LaidOut
from fleetswap_kernels.backend.contract import Backend


def run_shards(
    laid_out: LaidOut,
    shards: list[Shard],
    backend: Backend,
    progress: Progress = no_progress,
    check: bool = False,
) -> Iterator[FleetShard]:
    """In pieces that fit memory; steps of a piece that did not fit are taken back from the progress."""
    fit = Fit()
    for shard in shards:
        yield from fit.run(shard, lambda piece, count: run_shard(laid_out, piece, backend, count, check), progress)
