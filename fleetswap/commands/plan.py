"""`fleetswap plan`: what a run would take, before it is started."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fleetswap_kernels.layout.device import Sizes

    from ..bench.gpu import Gpu
    from ..console import Table
    from ..workload.laid_out import LaidOut

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
WIDTH = 172
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
    from ..bench.probe import probe_fleet
    from ..console import Console
    from ..errors import InputError
    from ..scenario.experiments import Breakeven
    from ..scenario.kinds import load_any_scenario
    from ..workload.lay_out import lay_out

    workers = threads or usable_cores()
    gpu = load_gpu(gpu_name) if gpu_name else None
    if gpu is not None and scenario == Breakeven.name:
        raise InputError(f"--gpu: what {scenario} asks of a GPU was not counted; allowed are allocator-test and fleets")
    laid_out = lay_out(load_any_scenario(scenario, settings, devices))
    content = _plan_of(laid_out, shards or 0)
    err = Console(stderr=True)
    err.print("preparing kernels (compiled once, then kept), then timing a few devices ...")
    content["threads"] = workers
    content["time"] = {"estimate": True, **probe_fleet(laid_out, workers)}
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
    return {
        "class": name,
        "devices": devices,
        "processes": sizes.procs,
        "device_bytes": bytes_per_device,
        "groups": groups,
        "bytes": devices * bytes_per_device,
    }


def _plan_of(laid_out: LaidOut, shards: int) -> dict[str, Any]:
    """All but the time."""
    import numpy as np

    from fleetswap_kernels.layout import counters

    from ..fleet.fleet_directory import ROW_GROUP_BYTES
    from ..fleet.shard import step_bytes
    from ..job.plan import plan_fleet
    from ..scenario.model import FleetScenario

    pieces = plan_fleet([laid_out], shards=shards).pieces
    counts = [np.bincount(laid_out.classes_of(p.first, p.end), minlength=len(laid_out.kinds)) for p in pieces]
    devices = np.sum(counts, axis=0).tolist()
    sizes = [blueprint.sizes for blueprint in laid_out.blueprints]
    classes = [_class_plan(*class_facts) for class_facts in zip(laid_out.classes, devices, sizes, strict=True)]
    most = max(p.end - p.first for p in pieces)
    by_class = [class_plan["device_bytes"] for class_plan in classes]
    content = {
        "scenario": laid_out.scenario.name,
        "devices": laid_out.devices,
        "steps": laid_out.steps,
        "processes": sum(class_plan["devices"] * class_plan["processes"] for class_plan in classes),
        "bytes": sum(class_plan["bytes"] for class_plan in classes),
        "classes": classes,
        "shards": len(pieces),
        "memory": {
            "devices_of_a_shard": max(int(count @ np.array(by_class)) for count in counts),
            "counters_of_a_shard": COPIES * 8 * counters.N_COUNTERS * most,
            # Those of the shard, and the rows of the file that they are written into.
            "metrics_of_steps": 2 * step_bytes(laid_out) * most + 2 * min(step_bytes(laid_out) * most, ROW_GROUP_BYTES),
            # Histograms of the fleet and of the shard: by class and for all, by step and for the whole run, by metric.
            "time_series": 2
            * (1 + laid_out.steps)
            * len(laid_out.metrics)
            * sum(map(_cell_bytes, filter(None, [sum(devices), *devices]))),
        },
    }
    if isinstance(laid_out.scenario, FleetScenario):
        content["hours"] = 24 * laid_out.scenario.days
    return content


def _cell_bytes(devices: int) -> int:
    """Memory of the histogram of so many devices."""
    return CELL_BYTES + BIN_BYTES * min(devices, USUAL_BINS)


def _on_gpu(gpu: Gpu, content: dict[str, Any]) -> dict[str, Any]:
    """What a GPU is predicted to make of the run; on it a shard is what its memory holds."""
    from ..bench.gpu_model import devices_that_fit, predict, work_of
    from ..scenario.experiments import AllocatorScenario

    counted = content["time"]
    # The allocator test was counted under each policy; others ask what the phones were counted to ask.
    parts, devices = {"phones": counted["page_events"]}, content["devices"]
    if content["scenario"] == AllocatorScenario.name:
        parts = {f"allocator-test {name}": n for name, n in counted["page_events_of_classes"].items()}
        devices = content["classes"][0]["devices"]
    fit = devices_that_fit(gpu, content["bytes"] / content["devices"])
    if fit == 0:
        return {"title": gpu.title, "devices_of_a_shard": 0}
    of_shard = min(fit, devices)
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
    table.add_columns("devices", "processes", *told["classes"][0]["groups"], justify="right")
    table.add_columns("device", "all devices", justify="right", no_wrap=True)

    def size(row: dict[str, Any]) -> tuple[int, ...]:
        return (row["processes"], *row["groups"].values(), row["device_bytes"])

    # Points of break-even that are alike stand together.
    for cells, alike in groupby(told["classes"], size):
        first, *others = alike
        name = f"{first['class']}{f' and {len(others)} more' if others else ''}"
        devices, total = (sum(row[key] for row in (first, *others)) for key in ("devices", "bytes"))
        table.add_row(name, *(f"{n:,}" for n in (devices, *cells, total)))
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
    for name, text in rows:
        run_table.add_row(name, text)
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
