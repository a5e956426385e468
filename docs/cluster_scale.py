"""Prints the tables of docs/cluster.md from measured figures of shards; nothing is simulated here.

python docs/cluster_scale.py

The figures are those of docs/cluster_figures.json, which `python tests/benchmarks/cluster_figures.py` measures anew.
Prices are typed in below, each with its date and where it was read: put in your own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetswap.job.bundles import Bundles
from fleetswap.job.plan import Plan
from fleetswap.scenario.file import load_fleet_scenario

FIGURES = Path(__file__).with_name("cluster_figures.json")
MILLION = 1_000_000
FLEETS = ((MILLION, 300), (MILLION, 2000), (MILLION, 10_000), (10 * MILLION, 10_000), (10 * MILLION, 100_000))
"""Devices, in so many shards."""
WORKERS = (2, 64, 500)
SCHEDULER_SHARE = 0.5
"""Part of one core that a scheduler and its driver may take before workers wait for them: an assumption."""
PRICE_DIGITS = 2


@dataclass(frozen=True)
class Price:
    """What a core costs in the cloud.

    Parameters
    ----------
    machine : str
    cores : float
        Threads of the processor (vCPU) that the price is for.
    dollars_an_hour : float
    day, source : str
        When it was valid, and where it was read.
    """

    machine: str
    cores: float
    dollars_an_hour: float
    day: str
    source: str


UBICLOUD = "`config/billing_rates.yml` of github.com/ubicloud/ubicloud: dollars a core (2 vCPU) and minute"
PRICES = (
    Price("Ubicloud standard, hetzner-fsn1", 2, 0.000604 * 60, "from 2024-08-22", UBICLOUD),
    Price("Ubicloud standard, leaseweb-wdc02", 2, 0.0007725 * 60, "from 2024-05-27", UBICLOUD),
    Price(
        "AWS m7g.large, us-east-1, on demand", 2, 0.0816, "2026-06-17", "a blog (factualminds.com), not AWS's own page"
    ),
)


@dataclass(frozen=True)
class Line:
    """What grows with the devices of a shard: so much for the shard, so much for each device.

    Parameters
    ----------
    shard, device : float
    """

    shard: float
    device: float

    @classmethod
    def through(cls, small: tuple[int, float], large: tuple[int, float]) -> Line:
        """The line through two shards, given by their devices and what they take."""
        device = max(large[1] - small[1], 0.0) / (large[0] - small[0])
        return cls(max(small[1] - device * small[0], 0.0), device)

    def of(self, devices: float, shards: float) -> float:
        """What so many devices in so many shards take."""
        return self.shard * shards + self.device * devices


def fitted(figures: dict[str, Any], part: str) -> Line:
    """The line of one figure."""
    small, large = figures["shards"]
    return Line.through((small["devices"], small[part]), (large["devices"], large[part]))


def stored(figures: dict[str, Any]) -> Line:
    """Bytes of all files of a shard."""
    small, large = ((one["devices"], sum(one["stored_bytes"].values())) for one in figures["shards"])
    return Line.through(small, large)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table of Markdown."""
    names = [*head]
    lines = [names, ["---"] + ["---:"] * (len(names) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def duration(seconds: float) -> str:
    """For people."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes, for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def shard_table(figures: dict[str, Any]) -> str:
    """What was measured."""
    names = [f"{one['devices']} devices" for one in figures["shards"]]
    rows: list[list[str]] = [
        ["simulate and commit, CPU time", *(duration(one["simulate_cpu_s"]) for one in figures["shards"])],
        ["merge, CPU time", *(f"{1000 * one['merge_cpu_s']:.0f} ms" for one in figures["shards"])],
    ]
    rows += [
        [name, *(size(one["stored_bytes"][name]) for one in figures["shards"])]
        for name in figures["shards"][0]["stored_bytes"]
    ]
    return table(["a shard of", *names], rows)


def scheduler_table(figures: dict[str, Any]) -> str:
    """A million shards through one scheduler."""
    task = figures["scheduler"]["cpu_s_of_a_task"]
    work = fitted(figures, "simulate_cpu_s")
    rows = []
    for devices in (100, 500, 1000, 5000):
        shard = work.of(devices, 1)
        most = SCHEDULER_SHARE * shard / task
        rows.append([f"{devices:,}", duration(shard), duration(MILLION * task), f"{most:,.0f}"])
    return table(
        ["devices of a shard", "a shard takes", "scheduler and driver, 1 M shards", "workers one scheduler feeds"], rows
    )


def storage_table(figures: dict[str, Any]) -> str:
    """Bytes and objects."""
    line = stored(figures)
    large = figures["shards"][-1]
    each = large["run_directory_bytes"]["devices.parquet"] / large["run_devices"]
    rows = []
    for devices, shards in FLEETS:
        rows.append(
            [
                f"{devices:,} in {shards:,}",
                size(line.of(devices, shards)),
                f"{3 * shards:,}",
                size(each * devices),
            ]
        )
    return table(["devices in shards", "`unfinished/`, until the merge", "objects", "`devices.parquet`"], rows)


@dataclass(frozen=True)
class Merge:
    """CPU seconds of a merge.

    Parameters
    ----------
    bundles : int
        That workers make of the shards; 0 if they make none.
    alone, workers, driver : float
        Of the driver alone; with bundles, of all workers together and of the driver.
    """

    bundles: int
    alone: float
    workers: float
    driver: float


def merged(figures: dict[str, Any], devices: int, shards: int) -> Merge:
    """What merging takes."""
    line, one = fitted(figures, "merge_cpu_s"), figures["bundle"]
    bundles = Bundles(Plan((load_fleet_scenario(figures["scenario"], devices=devices),), shards))
    alone = line.of(devices, shards)
    if not bundles.worthwhile:
        return Merge(0, alone, 0.0, alone)
    # A worker reads and adds up as the driver does, and writes a bundle.
    more = one["worker_cpu_s"] / line.of(one["shards"] * one["devices_of_a_shard"], one["shards"])
    return Merge(len(bundles), alone, more * alone, line.of(devices, len(bundles)))


def merge_table(figures: dict[str, Any]) -> str:
    """CPU time of the merge, alone and with bundles."""
    rows = []
    for devices, shards in FLEETS:
        merge = merged(figures, devices, shards)
        with_bundles = [f"{merge.bundles:,}", duration(merge.workers), duration(merge.driver)]
        rows.append(
            [f"{devices:,} in {shards:,}", duration(merge.alone), *(with_bundles if merge.bundles else 3 * ["-"])]
        )
    return table(["devices in shards", "one process", "bundles", "all workers together", "then the driver"], rows)


def core_hours(figures: dict[str, Any], devices_of_a_shard: int) -> float:
    """CPU hours of a million device-days: simulation, commit, merge and scheduling."""
    shards = MILLION // devices_of_a_shard
    merge = merged(figures, MILLION, shards)
    tasks = (shards + merge.bundles) * figures["scheduler"]["cpu_s_of_a_task"]
    return (fitted(figures, "simulate_cpu_s").of(MILLION, shards) + merge.workers + merge.driver + tasks) / 3600


def cost_table(figures: dict[str, Any], devices_of_a_shard: int = 1000) -> str:
    """Dollars of a million device-days."""
    hours = core_hours(figures, devices_of_a_shard)
    rows = []
    for price in PRICES:
        core = price.dollars_an_hour / price.cores
        rows.append([price.machine, f"{core:.5f}", f"{hours * core:.{PRICE_DIGITS}f}", price.day, price.source])
    head = ["machine", "$ a vCPU and hour", "$ a million device-days", "price of", "read in"]
    told = f"A million device-days in shards of {devices_of_a_shard:,} devices: {hours:.1f} CPU hours."
    return f"{told}\n\n{table(head, rows)}"


def wall_table(figures: dict[str, Any], devices_of_a_shard: int = 1000) -> str:
    """How long a million device-days take on so many workers."""
    shards = MILLION // devices_of_a_shard
    work, merge = fitted(figures, "simulate_cpu_s").of(MILLION, shards), merged(figures, MILLION, shards)
    rows = [
        [f"{n:,}", duration(work / n), duration(merge.workers / min(n, merge.bundles)), duration(merge.driver)]
        for n in WORKERS
    ]
    return table(["workers, a core each", "simulating", "merging bundles", "then the driver"], rows)


SECTIONS = (shard_table, scheduler_table, storage_table, merge_table, wall_table, cost_table)


def main() -> None:
    """Print every table."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    print("\n\n".join(section(figures) for section in SECTIONS))


if __name__ == "__main__":
    main()
