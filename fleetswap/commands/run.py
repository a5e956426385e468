"""`fleetswap run`: simulate a fleet and write its run directory."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetswap_kernels.layout.codecs import CODECS

from .backend import backend_options, opened
from .crew import cluster_options, refuse_existing, refuse_with_resume, workforce_of
from .progress import prepare

if TYPE_CHECKING:
    from ..console import Console
    from ..fleet.backend import Chosen
    from ..scenario.experiments import Breakeven, Scenario

    Choose = Callable[[], Chosen]


@click.command()
@click.argument("scenario", default="phones")
@click.option("--devices", type=int, help="Devices of the fleet.  [default: the scenario's own]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@backend_options
@click.option("--shards", type=click.IntRange(1), help="Pieces the fleet is cut into.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Change a parameter; may be repeated.")
@click.option("--out", metavar="DIR", help="Run directory, a path or s3://...  [default: runs/SCENARIO-TIME]")
@cluster_options
@click.option("--check", is_flag=True, help="Recount every device after every step (slow; fleets of phones).")
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
    from ..errors import InputError
    from ..execution.display import Display
    from ..execution.run import ask_run
    from ..execution.work import answer_question, resume_job
    from ..report.tables import fleet_tables
    from ..scenario.experiments import BUILT_IN, load_scenario
    from ..scenario.file import load_fleet_scenario

    err = Console(stderr=True)
    workforce, display = workforce_of(cluster, workers, backend, threads), Display(err)
    if resume:
        refuse_with_resume(("scenario", "devices", "seed", "shards", "settings", "out", "check"))
        with _failing(err):
            summary = dict(resume_job(resume, "run", workforce, display).summary)
        _show(resume, summary, fleet_tables(summary), as_json, err, ", report.html")
        return
    folder = out or str(Path("runs") / f"{Path(scenario).stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    if scenario not in BUILT_IN:
        question = ask_run(load_fleet_scenario(scenario, settings, devices, seed), check)
        refuse_existing(folder)
        with _failing(err):
            summary = dict(answer_question(question, folder, workforce, display, shards or 0).summary)
        _show(folder, summary, fleet_tables(summary), as_json, err, ", report.html")
        return
    experiment = load_scenario(scenario, devices, seed, settings)
    refuse_existing(folder)
    if cluster:
        raise InputError(f"--cluster: {scenario} is no fleet; allowed are fleets and .toml files")
    summary, tables = _run_experiment(experiment, shards, partial(opened, backend, threads, err), Path(folder), err)
    _show(folder, summary, tables, as_json, err)


def _run_experiment(
    experiment: Scenario | Breakeven, shards: int | None, choose: Choose, folder: Path, err: Console
) -> tuple[dict[str, Any], list[Any]]:
    """An experiment that is no fleet: its summary and its tables."""
    from ..scenario.experiments import Breakeven
    from ..staging import staged_folder

    facts: dict[str, Any] = {"started": datetime.now(UTC).isoformat()}
    with staged_folder(folder, "--out ") as staged:
        if isinstance(experiment, Breakeven):
            facts["seed"] = experiment.seed
            return _run_breakeven(experiment, shards or 1, choose, staged, facts, err)
        facts["seed"] = experiment.test.seed
        return _run_allocator_test(experiment, shards or 0, choose, staged, facts, err)


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


def _show(
    folder: str, summary: dict[str, Any], tables: list[Any], as_json: bool, err: Console, report: str = ""
) -> None:
    """Print a summary on stdout, and where it is."""
    from ..console import Console
    from ..report.tables import MIN_WIDTH

    if as_json:
        click.echo(json.dumps({"run_directory": folder, **summary}))
    else:
        console = Console(columns=MIN_WIDTH)
        for table in tables:
            console.print(table)
    err.print(f"written to {folder} (manifest.json, devices.parquet, series.parquet, summary.json{report})")


def _run_allocator_test(
    scenario: Scenario, shards: int, choose: Choose, folder: Path, facts: dict[str, Any], err: Console
) -> tuple[dict[str, Any], list[Any]]:
    """The patch's test: its summary and its tables."""
    from fleetswap_kernels.backend.arena import device_bytes

    from ..conformance.published import PATCH_TABLES
    from ..console import progress_bar
    from ..fleet.directory import write_run
    from ..fleet.pieces import plan_shards, run_shards, steps_of, warm_up
    from ..report.tables import run_tables
    from ..scenario.cost import load_profile
    from ..workload.allocator_test import plan

    load_profile(scenario.test.cost)  # Bad input is reported before anything runs.
    workload = plan(scenario.test)
    chosen = choose()
    pieces = plan_shards(scenario, shards, chosen.backend)
    bytes_per_device = device_bytes(workload.blueprint.sizes)
    err.print(
        f"{scenario.name}: {scenario.devices:,} devices, {bytes_per_device:,} bytes each "
        f"({bytes_per_device / workload.pages:.1f} per page of its regions), {len(pieces)} shard(s), "
        f"seed {scenario.test.seed}"
    )
    compile_s = prepare(err, lambda: warm_up(chosen.backend))
    with progress_bar(err, "device-steps") as progress:
        task = progress.add_task("simulating", total=scenario.devices * steps_of(scenario))
        results = list(run_shards(scenario, pieces, chosen.backend, lambda steps: progress.advance(task, steps)))
    facts["device_bytes"] = bytes_per_device
    facts["timings_s"] = {"compile": compile_s, "step": sum(r.step_ns for r in results) / 1e9}
    facts |= chosen.facts()
    summary = write_run(folder, scenario, results, workload.folio_order, facts)
    return summary, run_tables(summary, PATCH_TABLES)


