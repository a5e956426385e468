"""Runs a scenario: shards of devices, both policies, counters folded into integer histograms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fleetswap_kernels import counters
from fleetswap_kernels.arena import Arena, device_bytes

from .scenario import POLICIES, AllocatorTest, Scenario
from .series import METRICS, Series
from .workload.allocator_test import Plan, plan

SHARD_BYTES = 512 << 20
"""Memory of a shard if the user does not choose their number."""

Progress = Callable[[int], None]
"""Called with a number of device-steps done."""


def no_progress(steps: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Shard:
    """A range of devices of a fleet."""

    number: int
    first: int
    end: int


@dataclass
class ShardResult:
    """What a shard yields: final counters of each device, and histograms by step.

    Parameters
    ----------
    shard : Shard
    counters : dict of str to uint64 array of shape (devices, counters.N_COUNTERS)
        By policy.
    series : Series
    step_ns : int
        Time spent in kernels.
    """

    shard: Shard
    counters: dict[str, npt.NDArray[np.uint64]] = field(default_factory=dict)
    series: Series = field(default_factory=Series)
    step_ns: int = 0


def plan_shards(scenario: Scenario, shards: int = 0) -> list[Shard]:
    """Cut a fleet into ranges of devices; results do not depend on how."""
    n = scenario.devices
    if shards == 0:
        shards = -(-n * device_bytes(plan(scenario.test).blueprint.sizes) // SHARD_BYTES)
    return cut(n, shards)


def cut(devices: int, shards: int) -> list[Shard]:
    """Cut a number of devices into at most so many ranges, as equal as can be."""
    shards = min(shards, devices)
    return [piece(devices, shards, number) for number in range(shards)]


def piece(devices: int, shards: int, number: int) -> Shard:
    """One of the ranges that `cut` makes, without the others."""
    return Shard(number, devices * number // shards, devices * (number + 1) // shards)


def steps_of(scenario: Scenario) -> int:
    """Steps of one device: the warm-up and every iteration, under each policy."""
    return len(POLICIES) * (scenario.test.iterations + 1)


def run_shard(scenario: Scenario, shard: Shard, threads: int, progress: Progress) -> ShardResult:
    """Simulate the devices of a shard under every policy."""
    result = ShardResult(shard)
    for policy in POLICIES:
        workload = plan(scenario.policy(policy))
        started = time.perf_counter_ns()
        arena = Arena([(workload.blueprint, shard.end - shard.first)], first_id=shard.first, threads=threads)
        arena.init()
        arena.run(workload.program, workload.marks[0], workload.marks[1], progress)
        before = arena.counters()
        for step, (first, end) in enumerate(zip(workload.marks[1:], workload.marks[2:], strict=False), 1):
            arena.run(workload.program, first, end, progress)
            after = arena.counters()
            fold_step(result.series, policy, step, workload, (after - before).astype(np.int64))
            before = after
        result.step_ns += time.perf_counter_ns() - started
        result.counters[policy] = before
    return result


def fold_step(series: Series, policy: str, step: int, workload: Plan, change: npt.NDArray[np.int64]) -> None:
    """Add what one step changed in every device's counters to the histograms."""
    columns = {
        "swpout": change[:, counters.mthp_index("swpout", workload.folio_order)],
        "swpout_fallback": change[:, counters.mthp_index("swpout_fallback", workload.folio_order)],
        "pgmajfault": change[:, counters.PGMAJFAULT],
        "pswpin": change[:, counters.PSWPIN],
        "pswpout": change[:, counters.PSWPOUT],
    }
    offered = columns["swpout"] + columns["swpout_fallback"]
    columns["fallback_permyriad"] = columns["swpout_fallback"] * 10_000 // np.maximum(offered, 1)
    for metric in METRICS:
        series.cell(policy, step, metric).add(columns[metric])


def run_shards(
    scenario: Scenario, shards: list[Shard], threads: int, progress: Progress = no_progress
) -> Iterator[ShardResult]:
    """Simulate shards one after the other, each on all threads."""
    for shard in shards:
        yield run_shard(scenario, shard, threads, progress)


def warm_up() -> int:
    """Compile the kernels, or load them from the cache folder; nanoseconds it took."""
    started = time.perf_counter_ns()
    tiny = plan(AllocatorTest(region_mib=1, zram_mib=2, swapin_mib=0, dontneed_mib=0, iterations=1))
    arena = Arena([(tiny.blueprint, 1)])
    arena.init()
    arena.run(tiny.program, 0, len(tiny.program))
    return time.perf_counter_ns() - started
