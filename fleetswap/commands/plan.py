"""`fleetswap plan`: what a run would take, before it is started."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fleetswap_kernels.layout.device import Sizes

    from ..bench.gpu import Gpu
    from ..console import Table
    from ..scenario.experiments import Scenario
    from ..scenario.model import FleetScenario

GROUPS = {
    "PTEs": ("o_pte", "o_pmd", "o_gen", "o_expect"),
    "slots": (
        "o_cluster", "o_cluster_next", "o_cluster_prev", "o_map", "o_zeromap", "o_cache", "o_shadow",
    ),
    "frames": ("o_frame", "o_mapcount"),
    "folio contents": ("o_content", "o_content_bytes", "o_content_map"),
    "zram and pool": (
        "o_stored", "o_stored_bytes", "o_run", "o_block", "o_zhandle", "o_zspage", "o_zgroup", "o_zclass", "o_zraw",
        "o_zstep", "o_zshare", "o_pool_frame",
    ),
    "processes": ("o_cpu", "o_proc", "o_vma", "o_phone"),
    "habits": ("o_habits",),
}  # fmt: skip
"""Arrays of a device by what they are of; header, counters and padding are the rest."""
WIDTH = 156
"""Columns that the tables need."""
REST = "header, counters"
COPIES = 8
"""Copies of a shard's counters that are held while they are written."""
CELL_BYTES, BIN_BYTES = 1024, 16
"""Of a histogram: without bins, and a bin that has devices."""
USUAL_BINS = 256
"""Bins that a large fleet fills: values over eight octaves."""


@click.command()
@click.argument("scenario", default="phones")
@click.option("--devices", type=int, help="Devices of the fleet.  [default: the scenario's own]")
@click.option("--threads", type=click.IntRange(1), help="CPU threads  [default: all usable cores]")
@click.option("--shards", type=click.IntRange(1), help="Pieces the fleet is cut into.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Change a parameter; may be repeated.")
@click.option("--gpu", "gpu_name", metavar="NAME|FILE", help="Also predict a GPU: a built-in name or a .toml file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def plan(
    scenario: str,
    devices: int | None,
    threads: int | None,
    shards: int | None,
    settings: tuple[str, ...],
    gpu_name: str | None,
    as_json: bool,
) -> None:
    """Tell what a run would take: bytes by device class, processes, shards, memory and time.

    Bytes of devices are exact. The time is an estimate: a few devices of each class are simulated for some seconds,
    from their first step on, and what that took is scaled. What a GPU would make of it is a calculation that no GPU
    has confirmed yet (docs/gpu-model.md).
    """
    from fleetswap_kernels.backend.cores import usable_cores

    from ..bench.gpu import load_gpu
    from ..bench.probe import probe_fleet, probe_test
    from ..console import Console
    from ..errors import InputError
    from ..scenario.experiments import BUILT_IN, Breakeven, load_scenario
    from ..scenario.file import load_fleet_scenario

    workers = threads or usable_cores()
    gpu = load_gpu(gpu_name) if gpu_name else None
    told: dict[str, Any]
    probe: Callable[[], Any]
    if scenario in BUILT_IN:
        test = load_scenario(scenario, devices, 0, settings)
        if isinstance(test, Breakeven):
            raise InputError(f"{scenario}: cannot be planned; allowed are allocator-test, the fleets and .toml files")
        told, probe = _test_plan(test, shards or 0), lambda: probe_test(test, workers)
    else:
        fleet = load_fleet_scenario(scenario, settings, devices)
        told, probe = _fleet_plan(fleet, shards or 0), lambda: probe_fleet(fleet, workers)
    err = Console(stderr=True)
    err.print("preparing kernels (compiled once, then kept), then timing a few devices ...")
    told["threads"] = workers
    told["time"] = {"estimate": True, **probe()}
    told["memory"]["program"] = _resident_bytes()
    told["memory"]["peak_estimate"] = sum(told["memory"].values())
    if gpu is not None:
        told["gpu"] = _on_gpu(gpu, told)
    if as_json:
        click.echo(json.dumps(told))
        return
    console = Console(columns=WIDTH)
    for table in plan_tables(told):
        console.print(table)


