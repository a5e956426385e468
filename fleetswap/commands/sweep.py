"""`fleetswap sweep`: a grid of policies on the same devices."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .backend import backend_options, opened
from .compare import WIDTH, NewFolder, shown_change, shown_interval, shown_value
from .progress import prepare, progress_bar

if TYPE_CHECKING:
    from rich.table import Table


@click.command()
@click.argument("scenario")
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
@click.option("--out", type=click.Path(path_type=Path), help="Result folder  [default: runs/sweep-SCENARIO-TIME]")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def sweep(
    scenario: str,
    over: tuple[str, ...],
    devices: int | None,
    seed: int,
    backend: str,
    threads: int | None,
    shards: int | None,
    settings: tuple[str, ...],
    metrics: str | None,
    pareto: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Simulate a grid of policies on the same devices, with the same random numbers.

    Every combination of the values is a point; each is compared, device by device, with the first one. Commas in
    brackets and quotes separate nothing. For instance: fleetswap sweep phones --over policy.large_swapin=off,16K,on
    --over device_class.phone-8g.block=4K,64K
    """
    from rich.console import Console

    from ..comparison import rows_table
    from ..errors import InputError
    from ..fleet import warm_up
    from ..scenario import BUILT_IN
    from ..sweep import DEFAULT_METRICS, DEFAULT_PARETO, check_metrics, grid, parse_axis
    from ..sweep import sweep as run_sweep
    from ..workload.phones import plan as lay_out

    started = datetime.now(UTC)
    if scenario in BUILT_IN:
        raise InputError(f"{scenario}: is no fleet; allowed are fleets and .toml files")
    chosen = {
        option: tuple(name.strip() for name in given.split(",")) if given is not None else default
        for option, given, default in (("--metrics", metrics, DEFAULT_METRICS), ("--pareto", pareto, DEFAULT_PARETO))
    }
    for option, names in chosen.items():
        check_metrics(option, names)
    points = grid(scenario, [parse_axis(one) for one in over], settings, devices, seed)
    err = Console(stderr=True)
    for warning in dict.fromkeys(w for point in points for w in point.scenario.warnings):
        err.print(f"warning: {warning}")
    fleet = points[0].scenario
    where = opened(backend, threads, err)
    facts: dict[str, Any] = {"seed": seed, "started": started.isoformat()}
    folder = out or Path("runs") / f"sweep-{Path(scenario).stem}-{started:%Y%m%d-%H%M%S}"
    err.print(f"{fleet.name}: {len(points):,} points of {fleet.devices:,} devices, seed {seed}")
    with NewFolder(folder, "--out ") as new:
        compile_s = prepare(err, lambda: warm_up(lay_out(fleet), where.backend))
        at = time.perf_counter()
        with progress_bar(err) as progress:
            total = len(points) * fleet.devices * fleet.days * fleet.steps_per_day
            task = progress.add_task("simulating", total=total)
            found = run_sweep(
                points,
                chosen["--metrics"],
                chosen["--pareto"],
                backend=where.backend,
                shards=shards or 0,
                progress=lambda steps: progress.advance(task, steps),
            )
        told = found.to_dict()
        seconds = time.perf_counter() - at
        facts["timings_s"] = {"compile": compile_s, "sweep": seconds}
        facts |= {"over": list(over), "points": told["points"], "scenario": told["scenario"]}
        contents = {"summary.json": json.dumps(told, indent=1) + "\n", "sweep.parquet": rows_table(told["rows"])}
        new.finish(contents, {"kind": "sweep", **facts, **where.facts()})
    if as_json:
        click.echo(json.dumps({"folder": str(folder), **told}))
    else:
        console = Console()
        console.width = max(console.width, WIDTH)
        for table in sweep_tables(told):
            console.print(table)
    err.print(f"swept in {seconds:.1f} s; written to {folder} ({', '.join(sorted(contents))}, manifest.json)")


def sweep_tables(told: dict[str, Any]) -> list[Table]:
    """A table for each metric, with the points of the Pareto front marked."""
    from rich import box
    from rich.table import Table

    from ..metrics import METRICS

    tables = []
    keys = list(told["points"][0]["settings"])
    front = ", ".join(told["pareto"])
    for metric in told["metrics"]:
        known = METRICS[metric]
        table = Table(title=f"{metric}: {known.text}", title_justify="left", box=box.SIMPLE_HEAD)
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
                change = ("", "", "") if first else (shown_change(row["relative"]), shown_interval(row), row["better"])
                words = (str(row[key]) for key in keys)
                table.add_row(*words, *figures, *change, "*" if row["front"] else "")
        tables.append(table)
    tables[-1].caption = f"*: on the Pareto front of {front}"
    return tables
