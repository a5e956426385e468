"""`fleetswap sweep`: a grid of policies on the same devices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .compare import WIDTH, shown_change, shown_interval, shown_value
from .work import Work, backend_options, directory_options

if TYPE_CHECKING:
    from ..console import Table
    from ..execution.question import Question


@click.command()
@click.argument("scenario", required=False)
@click.option(
    "--over", metavar="KEY=V1,V2,...", multiple=True, help="A key and its values; repeated for every key of the grid."
)
@click.option("--devices", type=int, help="Devices of the fleet.  [default: the scenario's own]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@backend_options
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Change a parameter of all points.")
@click.option("--metrics", metavar="M1,M2,...", help="Metrics to report.  [default: seven that tell most]")
@click.option(
    "--pareto", metavar="M1,M2,...", help="Metrics of the Pareto front.  [default: stall_ns,memory_saved_bytes]"
)
@directory_options("Result folder, a path or s3://...  [default: runs/sweep-SCENARIO-TIME]")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def sweep(
    scenario: str | None,
    over: tuple[str, ...],
    devices: int | None,
    seed: int,
    settings: tuple[str, ...],
    metrics: str | None,
    pareto: str | None,
    **options: Any,
) -> None:
    """Simulate a grid of policies on the same devices, with the same random numbers.

    Every combination of the values is a point; each is compared, device by device, with the first one. Commas in
    brackets and quotes separate nothing. For instance: fleetswap sweep phones --over policy.large_swapin=off,on
    --over device_class.phone-8g.block=4K,64K
    """
    from ..analysis.sweep import DEFAULT_METRICS, DEFAULT_PARETO, parse_axis
    from ..errors import InputError
    from ..execution.sweep import ask_sweep
    from ..scenario.experiments import BUILT_IN

    def ask() -> Question:
        if scenario is None:
            raise InputError("SCENARIO is missing: allowed are fleets and .toml files, or --resume DIR")
        if scenario in BUILT_IN:
            raise InputError(f"{scenario}: is no fleet; allowed are fleets and .toml files")
        names = [
            tuple(name.strip() for name in given.split(",")) if given is not None else default
            for given, default in ((metrics, DEFAULT_METRICS), (pareto, DEFAULT_PARETO))
        ]
        return ask_sweep(scenario, [parse_axis(text) for text in over], settings, devices, seed, *names)

    work = Work(**options)
    folder, summary = work.answer("sweep", f"sweep-{Path(scenario or '').stem}-", ask)
    work.tell({"folder": folder, **summary}, sweep_tables, WIDTH, "summary.json, sweep.parquet, manifest.json")


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
        table.add_columns(*keys)
        table.add_columns("fleet", "median", "95 %", "change", "interval", justify="right", no_wrap=True)
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
