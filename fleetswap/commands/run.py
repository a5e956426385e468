"""`fleetswap run`: simulate a fleet under both policies and write its run directory."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("scenario", default="allocator-test")
@click.option("--devices", type=int, default=1000, show_default=True, help="Devices of the fleet.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--backend", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="CPU threads  [default: all cores]")
@click.option("--shards", type=click.IntRange(1), help="Pieces the fleet is cut into  [default: what memory allows]")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Change a parameter; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory  [default: runs/SCENARIO-TIME]")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def run(
    scenario: str,
    devices: int,
    seed: int,
    backend: str,
    threads: int | None,
    shards: int | None,
    settings: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Simulate a fleet with large swap-in off and on, with the same random numbers.

    SCENARIO is a built-in name; the default is allocator-test, the test program of the patch. Its parameters are
    changed with --set, for instance --set folio_kib=32 --set aligned=true.
    """
    from rich.console import Console

    from fleetswap_kernels.arena import device_bytes

    from ..engine import plan_shards, run_shards, steps_of, warm_up
    from ..errors import InputError
    from ..report import MIN_WIDTH, run_tables
    from ..results import write_run
    from ..scenario import load_scenario
    from ..workload.allocator_test import plan

    if backend == "cuda":
        raise InputError("--backend cuda: not available in this version; allowed are auto, cpu")
    started = datetime.now(UTC)
    resolved = load_scenario(scenario, devices, seed, settings)
    folder = out or Path("runs") / f"{scenario}-{started:%Y%m%d-%H%M%S}"
    if folder.exists():
        raise InputError(f"--out {folder}: exists already; name a folder that does not")
    workers = threads or os.cpu_count() or 1
    workload = plan(resolved.test)
    pieces = plan_shards(resolved, shards or 0)
    each = device_bytes(workload.blueprint.sizes)

    err = Console(stderr=True)
    err.print(
        f"{scenario}: {devices:,} devices, {each:,} bytes each ({each / workload.pages:.1f} per page of its regions), "
        f"{len(pieces)} shard(s), {workers} thread(s), backend cpu, seed {seed}"
    )
    err.print("preparing kernels (compiled once, then kept) ...")
    compile_ns = warm_up()
    err.print(f"kernels ready after {compile_ns / 1e9:.1f} s")
    with _progress(err) as progress:
        task = progress.add_task("simulating", total=devices * steps_of(resolved))
        results = list(run_shards(resolved, pieces, workers, lambda steps: progress.advance(task, steps)))
    writing = time.perf_counter_ns()
    facts: dict[str, Any] = {
        "seed": seed,
        "backend": "cpu",
        "threads": workers,
        "device_bytes": each,
        "started": started.isoformat(),
    }
    step_ns = sum(r.step_ns for r in results)
    facts["timings_s"] = {"compile": compile_ns / 1e9, "step": step_ns / 1e9}
    summary = write_run(folder, resolved, results, workload.folio_order, facts)
    written = (time.perf_counter_ns() - writing) / 1e9

    if as_json:
        click.echo(json.dumps({"run_directory": str(folder), **summary}))
    else:
        console = Console()
        console.width = max(console.width, MIN_WIDTH)
        for table in run_tables(summary):
            console.print(table)
    err.print(
        f"simulated in {step_ns / 1e9:.1f} s, written in {written:.1f} s to {folder} "
        f"(manifest.json, devices.parquet, series.parquet, summary.json)"
    )


def _progress(console: Any) -> Any:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("device-steps"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )
