"""`fleetswap run`: simulate a fleet and write its run directory."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .backend import backend_options
from .crew import cluster_options, refuse_existing, refuse_with_resume, workforce_of

if TYPE_CHECKING:
    from ..console import Console


@click.command()
@click.argument("scenario", default="phones")
@click.option("--devices", type=int, help="Devices of the fleet.  [default: the scenario's own]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@backend_options
@click.option("--shards", type=click.IntRange(1), help="Pieces the fleet is cut into.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Change a parameter; may be repeated.")
@click.option("--out", metavar="DIR", help="Run directory, a path or s3://...  [default: runs/SCENARIO-TIME]")
@cluster_options
@click.option("--check", is_flag=True, help="Recount every device after every step (slow).")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def run(
    scenario: str,
    devices: int | None,
    seed: int,
    backend: str,
    threads: int | None,
    shards: int | None,
    settings: tuple[str, ...],
    out: str | None,
    resume: str | None,
    cluster: str | None,
    workers: int | None,
    check: bool,
    as_json: bool,
) -> None:
    """Simulate a fleet and write its run directory.

    SCENARIO is a built-in name or a .toml file. phones, the default, is a fleet of phones for a day; low-ram, thrash
    and uptime-week are others (`fleetswap show NAME`). allocator-test is the test program of the patch, with large
    swap-in off and on; breakeven asks when large compression blocks pay. Parameters are changed with --set, for
    instance --set policy.large_swapin=off, or --set folio_kib=32 for the allocator test.
    """
    from ..console import Console
    from ..execution.display import Display
    from ..execution.run import ask_run
    from ..execution.work import answer_question, resume_job
    from ..scenario.kinds import load_any_scenario

    err = Console(stderr=True)
    workforce, display = workforce_of(cluster, workers, backend, threads), Display(err)
    if resume:
        refuse_with_resume(("scenario", "devices", "seed", "shards", "settings", "out", "check"))
        folder = resume
    else:
        folder = out or str(Path("runs") / f"{Path(scenario).stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}")
        question = ask_run(load_any_scenario(scenario, settings, devices, seed), check)
        refuse_existing(folder)
    with _failing(err):
        if resume:
            answer = resume_job(resume, "run", workforce, display)
        else:
            answer = answer_question(question, folder, workforce, display, shards or 0)
    _show(folder, dict(answer.summary), as_json, err)


@contextlib.contextmanager
def _failing(err: Console) -> Iterator[None]:
    """End with exit code 1 if a recount differs."""
    from ..console import Text
    from ..fleet.shard import BrokenDeviceError

    try:
        yield
    except BrokenDeviceError as error:
        err.print(Text.assemble(("FAIL", "bold red"), f" {error}"))
        raise click.exceptions.Exit(1) from None


def _show(folder: str, summary: dict[str, Any], as_json: bool, err: Console) -> None:
    """Print a summary on stdout, and where it is."""
    from ..conformance.published import PATCH_TABLES
    from ..console import Console
    from ..report.tables import MIN_WIDTH, run_tables

    if as_json:
        click.echo(json.dumps({"run_directory": folder, **summary}))
    else:
        console = Console(columns=MIN_WIDTH)
        for table in run_tables(summary, PATCH_TABLES):
            console.print(table)
    err.print(f"written to {folder} (manifest.json, devices.parquet, series.parquet, summary.json, report.html)")
