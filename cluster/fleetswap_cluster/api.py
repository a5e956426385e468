"""The Python interface: a fleet run on a Dask cluster, by its name, its address, or the client that one has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fleetswap.api import RunResult, Scenario
from fleetswap.job.job import Job, claim, unfinished
from fleetswap.job.merge import merge_run
from fleetswap.job.plan import plan_fleet
from fleetswap.job.storage import Storage

from .clusters import muster, open_cluster

if TYPE_CHECKING:
    from os import PathLike

    from distributed import Client

    from fleetswap.job.crew import Crew


def run(
    scenario: Scenario | str,
    out: str | PathLike[str],
    cluster: Client | str = "local",
    workers: int | None = None,
    threads: int = 1,
    shards: int = 0,
) -> RunResult:
    """Simulate a fleet on a cluster.

    Parameters
    ----------
    scenario : Scenario or str
        A scenario, or what `Scenario.load` takes.
    out : path
        Run directory, which all workers see under this name.
    cluster : distributed.Client or str
        A client, "local", "cuda", "slurm", "kubernetes", or the address of a scheduler.
    workers, threads, shards : int
        Workers to start or wait for, threads of each task, and pieces of the fleet; results do not depend on them.

    Raises
    ------
    InputError
        If something cannot be used, or the cluster is lost: `resume` then goes on.
    """
    fleet = (scenario if isinstance(scenario, Scenario) else Scenario.load(scenario)).fleet
    with claim(Storage(out)) as start, open_cluster(cluster, workers, threads) as client:
        crew = muster(client, fleet, threads)
        plan = plan_fleet([fleet], crew.at_once, crew.slots, shards, about={"kind": "run", "seed": fleet.seed})
        _complete(start(plan), crew)
    return RunResult.open(out)


def resume(
    out: str | PathLike[str], cluster: Client | str = "local", workers: int | None = None, threads: int = 1
) -> RunResult:
    """Go on with a run that did not finish; see `run`."""
    with unfinished(Storage(out), "run") as job:
        if job is not None:
            with open_cluster(cluster, workers, threads) as client:
                _complete(job, muster(client, job.plan.scenarios[0], threads))
    return RunResult.open(Path(out))


def _complete(job: Job, crew: Crew) -> None:
    job.complete(lambda: job.work(crew), lambda facts: merge_run(job, {**job.plan.about, **facts}))
