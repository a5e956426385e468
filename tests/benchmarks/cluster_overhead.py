"""What a cluster costs over a plain run: python tests/benchmarks/cluster_overhead.py [DEVICES_OF_A_SHARD].

The same fleet, cut into the same shards, by two threads of one process and by two workers, in turns, start-up left
out: all processes are warm. The merge and the report are in both. Each worker does several shards, as in a real run:
memory of processes that are idle goes back to a virtual machine's host, and the first shard after that pays for it.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from fleetswap.execution.work import publish_answer
from fleetswap.fleet.fleet_directory import FleetWriter
from fleetswap.fleet.shard import warm_up
from fleetswap.job.plan import plan_fleet
from fleetswap.job.storage import Storage
from fleetswap.scenario.file import load_fleet_scenario
from fleetswap.staging import flush
from fleetswap.workload.lay_out import lay_out
from fleetswap_cluster.clusters import muster, open_cluster
from fleetswap_kernels.backend.cpu.state import CpuBackend
from tests.cluster.begun import begin
from tests.fleet.shards import run_shards

ROUNDS = 4
WORKERS = 2
SHARDS = 3 * WORKERS


def cpu_s(processes: list[int]) -> float:
    """Time that processes have computed so far."""
    times = [psutil.Process(process).cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)


def main(each: int) -> None:
    """Print seconds of both ways, and their ratio."""
    scenario = load_fleet_scenario("phones", devices=SHARDS * each)
    laid_out = lay_out(scenario)
    both = CpuBackend(WORKERS)
    warm_up(laid_out, both)
    outer = Path(tempfile.mkdtemp())

    def plainly(folder: Path) -> None:
        folder.mkdir()
        writer = FleetWriter(folder, laid_out)
        writer.add_all(run_shards(laid_out, plan_fleet([laid_out], shards=SHARDS).pieces, both))
        writer.finish()
        flush(folder)

    with open_cluster("local", WORKERS) as client:
        crew = muster(client, scenario)
        processes = [os.getpid(), *client.run(os.getpid).values()]

        def on_cluster(folder: Path) -> None:
            with begin(Storage(folder), plan_fleet([laid_out], shards=SHARDS, about={"kind": "run"})) as job:
                publish_answer(job, job.work(crew))

        ways: dict[str, Callable[[Path], None]] = {"plain": plainly, "cluster": on_cluster}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for i in range(ROUNDS + 1):
            for name in ways if i % 2 else reversed(ways):
                cpu, wall = cpu_s(processes), time.perf_counter()
                ways[name](outer / f"{name}{i}")
                # The first round loads what is loaded once.
                if i:
                    found[name].append((cpu_s(processes) - cpu, time.perf_counter() - wall))
    shutil.rmtree(outer)
    for k, kind in enumerate(("CPU", "wall")):
        middle = {name: statistics.median(one[k] for one in told) for name, told in found.items()}
        spread = " ".join(f"{b[k] / a[k] - 1:+.1%}" for a, b in zip(*found.values(), strict=True))
        ratio = middle["cluster"] / middle["plain"] - 1
        print(f"{kind}: plain {middle['plain']:.2f} s, cluster {middle['cluster']:.2f} s, {ratio:+.1%} ({spread})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
