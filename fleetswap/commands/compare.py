"""`fleetswap compare`: two policies on the same devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .work import Work, backend_options, directory_options

if TYPE_CHECKING:
    from ..analysis.comparison import Source
    from ..console import Table, Text
    from ..execution.question import Question

WIDTH = 132
"""Columns that the tables need."""


@click.command()
@click.argument("a", required=False)
@click.argument("b", required=False)
@click.option("--devices", type=int, help="Devices of the fleet.  [default: the scenario's own]")
@click.option("--seed", type=int, help="Seed of all random numbers.  [default: 0]")
@backend_options
@click.option("--set", "both", metavar="KEY=VALUE", multiple=True, help="Change a parameter of both; may be repeated.")
@click.option("--set-a", metavar="KEY=VALUE", multiple=True, help="Change a parameter of A; may be repeated.")
@click.option("--set-b", metavar="KEY=VALUE", multiple=True, help="Change a parameter of B; may be repeated.")
@click.option(
    "--set-reference",
    metavar="KEY=VALUE",
    multiple=True,
    help="Also simulate A with this change; the pages that A reads beyond it are told as extra pages.",
)
@directory_options("Result folder, a path or s3://...  [default: runs/compare-A-TIME]")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON on stdout.")
def compare(
    a: str | None,
    b: str | None,
    devices: int | None,
    seed: int | None,
    both: tuple[str, ...],
    set_a: tuple[str, ...],
    set_b: tuple[str, ...],
    set_reference: tuple[str, ...],
    **options: Any,
) -> None:
    """Compare two policies on the same devices, with the same random numbers.

    A and B are built-in fleets, .toml files, or directories of finished runs. Without B, B is A with the changes of
    --set-b, for instance: fleetswap compare phones --set-a policy.large_swapin=off --set-b policy.large_swapin=on
    """
    from ..errors import InputError
    from ..execution.comparison import ask_comparison

    def ask() -> Question:
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
        return ask_comparison(sides[0], sides[1], sides[2] if len(sides) > 2 else None, names)

    work = Work(**options)
    folder, summary = work.answer("comparison", f"compare-{Path(a or '').stem}-", ask)
    files = "comparison.parquet, report.html, summary.json, manifest.json"
    work.tell({"folder": folder, **summary}, _comparison_parts, WIDTH, files)


def _comparison_parts(told: Mapping[str, Any]) -> Iterator[Table | Text | str]:
    """What people read of a comparison: its tables, and the explanations."""
    from ..console import Text
    from ..report.wording import alike_sentence

    if told["alike"]:
        yield Text(alike_sentence(told["label_a"], told["label_b"]), "bold")
    yield from comparison_tables(told)
    for explanation in told["explanations"]:
        yield Text(explanation["title"], "bold")
        yield f"{explanation['text']}\n"


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
    table.add_columns("A", "B", "change", "interval", justify="right", no_wrap=True)
    table.add_columns("better", "worst class", no_wrap=True)
    table.add_columns("worse for", "gain", justify="right", no_wrap=True)
    spread = Table(title="Device by device")
    spread.add_columns("metric", "under", no_wrap=True)
    spread.add_columns("5 %", "median", "95 %", "99 %", justify="right", no_wrap=True)
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
    classes.add_columns("devices", *shown, justify="right")
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
    text = unit_of(metric).human(value)
    return text.replace("\N{NO-BREAK SPACE}million", "M").replace("\N{NO-BREAK SPACE}billion", "bn")


def shown_interval(row: Mapping[str, Any]) -> str:
    """The interval of a relative change."""
    low, high = shown_change(row["low"]), shown_change(row["high"])
    return low if row["low"] is None else f"{low.removesuffix(' %')} to {high}"


def _shown_gain(gain: float | None) -> str:
    """How many times fewer devices; above a thousand it matters no more."""
    if gain is None:
        return "-"
    return f"{gain:,.1f}" if gain < 1000 else "> 1,000"


def shown_change(relative: float | None) -> str:
    """A relative change as the report has it, in letters that every terminal has."""
    from ..report.units import write_change

    if relative is None:
        return "-"
    return write_change(relative).replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")
