"""A fleet of phones from its plan to its run directory: begun or resumed, in this process or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click

from .crew import work_off
from .progress import print_warnings

if TYPE_CHECKING:
    from fleetswap.job.crew import Crew
    from fleetswap.job.job import Job

    from ..console import Console
    from ..scenario.model import FleetScenario

    OpenCrew = Callable[[Sequence[FleetScenario], Console], AbstractContextManager[Crew]]

KIND = "run"


def begin_fleet(
    scenario: FleetScenario,
    shards: int,
    check: bool,
    folder: str,
    about: Mapping[str, Any],
    open_crew: OpenCrew,
    err: Console,
) -> dict[str, Any]:
    """Simulate a fleet into a new run directory; its summary."""
    from fleetswap.job.job import claim
    from fleetswap.job.plan import plan_fleet
    from fleetswap.job.storage import Storage

    with claim(Storage(folder)) as start, open_crew([scenario], err) as crew:
        plan = plan_fleet([scenario], crew.at_once, crew.slots, shards, check, {**about, "kind": KIND})
        return _complete(start(plan), crew, err)


def resume_fleet(folder: str, open_crew: OpenCrew, err: Console) -> dict[str, Any]:
    """Go on with a run; its summary."""
    from fleetswap.job.job import unfinished
    from fleetswap.job.ledger import read_summary
    from fleetswap.job.storage import Storage

    storage = Storage(folder)
    with unfinished(storage, KIND) as job:
        if job is not None:
            with open_crew(job.plan.scenarios, err) as crew:
                return _complete(job, crew, err)
    err.print(f"{folder}: is finished already")
    return read_summary(storage)


def _complete(job: Job, crew: Crew, err: Console) -> dict[str, Any]:
    from fleetswap.job.merge import merge_run

    from ..console import Text
    from ..fleet.shard import BrokenDeviceError, mean_device_bytes
    from ..workload.phones import plan

    scenario = job.plan.scenarios[0]
    print_warnings(err, [scenario])
    laid_out = plan(scenario)
    each = mean_device_bytes(scenario, laid_out)
    processes = max(blueprint.sizes.procs for blueprint in laid_out.blueprints)
    err.print(
        f"{scenario.name}: {scenario.devices:,} devices of up to {processes} processes, about {each:,} bytes each, "
        f"{scenario.days} day(s), {job.plan.shards:,} shard(s), seed {scenario.seed}"
    )
    about = {**job.plan.about, "seed": scenario.seed, "device_bytes": each, "page_scale": scenario.page_scale}
    try:
        return work_off(job, crew, err, lambda facts: merge_run(job, {**about, **facts}))
    except BrokenDeviceError as error:
        err.print(Text.assemble(("FAIL", "bold red"), f" {error}"))
        raise click.exceptions.Exit(1) from None
