"""`fleetswap sweep`: a grid of policies on the same devices."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .backend import backend_options
from .compare import WIDTH, NewFolder, shown_change, shown_interval, shown_value
from .crew import cluster_options, open_crew, refuse_with_resume, work_off
from .progress import print_warnings

if TYPE_CHECKING:
    from fleetswap.job.crew import Crew
    from fleetswap.job.job import Job

    from ..console import Console, Table

KIND = "sweep"


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
    from fleetswap.job.job import claim, is_abandoned, unfinished
    from fleetswap.job.plan import plan_fleet
    from fleetswap.job.storage import Storage

    from ..analysis.sweep import DEFAULT_METRICS, DEFAULT_PARETO, check_metrics, grid, parse_axis
    from ..console import Console
    from ..errors import InputError
    from ..scenario.experiments import BUILT_IN

    err = Console(stderr=True)
    crew_for = partial(open_crew, cluster, workers, backend, threads)
    if resume:
        refuse_with_resume(("scenario", "over", "devices", "seed", "shards", "settings", "metrics", "pareto", "out"))
        with unfinished(Storage(resume), KIND) as job:
            if job is not None:
                with crew_for(job.plan.scenarios, err) as crew:
                    _complete(job, crew, err)
        _show(resume, as_json, err)
        return
    started = datetime.now(UTC)
    if scenario is None:
        raise InputError("SCENARIO is missing: allowed are fleets and .toml files, or --resume DIR")
    if scenario in BUILT_IN:
        raise InputError(f"{scenario}: is no fleet; allowed are fleets and .toml files")
    asked = {
        option: tuple(name.strip() for name in given.split(",")) if given is not None else default
        for option, given, default in (("--metrics", metrics, DEFAULT_METRICS), ("--pareto", pareto, DEFAULT_PARETO))
    }
    for option, names in asked.items():
        check_metrics(option, names)
    points = grid(scenario, [parse_axis(one) for one in over], settings, devices, seed)
    folder = out or str(Path("runs") / f"sweep-{Path(scenario).stem}-{started:%Y%m%d-%H%M%S}")
    if Path(folder).exists() and not is_abandoned(Storage(folder)):
        raise InputError(f"--out {folder}: exists already; name a folder that does not, or --resume it")
    about = {
        "kind": KIND,
        "seed": seed,
        "started": started.isoformat(),
        "over": list(over),
        "settings": [dict(point.settings) for point in points],
        "metrics": asked["--metrics"],
        "pareto": asked["--pareto"],
    }
    scenarios = [point.scenario for point in points]
    with claim(Storage(folder)) as start, crew_for(scenarios, err) as crew:
        plan = plan_fleet(scenarios, crew.at_once, crew.slots, shards or 0, about=about)
        _complete(start(plan), crew, err)
    _show(folder, as_json, err)


def _complete(job: Job, crew: Crew, err: Console) -> None:
    """Simulate all points, compare them, and write the folder."""
    from fleetswap.job.merge import publish, scratch

    from ..analysis.comparison import rows_table
    from ..analysis.sweep import Point
    from ..analysis.sweep import sweep as compare_points

    plan, about = job.plan, job.plan.about
    points = [Point(own, scenario) for own, scenario in zip(about["settings"], plan.scenarios, strict=True)]
    print_warnings(err, plan.scenarios)
    err.print(
        f"{points[0].scenario.name}: {len(points):,} points of {plan.devices:,} devices, {plan.shards:,} shard(s) "
        f"each, seed {about['seed']}"
    )
    at = time.perf_counter()

    def merge(facts: Mapping[str, Any]) -> None:
        found = compare_points(points, job.results(), about["metrics"], about["pareto"])
        told = found.to_dict()
        kept = {name: about[name] for name in ("kind", "seed", "started", "over")}
        kept |= {"points": told["points"], "scenario": told["scenario"]}
        contents = {"summary.json": json.dumps(told, indent=1) + "\n", "sweep.parquet": rows_table(told["rows"])}
        with scratch(job.ledger.storage) as folder, NewFolder(folder) as new:
            new.finish(contents, {**kept, **facts, "timings_s": {"sweep": time.perf_counter() - at}})
            publish(folder, job.ledger)

    work_off(job, crew, err, merge)


def _show(folder: str, as_json: bool, err: Console) -> None:
    """Print the summary of a finished sweep on stdout, and where it is."""
    from fleetswap.job.ledger import read_summary
    from fleetswap.job.storage import Storage

    from ..console import Console

    told = read_summary(Storage(folder))
    if as_json:
        click.echo(json.dumps({"folder": folder, **told}))
    else:
        console = Console(columns=WIDTH)
        for table in sweep_tables(told):
            console.print(table)
    err.print(f"written to {folder} (summary.json, sweep.parquet, manifest.json)")


def sweep_tables(told: dict[str, Any]) -> list[Table]:
    """A table for each metric, with the points of the Pareto front marked."""
    from ..console import Table
    from ..fleet.metrics import METRICS

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
