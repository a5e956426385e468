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
    content: dict[str, Any]
    probe: Callable[[], Any]
    if scenario in BUILT_IN:
        test = load_scenario(scenario, devices, 0, settings)
        if isinstance(test, Breakeven):
            raise InputError(f"{scenario}: cannot be planned; allowed are allocator-test, the fleets and .toml files")
        content, probe = _test_plan(test, shards or 0), lambda: probe_test(test, workers)
    else:
        fleet = load_fleet_scenario(scenario, settings, devices)
        content, probe = _fleet_plan(fleet, shards or 0), lambda: probe_fleet(fleet, workers)
    err = Console(stderr=True)
    err.print("preparing kernels (compiled once, then kept), then timing a few devices ...")
    content["threads"] = workers
    content["time"] = {"estimate": True, **probe()}
    content["memory"]["program"] = _resident_bytes()
    content["memory"]["peak_estimate"] = sum(content["memory"].values())
    if gpu is not None:
        content["gpu"] = _on_gpu(gpu, content)
    if as_json:
        click.echo(json.dumps(content))
        return
    console = Console(columns=WIDTH)
    for table in plan_tables(content):
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
    group_bytes = {group: sum(lengths.pop(name) for name in names) for group, names in GROUPS.items()}
    return {**group_bytes, REST: device_bytes(sizes) - sum(group_bytes.values())}


def _class_plan(name: str, devices: int, sizes: Sizes) -> dict[str, Any]:
    groups = groups_of(sizes)
    bytes_per_device = sum(groups.values())
    content = {
        "class": name,
        "devices": devices,
        "processes": sizes.procs,
        "device_bytes": bytes_per_device,
        "groups": groups,
    }
    return {**content, "bytes": devices * bytes_per_device}


def _whole_plan(name: str, devices: int, steps: int, classes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "scenario": name,
        "devices": devices,
        "steps": steps,
        "processes": sum(class_plan["devices"] * class_plan["processes"] for class_plan in classes),
        "bytes": sum(class_plan["bytes"] for class_plan in classes),
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
    classes = [_class_plan(*class_facts) for class_facts in zip(laid_out.classes, devices, sizes, strict=True)]
    steps = scenario.days * scenario.steps_per_day
    content = _whole_plan(scenario.name, scenario.devices, steps, classes)
    bytes_of_classes = [class_plan["device_bytes"] for class_plan in classes]
    content["hours"] = 24 * scenario.days
    content["shards"] = len(pieces)
    content["memory"] = {
        "devices_of_a_shard": max(int(count @ np.array(bytes_of_classes)) for count in counts),
        "counters_of_a_shard": COPIES * 8 * counters.N_COUNTERS * max(p.end - p.first for p in pieces),
        # Histograms of the fleet and of the shard: by class and for all, by step and for the whole run, by metric.
        "time_series": 2 * (1 + steps) * len(METRICS) * sum(map(_cell_bytes, filter(None, [sum(devices), *devices]))),
    }
    return content


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
    content = _whole_plan(scenario.name, scenario.devices, steps_of(scenario), classes)
    content["shards"] = len(pieces)
    most = max(p.end - p.first for p in pieces)
    content["memory"] = {
        "devices_of_a_shard": most * classes[0]["device_bytes"],
        "counters_of_a_shard": 3 * 8 * counters.N_COUNTERS * most,
        "results": len(POLICIES) * 8 * counters.N_COUNTERS * scenario.devices,
    }
    return content


def _on_gpu(gpu: Gpu, content: dict[str, Any]) -> dict[str, Any]:
    """What a GPU is predicted to make of the run; on it a shard is what its memory holds."""
    from ..bench.gpu_model import devices_that_fit, predict, work_of

    counted = content["time"]["page_events"]
    # A run of the allocator test is one under each policy; fleets ask what the phones were counted to ask.
    parts = {f"allocator-test {name}": n for name, n in counted.items()} if isinstance(counted, dict) else {}
    parts = parts or {"phones": counted}
    fit = devices_that_fit(gpu, content["bytes"] / content["devices"])
    if fit == 0:
        return {"title": gpu.title, "devices_of_a_shard": 0}
    of_shard = min(fit, content["devices"])
    predictions = {name: predict(gpu, work_of(name, gpu), of_shard) for name in parts}
    seconds = sum(n / predictions[name].events_per_s for name, n in parts.items())
    gpu_content = {
        "title": gpu.title,
        "prediction": "no GPU has confirmed it",
        "devices_of_a_shard": fit,
        "shards": -(-content["devices"] // fit),
        "seconds": seconds,
        "events_per_s": sum(parts.values()) / seconds,
        "workloads": {
            name: {"page_events": parts[name], **prediction.as_record()} for name, prediction in predictions.items()
        },
    }
    if "hours" in content:
        gpu_content["device_hours_per_s"] = content["devices"] * content["hours"] / seconds
    return gpu_content


def plan_tables(told: dict[str, Any]) -> list[Table]:
    """Bytes of a device by class, and what the whole run takes."""
    from ..console import Table

    table = Table(title="Bytes of a device, exact")
    table.add_column("class", no_wrap=True)
    for name in ("devices", "processes", *told["classes"][0]["groups"], "device", "all devices"):
        table.add_column(name, justify="right")
    for class_plan in told["classes"]:
        cells = (
            class_plan["devices"],
            class_plan["processes"],
            *class_plan["groups"].values(),
            class_plan["device_bytes"],
            class_plan["bytes"],
        )
        table.add_row(class_plan["class"], *(f"{n:,}" for n in cells))
    probe, memory = told["time"]["probe"], told["memory"]
    run_table = Table(title=f"{told['scenario']}: the run", show_header=False)
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
        run_table.add_row(*row)
    return [table, run_table, *([_gpu_table(told["gpu"])] if "gpu" in told else [])]


def _gpu_table(content: dict[str, Any]) -> Table:
    """What a GPU is predicted to make of the run."""
    from ..console import Table

    title = f"{content['title']}: PREDICTED, not measured (docs/gpu-model.md)"
    table = Table(title=title, show_header=False)
    if not content["devices_of_a_shard"]:
        table.add_row("devices of a shard", "none: a device is larger than its memory")
        return table
    table.add_row(
        "devices of a shard", f"{content['devices_of_a_shard']:,}; the run takes {content['shards']:,} shard(s)"
    )
    rate = f"{_giga(content['events_per_s'])} * 10^9 page events/s"
    table.add_row("time", f"about {_duration(content['seconds'])} in kernels, {rate} in all")
    if "device_hours_per_s" in content:
        table.add_row("device-hours a second", f"{content['device_hours_per_s']:,.0f}")
    for name, prediction in content["workloads"].items():
        ceilings = ", ".join(f"{limit} {_giga(rate)}" for limit, rate in prediction["ceilings"].items())
        table.add_row(name, f"{_giga(prediction['events_per_s'])} * 10^9 page events/s, bound by {prediction['limit']}")
        table.add_row("", f"ceilings in 10^9/s: {ceilings}")
        room = f"{prediction['per_warp']} a warp, {prediction['threads_per_sm']} threads an SM"
        table.add_row("", f"{prediction['resident_devices']:,} devices at once, {room}")
    return table


def _giga(rate: float) -> str:
    return f"{rate / 1e9:,.2f}"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
