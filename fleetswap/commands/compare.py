"""`fleetswap compare`: two policies on the same devices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .backend import backend_options
from .crew import cluster_options, refuse_existing, refuse_with_resume, workforce_of

if TYPE_CHECKING:
    from ..analysis.comparison import Source
    from ..console import Console, Table

WIDTH = 132
"""Columns that the tables need."""


@click.command()
@click.argument("a", required=False)
@click.argument("b", required=False)
@click.option("--devices", type=int, help="Devices of the fleet.  [default: the scenario's own]")
@click.option("--seed", type=int, help="Seed of all random numbers.  [default: 0]")
@backend_options
@click.option("--shards", type=click.IntRange(1), help="Pieces the fleet is cut into.")
@click.option("--set", "both", metavar="KEY=VALUE", multiple=True, help="Change a parameter of both; may be repeated.")
@click.option("--set-a", metavar="KEY=VALUE", multiple=True, help="Change a parameter of A; may be repeated.")
@click.option("--set-b", metavar="KEY=VALUE", multiple=True, help="Change a parameter of B; may be repeated.")
@click.option(
    "--set-reference",
    metavar="KEY=VALUE",
    multiple=True,
    help="Also simulate A with this change; the pages that A reads beyond it are told as extra pages.",
)
@click.option("--out", metavar="DIR", help="Result folder, a path or s3://...  [default: runs/compare-A-TIME]")
@cluster_options
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON on stdout.")
def compare(
    a: str | None,
    b: str | None,
    devices: int | None,
    seed: int | None,
    backend: str,
    threads: int | None,
    shards: int | None,
    both: tuple[str, ...],
    set_a: tuple[str, ...],
    set_b: tuple[str, ...],
    set_reference: tuple[str, ...],
    out: str | None,
    resume: str | None,
    cluster: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Compare two policies on the same devices, with the same random numbers.

    A and B are built-in fleets, .toml files, or directories of finished runs. Without B, B is A with the changes of
    --set-b, for instance: fleetswap compare phones --set-a policy.large_swapin=off --set-b policy.large_swapin=on
    """
    from ..console import Console
    from ..errors import InputError
    from ..execution.comparison import ask_comparison
    from ..execution.display import Display
    from ..execution.work import answer_question, resume_job

    err = Console(stderr=True)
    workforce, display = workforce_of(cluster, workers, backend, threads), Display(err)
    if resume:
        refuse_with_resume(("a", "b", "devices", "seed", "shards", "both", "set_a", "set_b", "set_reference", "out"))
        _show(resume, resume_job(resume, "comparison", workforce, display).summary, as_json, err)
        return
    if a is None:
        raise InputError("A is missing: allowed are fleets, .toml files and run directories, or --resume DIR")
    if b is None and not set_b:
        raise InputError("B is missing: give a second scenario or run directory, or --set-b KEY=VALUE")
    names = (a, a if b is None else b)
    sides: list[Source] = []
    problems = []
    wanted = [(names[0], "--set-a", set_a), (names[1], "--set-b", set_b)]
    if set_reference:
        wanted.append((names[0], "--set-reference", set_reference))
    for name, option, side_settings in wanted:
        try:
            sides.append(_source(name, (*both, *side_settings), option, devices, seed))
        except InputError as error:
            problems.append(str(error).replace(f"{name} --set:", f"{name} {option if side_settings else '--set'}:"))
    if problems:
        raise InputError("; ".join(dict.fromkeys(problems)))
    question = ask_comparison(sides[0], sides[1], sides[2] if len(sides) > 2 else None, names)
    folder = out or str(Path("runs") / f"compare-{Path(a).stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    refuse_existing(folder)
    _show(folder, answer_question(question, folder, workforce, display, shards or 0).summary, as_json, err)


def _show(folder: str, summary: Mapping[str, Any], as_json: bool, err: Console) -> None:
    """Print a comparison on stdout, and where it is."""
    from ..console import Console, Text
    from ..report.wording import alike_sentence

    if as_json:
        click.echo(json.dumps({"folder": folder, **summary}))
    else:
        console = Console(columns=WIDTH)
        if summary["alike"]:
            console.print(Text(alike_sentence(summary["label_a"], summary["label_b"]), "bold"))
        for table in comparison_tables(summary):
            console.print(table)
        for explanation in summary["explanations"]:
            console.print(Text(explanation["title"], "bold"), f"{explanation['text']}\n", sep="\n")
    err.print(f"written to {folder} (comparison.parquet, report.html, summary.json, manifest.json)")


def _source(name: str, settings: Sequence[str], option: str, devices: int | None, seed: int | None) -> Source:
    """A run directory, or a fleet with its settings."""
    from ..errors import InputError
    from ..scenario.kinds import load_any_scenario

    if Path(name).is_dir():
        given = {f"{option} or --set": settings, "--devices": devices is not None, "--seed": seed is not None}
        for given_option, value in given.items():
            if value:
                raise InputError(f"{given_option}: {name} is a finished run; allowed are scenarios")
        return Path(name)
    return load_any_scenario(name, settings, devices, seed or 0)


def comparison_tables(told: Mapping[str, Any]) -> list[Table]:
    """Every metric over the fleet, then the changes by device class."""
    from ..console import Table

    rows = told["rows"]
    fleet = {row["metric"]: row for row in rows if row["class"] == "all"}
    worst = {row["metric"]: row["class"] for row in rows if row["worst"]}
    devices = next(iter(fleet.values()))["devices"]
    called = {side: f"{side.upper()}: {told[f'label_{side}'].removeprefix(f'{side.upper()}: ')}" for side in "ab"}
    title = f"{called['a']}  |  {called['b']}  ({devices:,} devices; change from A to B, 95 % interval)"
    table = Table(title=title)
    table.add_column("fleet", no_wrap=True)
    for name in ("A", "B", "change", "interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("better", "worst class"):
        table.add_column(name, no_wrap=True)
    for name in ("worse for", "gain"):
        table.add_column(name, justify="right", no_wrap=True)
    spread = Table(title="Device by device")
    for name in ("metric", "under"):
        spread.add_column(name, no_wrap=True)
    for quantile in ("5 %", "median", "95 %", "99 %"):
        spread.add_column(quantile, justify="right", no_wrap=True)
    for metric, row in fleet.items():
        table.add_row(
            metric,
            shown_value(metric, row["a"]),
            shown_value(metric, row["b"]),
            shown_change(row["relative"]),
            shown_interval(row),
            {"a": "A", "b": "B"}.get(row["better"], "?"),
            worst.get(metric, "-"),
            f"{row['worse_devices_permille'] / 10:.0f} %",
            _shown_gain(row["pairing_gain"]),
        )
        for side, under in (("a", "A"), ("b", "B"), ("difference", "B - A")):
            cells = (shown_value(metric, row[f"{side}_{q}"]) for q in ("p5", "p50", "p95", "p99"))
            spread.add_row(metric if side == "a" else "", under, *cells, end_section=side == "difference")
    shown = ("pgmajfault", "pswpin", "fallback_permyriad", "alloc_success_permyriad", "stall_ns", "kills")
    classes = Table(title="Change by device class")
    classes.add_column("class", no_wrap=True)
    for name in ("devices", *shown):
        classes.add_column(name, justify="right")
    for name in dict.fromkeys(row["class"] for row in rows):
        row_of_metric = {row["metric"]: row for row in rows if row["class"] == name}
        sure = {m: "" if row_of_metric[m]["better"] != "unclear" else " ?" for m in shown}
        cells = (f"{shown_change(row_of_metric[m]['relative'])}{sure[m]}" for m in shown)
        classes.add_row(name, f"{row_of_metric[shown[0]]['devices']:,}", *cells)
    classes.caption = "?: the interval of the difference holds 0"
    table.caption = "worse for: share of devices; gain: how many times fewer devices pairing needs"
    return [table, spread, classes]


def shown_value(metric: str, value: int | None) -> str:
    """A value of a metric in three digits."""
    from ..report.units import unit_of

    if value is None:
        return "-"
    return (
        unit_of(metric)
        .human(value)
        .replace("\N{NO-BREAK SPACE}million", "M")
        .replace("\N{NO-BREAK SPACE}billion", "bn")
    )


def shown_interval(row: Mapping[str, Any]) -> str:
    """The interval of a relative change."""
    return "-" if row["low"] is None else f"{100 * row['low']:+.1f} to {shown_change(row['high'])}"


def _shown_gain(gain: float | None) -> str:
    """How many times fewer devices; above a thousand it matters no more."""
    if gain is None:
        return "-"
    return f"{gain:,.1f}" if gain < 1000 else "> 1,000"


def shown_change(relative: float | None) -> str:
    """A relative change in percent."""
    return "-" if relative is None else f"{100 * relative:+.1f} %"
