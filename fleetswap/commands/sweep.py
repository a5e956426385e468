"""`fleetswap sweep`: a grid of policies on the same devices."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .backend import backend_options
from .compare import WIDTH, shown_change, shown_interval, shown_value
from .crew import cluster_options, refuse_existing, refuse_with_resume, workforce_of

if TYPE_CHECKING:
    from ..console import Console, Table


@click.command()
@click.argument("scenario", required=False)
@click.option(
    "--over", metavar="KEY=V1,V2,...", multiple=True, help="A key and its values; repeated for every key of the grid."
)
@click.option("--devices", type=int, help="Devices of the fleet.  [default: the scenario's own]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@backend_options
@click.option("--shards", type=click.IntRange(1), help="Pieces the fleet is cut into.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Change a parameter of all points.")
@click.option("--metrics", metavar="M1,M2,...", help="Metrics to report.  [default: seven that tell most]")
@click.option(
    "--pareto", metavar="M1,M2,...", help="Metrics of the Pareto front.  [default: stall_ns,memory_saved_bytes]"
)
@click.option("--out", metavar="DIR", help="Result folder, a path or s3://...  [default: runs/sweep-SCENARIO-TIME]")
@cluster_options
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def sweep(
    scenario: str | None,
    over: tuple[str, ...],
    devices: int | None,
    seed: int,
    backend: str,
    threads: int | None,
    shards: int | None,
    settings: tuple[str, ...],
    metrics: str | None,
    pareto: str | None,
    out: str | None,
    resume: str | None,
    cluster: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Simulate a grid of policies on the same devices, with the same random numbers.

    Every combination of the values is a point; each is compared, device by device, with the first one. Commas in
    brackets and quotes separate nothing. For instance: fleetswap sweep phones --over policy.large_swapin=off,on
    --over device_class.phone-8g.block=4K,64K
    """
    from ..analysis.sweep import DEFAULT_METRICS, DEFAULT_PARETO, parse_axis
    from ..console import Console
    from ..errors import InputError
    from ..execution.display import Display
    from ..execution.sweep import ask_sweep
    from ..execution.work import answer_question, resume_job
    from ..scenario.experiments import BUILT_IN

    err = Console(stderr=True)
    workforce, display = workforce_of(cluster, workers, backend, threads), Display(err)
    if resume:
        refuse_with_resume(("scenario", "over", "devices", "seed", "shards", "settings", "metrics", "pareto", "out"))
        _show(resume, dict(resume_job(resume, "sweep", workforce, display).summary), as_json, err)
        return
    if scenario is None:
        raise InputError("SCENARIO is missing: allowed are fleets and .toml files, or --resume DIR")
    if scenario in BUILT_IN:
        raise InputError(f"{scenario}: is no fleet; allowed are fleets and .toml files")
    names = [
        tuple(name.strip() for name in given.split(",")) if given is not None else default
        for given, default in ((metrics, DEFAULT_METRICS), (pareto, DEFAULT_PARETO))
    ]
    question = ask_sweep(scenario, [parse_axis(text) for text in over], settings, devices, seed, *names)
    folder = out or str(Path("runs") / f"sweep-{Path(scenario).stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    refuse_existing(folder)
    _show(folder, dict(answer_question(question, folder, workforce, display, shards or 0).summary), as_json, err)


def _show(folder: str, summary: dict[str, Any], as_json: bool, err: Console) -> None:
    """Print the summary of a finished sweep on stdout, and where it is."""
    from ..console import Console

    if as_json:
        click.echo(json.dumps({"folder": folder, **summary}))
    else:
        console = Console(columns=WIDTH)
        for table in sweep_tables(summary):
            console.print(table)
    err.print(f"written to {folder} (summary.json, sweep.parquet, manifest.json)")


def sweep_tables(told: dict[str, Any]) -> list[Table]:
    """A table for each metric, with the points of the Pareto front marked."""
    from ..console import Table
    from ..workload.metrics import METRICS

    tables = []
    keys = list(told["points"][0]["settings"])
    front = ", ".join(told["pareto"])
    alike = {point["point"]: point["alike"] for point in told["points"]}
    for metric in told["metrics"]:
        known = METRICS[metric]
        table = Table(title=f"{metric}: {known.text}")
        for key in keys:
            table.add_column(key)
        for name in ("fleet", "median", "95 %", "change", "interval"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("than the first", no_wrap=True)
        table.add_column("front")
        for row in told["rows"]:
            if row["metric"] == metric and row["class"] == "all":
                figures = (shown_value(metric, row[name]) for name in ("value", "p50", "p95"))
                first = row["point"] == 0
                better = "the same" if alike[row["point"]] == 0 else row["better"]
                change = ("", "", "") if first else (shown_change(row["relative"]), shown_interval(row), better)
                words = (str(row[key]) for key in keys)
                table.add_row(*words, *figures, *change, "*" if row["front"] else "")
        tables.append(table)
    same = [f"row {i + 1} resolves to the same scenario as row {k + 1}" for i, k in alike.items() if k is not None]
    tables[-1].caption = "\n".join((f"*: on the Pareto front of {front}", *same))
    return tables
