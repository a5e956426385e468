"""Runs a scenario: shards of devices, both policies, counters folded into integer histograms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.arena import Arena, device_bytes
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.contract import Backend, DeviceMemoryError
from fleetswap_kernels.layout import counters

from ..errors import InputError
from ..scenario.experiments import POLICIES, AllocatorTest, Scenario
from ..workload.allocator_test import Plan, plan
from .exact_series import METRICS, Series

Result = TypeVar("Result")
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


class Fit:
    """Simulates shards in pieces that fit the backend's memory.

    A shard that does not fit is halved, and so are those after it: nobody else may have freed memory by then.
    """

    def __init__(self) -> None:
        self._most: int | None = None

    def run(
        self, shard: Shard, simulate: Callable[[Shard, Progress], Result], progress: Progress = no_progress
    ) -> Iterator[Result]:
        """Results of a shard's pieces, in the order of their devices.

        Parameters
        ----------
        shard : Shard
        simulate : function of (Shard, Progress)
            What is done with each piece.
        progress : Progress
            Told of pieces; what a piece did before memory ran out is taken back.

        Raises
        ------
        DeviceMemoryError
            If not even one device fits.
        """
        n = shard.end - shard.first
        if self._most is None or n <= self._most:
            done = 0

            def count(steps: int) -> None:
                nonlocal done
                done += steps
                progress(steps)

            try:
                result = simulate(shard, count)
            except DeviceMemoryError:
                if n == 1:
                    raise
                self._most = n // 2
                progress(-done)
            else:
                yield result
                return
        middle = shard.first + -(-n // 2)
        for first, end in ((shard.first, middle), (middle, shard.end)):
            yield from self.run(Shard(shard.number, first, end), simulate, progress)


def plan_shards(scenario: Scenario, shards: int = 0, backend: Backend = ONE_THREAD) -> list[Shard]:
    """Cut a fleet into ranges of devices; results do not depend on how."""
    n = scenario.devices
    if shards == 0:
        shards = -(-n // backend.devices_at_once(device_bytes(plan(scenario.test).blueprint.sizes)))
    return cut(n, shards)


def cut(devices: int, shards: int) -> list[Shard]:
    """Cut a number of devices into at most so many ranges, as equal as can be."""
    if shards < 1:
        raise InputError(f"shards: {shards} is not possible; allowed are 1 and more")
    shards = min(shards, devices)
    return [piece(devices, shards, number) for number in range(shards)]


def piece(devices: int, shards: int, number: int) -> Shard:
    """One of the ranges that `cut` makes, without the others."""
    return Shard(number, devices * number // shards, devices * (number + 1) // shards)


def steps_of(scenario: Scenario) -> int:
    """Steps of one device: the warm-up and every iteration, under each policy."""
    return len(POLICIES) * (scenario.test.iterations + 1)


def run_shard(scenario: Scenario, shard: Shard, backend: Backend, progress: Progress) -> ShardResult:
    """Simulate the devices of a shard under every policy.

    Parameters
    ----------
    scenario : Scenario
    shard : Shard
        Range of devices, which fits the backend's memory.
    backend : Backend
        What the kernels run on.
    progress : Progress
        Called with device-steps as they are done.
    """
    result = ShardResult(shard)
    for policy in POLICIES:
        workload = plan(scenario.policy(policy))
        started = time.perf_counter_ns()
        arena = Arena([(workload.blueprint, shard.end - shard.first)], first_id=shard.first, backend=backend)
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
        arena.release()
    return result


def fold_step(series: Series, policy: str, step: int, workload: Plan, change: npt.NDArray[np.int64]) -> None:
    """Add what one step changed in every device's counters to the histograms.

    Parameters
    ----------
    series : Series
        Histograms that the devices are added to.
    policy : str
        One of `POLICIES`.
    step : int
        The iteration, from 1.
    workload : Plan
        Its folio order says which counters by size are read.
    change : int64 array of shape (devices, counters.N_COUNTERS)
        Counters after the step, less those before it.
    """
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
    scenario: Scenario, shards: list[Shard], backend: Backend, progress: Progress = no_progress
) -> Iterator[ShardResult]:
    """Simulate shards one after the other, in pieces that fit memory.

    Parameters
    ----------
    scenario : Scenario
    shards : list of Shard
        In the order of devices.
    backend : Backend
        What the kernels run on.
    progress : Progress
        Called with device-steps as they are done; those of a piece that did not fit are taken back.
    """
    fit = Fit()
    for shard in shards:
        yield from fit.run(shard, lambda piece, count: run_shard(scenario, piece, backend, count), progress)


def warm_up(backend: Backend = ONE_THREAD) -> int:
    """Compile the kernels, or load them from the cache folder; nanoseconds it took."""
    started = time.perf_counter_ns()
    tiny = plan(AllocatorTest(region_mib=1, zram_mib=2, swapin_mib=0, dontneed_mib=0, iterations=1))
    arena = Arena([(tiny.blueprint, 1)], backend=backend)
    arena.init()
    arena.run(tiny.program, 0, len(tiny.program))
    return time.perf_counter_ns() - started