def _run_breakeven(
    scenario: Breakeven, shards: int, choose: Choose, folder: Path, facts: dict[str, Any], err: Console
) -> tuple[dict[str, Any], list[Any]]:
    """When large blocks pay: the summary and its tables."""
    from ..console import progress_bar
    from ..errors import InputError
    from ..fleet.breakeven import devices_table, points_of, run_points, series_table, summarise
    from ..fleet.directory import write_files
    from ..fleet.pieces import cut, warm_up
    from ..report.tables import breakeven_tables
    from ..scenario.cost import load_profile
    from ..workload.breakeven import VARIANTS, plan

    # Bad input is reported before anything runs.
    profile = load_profile(scenario.cost)
    for codec in CODECS:
        if codec not in profile.codecs:
            raise InputError(f"cost: {scenario.cost} has no times of codec {codec}; add codec.{codec}, or inherits")
    plan(scenario, CODECS[0], VARIANTS[0])
    chosen = choose()
    points = points_of(scenario)
    err.print(
        f"breakeven: {points} points of {scenario.devices:,} devices with {scenario.memory_mib} MiB each, "
        f"seed {scenario.seed}, cost profile {scenario.cost}"
    )
    compile_s = prepare(err, lambda: warm_up(chosen.backend))
    started = time.perf_counter()
    pieces = cut(scenario.devices, shards)
    with progress_bar(err, "device-steps") as progress:
        task = progress.add_task("simulating", total=points * scenario.devices)
        simulated_points = list(
            run_points(scenario, pieces, chosen.backend, lambda steps: progress.advance(task, steps))
        )
    facts["timings_s"] = {"compile": compile_s, "step": time.perf_counter() - started}
    facts["shards"] = [asdict(piece) for piece in pieces]
    summary = summarise(scenario, simulated_points)
    facts |= chosen.facts()
    manifest = {"scenario": scenario.resolved(), "scenario_hash": scenario.digest(), **facts}
    write_files(folder, manifest, devices_table(simulated_points), series_table(simulated_points), summary)
    return summary, breakeven_tables(summary)
