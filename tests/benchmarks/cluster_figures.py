"""Measures what a shard costs, for docs/cluster_scale.py: python tests/benchmarks/cluster_figures.py.

Writes docs/cluster_figures.json: of shards of two sizes the CPU seconds of simulating, committing and merging, and
bytes; of a task that does nothing the CPU seconds of scheduler and driver. Seconds are of CPU time: the machine may be
shared.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import psutil

from fleetswap.fleet.backend import open_backend
from fleetswap.fleet.directory import versions
from fleetswap.fleet.fleet_directory import FleetWriter
from fleetswap.job.bundles import BUNDLE_SHARDS, Bundles
from fleetswap.job.installation import installation
from fleetswap.job.ledger import Made, Record, place
from fleetswap.job.plan import plan_fleet
from fleetswap.job.storage import Storage
from fleetswap.job.worker import Order, merge, simulate
from fleetswap.scenario.file import load_fleet_scenario
from fleetswap.workload.lay_out import lay_out
from fleetswap_cluster.clusters import muster, open_cluster
from fleetswap_cluster.dispatcher import Dispatcher
from tests.cluster.begun import begin

FIGURES = Path(__file__).parents[2] / "docs" / "cluster_figures.json"
DEVICES_OF_A_SHARD = (100, 800)
SHARDS = 3
DEVICES_OF_A_BUNDLED_SHARD = 100
REPEATS = 5
"""Merging is short: the fastest of so many counts."""
TASKS = 3000
SCENARIO = "phones"


def shard_figures(each: int, folder: Path) -> dict[str, Any]:
    """What one shard takes, on average over some on one thread."""
    scenario = load_fleet_scenario(SCENARIO, devices=SHARDS * each)
    backend = open_backend("cpu", 1).backend
    with begin(Storage(folder), plan_fleet([lay_out(scenario)], shards=SHARDS)) as job:
        orders = [Order(str(folder), job.plan.digest, number, installation()) for number in range(SHARDS)]
        at = time.process_time()
        records = [simulate(order, backend) for order in orders]
        simulated = time.process_time() - at
        names = {"done record": f"{place('done', 0)}.json"}
        names |= {name: f"{place('shards', 0)}.{name}" for name in records[0].files}
        stored = {name: (folder / path).stat().st_size for name, path in names.items()}
        merged = []
        for i in range(REPEATS):
            merging = folder / f"merged{i}"
            merging.mkdir()
            writer = FleetWriter(merging, job.plan.fleets[0])
            at = time.process_time()
            writer.add_all(shard for _, shard in job.ledger.read_all(job.plan))
            merged.append(time.process_time() - at)
        at = time.process_time()
        writer.finish()
        finished = time.process_time() - at
    kept = {path.name: path.stat().st_size for path in writer.folder.iterdir()}
    return {
        "devices": each,
        "simulate_cpu_s": simulated / SHARDS,
        "merge_cpu_s": min(merged) / SHARDS,
        "finish_cpu_s": finished,
        "stored_bytes": stored,
        "run_directory_bytes": kept,
        "run_devices": SHARDS * each,
    }


def bundle_figures(each: int, folder: Path) -> dict[str, Any]:
    """What the shards of a full bundle take that a worker merges, on one thread."""
    scenario = load_fleet_scenario(SCENARIO, devices=BUNDLE_SHARDS * each)
    backend = open_backend("cpu", 1).backend
    with begin(Storage(folder), plan_fleet([lay_out(scenario)], shards=BUNDLE_SHARDS)) as job:
        order = Order(str(folder), job.plan.digest, 0, installation())
        for number in range(BUNDLE_SHARDS):
            simulate(replace(order, number=number), backend)
        at = time.process_time()
        merge(replace(order, merges=True))
        merged = time.process_time() - at
        merging = folder / "merged"
        merging.mkdir()
        writer = FleetWriter(merging, job.plan.fleets[0])
        at = time.process_time()
        writer.add_all(shard for _, shard in job.ledger.read_all(Bundles(job.plan)))
        taken = time.process_time() - at
        writer.finish()
        job.ledger.finish()
    return {"devices_of_a_shard": each, "shards": BUNDLE_SHARDS, "worker_cpu_s": merged, "driver_cpu_s": taken}


def do_nothing(order: Order) -> Record:
    """A task without work."""
    return Record(
        order.number, 0, 1, {"devices.parquet": 64 * "0", "steps.parquet": 64 * "0"}, 0, Made("", "", "", 0.0)
    )


def scheduler_figures(folder: Path) -> dict[str, Any]:
    """What a task costs the process in which scheduler and driver are."""
    scenario = load_fleet_scenario(SCENARIO, devices=TASKS)
    own = psutil.Process()
    with (
        open_cluster("local", 2) as client,
        begin(Storage(folder), plan_fleet([lay_out(scenario)], shards=TASKS)) as job,
    ):
        muster(client, scenario)
        dispatcher = Dispatcher(client, do_nothing, job.ledger, job.plan)
        orders = (Order(str(folder), job.plan.digest, number, installation()) for number in range(TASKS))
        memory, cpu, wall = own.memory_info().rss, time.process_time(), time.perf_counter()
        done = sum(1 for _ in dispatcher.work(orders))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "tasks": done,
        "cpu_s_of_a_task": cpu / done,
        "tasks_a_second": done / wall,
        "memory_growth_bytes": own.memory_info().rss - memory,
    }


def processor() -> str:
    """What Linux calls it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))


def main() -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as outer:
        # The first shard loads what is loaded once.
        shard_figures(4, Path(outer) / "warm")
        found = {
            "measured": date.today().isoformat(),  # noqa: DTZ011 (a day is enough)
            "processor": processor(),
            "versions": versions(),
            "scenario": SCENARIO,
            "shards": [shard_figures(each, Path(outer) / str(each)) for each in DEVICES_OF_A_SHARD],
            "bundle": bundle_figures(DEVICES_OF_A_BUNDLED_SHARD, Path(outer) / "bundle"),
            "scheduler": scheduler_figures(Path(outer) / "scheduler"),
        }
    FIGURES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