def _resident_bytes() -> int:
    """Memory of the program itself, with everything loaded."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:  # no Linux
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def groups_of(sizes: Sizes) -> dict[str, int]:
    """Bytes of a device by group of arrays; they sum up to `device_bytes`."""
    from fleetswap_kernels.backend.arena import device_bytes
    from fleetswap_kernels.layout.device import arrays

    lengths = {name: width * length for name, (width, length) in arrays(sizes).items()}
    found = {group: sum(lengths.pop(name) for name in names) for group, names in GROUPS.items()}
    return {**found, REST: device_bytes(sizes) - sum(found.values())}


def _class_plan(name: str, devices: int, sizes: Sizes) -> dict[str, Any]:
    groups = groups_of(sizes)
    each = sum(groups.values())
    told = {"class": name, "devices": devices, "processes": sizes.procs, "device_bytes": each, "groups": groups}
    return {**told, "bytes": devices * each}


def _whole_plan(name: str, devices: int, steps: int, classes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "scenario": name,
        "devices": devices,
        "steps": steps,
        "processes": sum(one["devices"] * one["processes"] for one in classes),
        "bytes": sum(one["bytes"] for one in classes),
        "classes": classes,
    }


def _fleet_plan(scenario: FleetScenario, shards: int) -> dict[str, Any]:
    """All but the time of a fleet."""
    import numpy as np

    from fleetswap_kernels.layout import counters

    from ..fleet.metrics import METRICS
    from ..fleet.shard import plan_shards
    from ..workload.phones import class_of_devices, lay_out

    laid_out = lay_out(scenario)
    pieces = plan_shards(laid_out, shards)
    counts = [np.bincount(class_of_devices(scenario, p.first, p.end), minlength=len(laid_out.classes)) for p in pieces]
    devices = np.sum(counts, axis=0).tolist()
    sizes = [blueprint.sizes for blueprint in laid_out.blueprints]
    classes = [_class_plan(*one) for one in zip(laid_out.classes, devices, sizes, strict=True)]
    steps = scenario.days * scenario.steps_per_day
    told = _whole_plan(scenario.name, scenario.devices, steps, classes)
    each = [one["device_bytes"] for one in classes]
    told["hours"] = 24 * scenario.days
    told["shards"] = len(pieces)
    told["memory"] = {
        "devices_of_a_shard": max(int(count @ np.array(each)) for count in counts),
        "counters_of_a_shard": COPIES * 8 * counters.N_COUNTERS * max(p.end - p.first for p in pieces),
        # Histograms of the fleet and of the shard: by class and for all, by step and for the whole run, by metric.
        "time_series": 2 * (1 + steps) * len(METRICS) * sum(map(_cell_bytes, filter(None, [sum(devices), *devices]))),
    }
    return told


def _cell_bytes(devices: int) -> int:
    """Memory of the histogram of so many devices."""
    return CELL_BYTES + BIN_BYTES * min(devices, USUAL_BINS)


def _test_plan(scenario: Scenario, shards: int) -> dict[str, Any]:
    """All but the time of an allocator test."""
    from fleetswap_kernels.layout import counters

    from ..fleet.pieces import plan_shards, steps_of
    from ..scenario.experiments import POLICIES
    from ..workload.allocator_test import plan as lay_out

    pieces = plan_shards(scenario, shards)
    sizes = lay_out(scenario.test).blueprint.sizes
    classes = [_class_plan(scenario.name, scenario.devices, sizes)]
    told = _whole_plan(scenario.name, scenario.devices, steps_of(scenario), classes)
    told["shards"] = len(pieces)
    most = max(p.end - p.first for p in pieces)
    told["memory"] = {
        "devices_of_a_shard": most * classes[0]["device_bytes"],
        "counters_of_a_shard": 3 * 8 * counters.N_COUNTERS * most,
        "results": len(POLICIES) * 8 * counters.N_COUNTERS * scenario.devices,
    }
    return told


def _on_gpu(gpu: Gpu, told: dict[str, Any]) -> dict[str, Any]:
    """What a GPU is predicted to make of the run; on it a shard is what its memory holds."""
    from ..bench.gpu_model import devices_that_fit, predict, work_of

    counted = told["time"]["page_events"]
    # A run of the allocator test is one under each policy; fleets ask what the phones were counted to ask.
    parts = {f"allocator-test {name}": n for name, n in counted.items()} if isinstance(counted, dict) else {}
    parts = parts or {"phones": counted}
    fit = devices_that_fit(gpu, told["bytes"] / told["devices"])
    if fit == 0:
        return {"title": gpu.title, "devices_of_a_shard": 0}
    of_shard = min(fit, told["devices"])
    predictions = {name: predict(gpu, work_of(name, gpu), of_shard) for name in parts}
    seconds = sum(n / predictions[name].events_per_s for name, n in parts.items())
    found = {
        "title": gpu.title,
        "prediction": "no GPU has confirmed it",
        "devices_of_a_shard": fit,
        "shards": -(-told["devices"] // fit),
        "seconds": seconds,
        "events_per_s": sum(parts.values()) / seconds,
        "workloads": {name: {"page_events": parts[name], **one.as_record()} for name, one in predictions.items()},
    }
    if "hours" in told:
        found["device_hours_per_s"] = told["devices"] * told["hours"] / seconds
    return found


def plan_tables(told: dict[str, Any]) -> list[Table]:
    """Bytes of a device by class, and what the whole run takes."""
    from ..console import Table

    table = Table(title="Bytes of a device, exact")
    table.add_column("class", no_wrap=True)
    for name in ("devices", "processes", *told["classes"][0]["groups"], "device", "all devices"):
        table.add_column(name, justify="right")
    for one in told["classes"]:
        cells = (one["devices"], one["processes"], *one["groups"].values(), one["device_bytes"], one["bytes"])
        table.add_row(one["class"], *(f"{n:,}" for n in cells))
    probe, memory = told["time"]["probe"], told["memory"]
    whole = Table(title=f"{told['scenario']}: the run", show_header=False)
    parts = [f"{name.replace('_', ' ')} {_mib(n)}" for name, n in memory.items() if name != "peak_estimate"]
    rows: Sequence[tuple[str, str]] = (
        ("devices", f"{told['devices']:,}, with {told['processes']:,} processes"),
        ("steps", f"{told['steps']:,} of each device"),
        ("all devices at once", f"{told['bytes']:,} bytes"),
        ("shards", f"{told['shards']:,}, one after the other, each on {told['threads']} thread(s)"),
        ("peak memory", f"about {_mib(memory['peak_estimate'])}: {', '.join(parts)}"),
        ("time", f"about {_duration(told['time']['seconds'])}: an ESTIMATE"),
        (
            "",
            f"from {probe['devices']} devices in {probe['steps']} of {probe['of_steps']} steps; compiling not counted",
        ),
    )
    for row in rows:
        whole.add_row(*row)
    return [table, whole, *([_gpu_table(told["gpu"])] if "gpu" in told else [])]


def _gpu_table(told: dict[str, Any]) -> Table:
    """What a GPU is predicted to make of the run."""
    from ..console import Table

    title = f"{told['title']}: PREDICTED, not measured (docs/gpu-model.md)"
    table = Table(title=title, show_header=False)
    if not told["devices_of_a_shard"]:
        table.add_row("devices of a shard", "none: a device is larger than its memory")
        return table
    table.add_row("devices of a shard", f"{told['devices_of_a_shard']:,}; the run takes {told['shards']:,} shard(s)")
    rate = f"{_giga(told['events_per_s'])} * 10^9 page events/s"
    table.add_row("time", f"about {_duration(told['seconds'])} in kernels, {rate} in all")
    if "device_hours_per_s" in told:
        table.add_row("device-hours a second", f"{told['device_hours_per_s']:,.0f}")
    for name, one in told["workloads"].items():
        ceilings = ", ".join(f"{limit} {_giga(rate)}" for limit, rate in one["ceilings"].items())
        table.add_row(name, f"{_giga(one['events_per_s'])} * 10^9 page events/s, bound by {one['limit']}")
        table.add_row("", f"ceilings in 10^9/s: {ceilings}")
        room = f"{one['per_warp']} a warp, {one['threads_per_sm']} threads an SM"
        table.add_row("", f"{one['resident_devices']:,} devices at once, {room}")
    return table


def _giga(rate: float) -> str:
    return f"{rate / 1e9:,.2f}"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
