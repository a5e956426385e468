"""`fleetswap run`: simulate a fleet and write its run directory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .work import Work, backend_options, directory_options

if TYPE_CHECKING:
    from ..execution.question import Question


@click.command()
@click.argument("scenario", default="phones")
@click.option("--devices", type=int, help="Devices of the fleet.  [default: the scenario's own]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@backend_options
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Change a parameter; may be repeated.")
@directory_options("Run directory, a path or s3://...  [default: runs/SCENARIO-TIME]")
@click.option("--check", is_flag=True, help="Recount every device after every step (slow).")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def run(scenario: str, devices: int | None, seed: int, settings: tuple[str, ...], check: bool, **options: Any) -> None:
    """Simulate a fleet and write its run directory.

    SCENARIO is a built-in name or a .toml file. phones, the default, is a fleet of phones for a day; low-ram, thrash
    and uptime-week are others (`fleetswap show NAME`). allocator-test is the test program of the patch, with large
    swap-in off and on; breakeven asks when large compression blocks pay. Parameters are changed with --set, for
    instance --set policy.large_swapin=off, or --set folio_kib=32 for the allocator test.
    """
    from ..conformance.published import PATCH_TABLES
    from ..execution.run import ask_run
    from ..report.tables import MIN_WIDTH, run_tables
    from ..scenario.experiments import is_posted
    from ..scenario.kinds import load_any_scenario

    work = Work(**options)

    def ask() -> Question:
        return ask_run(load_any_scenario(scenario, settings, devices, seed), check)

    with _failing():
        folder, summary = work.answer("run", f"{Path(scenario).stem}-", ask)
    files = "manifest.json, devices.parquet, series.parquet, summary.json, report.html"
    posted = PATCH_TABLES if is_posted(summary["scenario"]) else {}
    work.tell({"run_directory": folder, **summary}, lambda told: run_tables(told, posted), MIN_WIDTH, files)


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    """End with exit code 1 if a recount differs."""
    from ..console import Console, Text
    from ..fleet.shard import BrokenDeviceError

    try:
        yield
    except BrokenDeviceError as error:
        Console(stderr=True).print(Text.assemble(("FAIL", "bold red"), f" {error}"))
        raise click.exceptions.Exit(1) from None
