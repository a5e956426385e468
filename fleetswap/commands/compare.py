"""`fleetswap compare`: two policies on the same devices."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .backend import backend_options, opened
from .progress import prepare, print_warnings

if TYPE_CHECKING:
    import pyarrow as pa

    from ..analysis.comparison import Comparison, Source
    from ..console import Table

WIDTH = 132
"""Columns that the tables need."""


@click.command()
@click.argument("a")
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
@click.option("--out", type=click.Path(path_type=Path), help="Result folder  [default: runs/compare-A-TIME]")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON on stdout.")
def compare(
    a: str,
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
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare two policies on the same devices, with the same random numbers.

    A and B are built-in fleets, .toml files, or directories of finished runs. Without B, B is A with the changes of
    --set-b, for instance: fleetswap compare phones --set-a policy.large_swapin=off --set-b policy.large_swapin=on
    """
    from ..analysis.comparison import check_sources
    from ..analysis.comparison import compare as compare_sides
    from ..console import Console, Text, progress_bar
    from ..errors import InputError
    from ..fleet.shard import warm_up
    from ..report.page import render_comparison
    from ..report.wording import alike_sentence
    from ..scenario.model import FleetScenario
    from ..workload.phones import plan as lay_out

    started = datetime.now(UTC)
    if b is None and not set_b:
        raise InputError("B is missing: give a second scenario or run directory, or --set-b KEY=VALUE")
    names = (a, a if b is None else b)
    sides: list[Source] = []
    problems = []
    wanted = [(names[0], "--set-a", set_a), (names[1], "--set-b", set_b)]
    if set_reference:
        wanted.append((names[0], "--set-reference", set_reference))
    for name, option, own in wanted:
        try:
            sides.append(_source(name, (*both, *own), option, devices, seed))
        except InputError as error:
            problems.append(str(error).replace(f"{name} --set:", f"{name} {option if own else '--set'}:"))
    if problems:
        raise InputError("; ".join(dict.fromkeys(problems)))
    reference = sides[2] if len(sides) > 2 else None
    if reference is not None and not isinstance(reference, FleetScenario):
        raise InputError(f"--set-reference: A is {names[0]}, a run directory; allowed is a scenario")
    check_sources(sides, (*names, "the reference")[: len(sides)])
    scenarios = [side for side in sides if isinstance(side, FleetScenario)]
    err = Console(stderr=True)
    print_warnings(err, scenarios)
    chosen = opened(backend, threads, err)
    facts: dict[str, Any] = {"started": started.isoformat()}
    folder = out or Path("runs") / f"compare-{Path(a).stem}-{started:%Y%m%d-%H%M%S}"
    with NewFolder(folder, "--out ") as new:
        compile_s = prepare(err, lambda: warm_up(lay_out(scenarios[0]), chosen.backend)) if scenarios else 0.0
        at = time.perf_counter()
        with progress_bar(err, "device-steps") as progress:
            total = sum(s.devices * s.days * s.steps_per_day for s in scenarios)
            task = progress.add_task("simulating", total=total)
            result = compare_sides(
                sides[0],
                sides[1],
                names=names,
                reference=reference,
                backend=chosen.backend,
                shards=shards or 0,
                progress=lambda steps: progress.advance(task, steps),
            )
        told = result.to_dict()
        seconds = time.perf_counter() - at
        facts["timings_s"] = {"compile": compile_s, "compare": seconds}
        facts |= {side: {"scenario": told[side]["scenario"], "scenario_hash": told[side]["digest"]} for side in "ab"}
        contents = {
            "summary.json": json.dumps(told, indent=1) + "\n",
            "report.html": render_comparison(told),
            "comparison.parquet": result.table(),
        }
        new.finish(contents, {"kind": "comparison", **facts, **chosen.facts()})
    if as_json:
        click.echo(json.dumps({"folder": str(folder), **told}))
    else:
        console = Console(columns=WIDTH)
        if result.alike:
            console.print(Text(alike_sentence(result.label_a, result.label_b), "bold"))
        for table in comparison_tables(result):
            console.print(table)
        for explanation in told["explanations"]:
            console.print(Text(explanation["title"], "bold"), f"{explanation['text']}\n", sep="\n")
    err.print(f"compared in {seconds:.1f} s; written to {folder} ({', '.join(sorted(contents))}, manifest.json)")


def _source(name: str, settings: Sequence[str], option: str, devices: int | None, seed: int | None) -> Source:
    """A run directory, or a fleet with its settings."""
    from ..errors import InputError
    from ..scenario.experiments import BUILT_IN
    from ..scenario.file import load_fleet_scenario

    if name in BUILT_IN:
        raise InputError(f"{name}: is no fleet; allowed are fleets, .toml files and run directories")
    if Path(name).is_dir():
        given = {f"{option} or --set": settings, "--devices": devices is not None, "--seed": seed is not None}
        for one, value in given.items():
            if value:
                raise InputError(f"{one}: {name} is a finished run; allowed are scenarios")
        return Path(name)
    return load_fleet_scenario(name, settings, devices, seed or 0)


def comparison_tables(result: Comparison) -> list[Table]:
    """Every metric over the fleet, then the changes by device class."""
    from ..console import Table

    rows = result.rows
    fleet = {row["metric"]: row for row in rows if row["class"] == "all"}
    devices = next(iter(fleet.values()))["devices"]
    called = {"a": f"A: {result.label_a.removeprefix('A: ')}", "b": f"B: {result.label_b.removeprefix('B: ')}"}
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
            result.metrics[metric].worst_class or "-",
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
        own = {row["metric"]: row for row in rows if row["class"] == name}
        sure = {m: "" if own[m]["better"] != "unclear" else " ?" for m in shown}
        cells = (f"{shown_change(own[m]['relative'])}{sure[m]}" for m in shown)
        classes.add_row(name, f"{own[shown[0]]['devices']:,}", *cells)
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


class NewFolder:
    """A result folder: what is written goes to a folder of another name beside it, which gets its name at the end.

    Parameters
    ----------
    folder : Path
    option : str
        What errors put before its name.
    """

    def __init__(self, folder: Path, option: str = "") -> None:
        self.folder = folder
        self.option = option
        self.partial = folder.with_name(folder.name + ".partial")

    def __enter__(self) -> NewFolder:
        """Make the folder, before anything costs time."""
        from ..errors import InputError

        if self.folder.exists():
            raise InputError(f"{self.option}{self.folder}: exists already; name a folder that does not")
        try:
            shutil.rmtree(self.partial, ignore_errors=True)
            self.partial.mkdir(parents=True)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written: {error.strerror or error}") from None
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what is not finished."""
        shutil.rmtree(self.partial, ignore_errors=True)

    def finish(self, contents: Mapping[str, str | pa.Table], manifest: Mapping[str, Any]) -> None:
        """Write files and manifest, and give the folder its name.

        Raises
        ------
        InputError
            If they cannot be written.
        """
        import pyarrow.parquet as pq

        from ..errors import InputError
        from ..fleet.directory import SCHEMA_VERSION, finish_directory, versions

        try:
            for name, content in contents.items():
                if isinstance(content, str):
                    (self.partial / name).write_text(content, encoding="utf-8")
                else:
                    pq.write_table(content, self.partial / name, compression="zstd")
            told = {"schema_version": SCHEMA_VERSION, "versions": versions(), **manifest}
            finish_directory(self.partial, self.folder, told)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written: {error.strerror or error}") from None
