"""Who works for a command: options that name a cluster, its workers made ready, and how a job is worked off."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .backend import opened
from .progress import prepare

if TYPE_CHECKING:
    from fleetswap.job.crew import Crew
    from fleetswap.job.job import Job

    from ..console import Console
    from ..scenario.model import FleetScenario

Command = TypeVar("Command", bound=Callable[..., Any])
Merged = TypeVar("Merged")


def cluster_options(command: Command) -> Command:
    """Options of commands that can work on a cluster, or go on with what is not finished."""
    options = (
        click.option(
            "--resume", metavar="DIR", help="Go on with an unfinished directory; nothing that is done is done again."
        ),
        click.option(
            "--cluster",
            metavar="local|cuda|slurm|kubernetes|tcp://HOST:PORT",
            help="Work on a Dask cluster.  [default: in this process]",
        ),
        click.option(
            "--workers", type=click.IntRange(1), help="Workers of the cluster  [default: one per usable core or GPU]"
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def refuse_with_resume(names: Sequence[str]) -> None:
    """Refuse options whose values a run directory has already.

    Raises
    ------
    InputError
    """
    from click.core import ParameterSource

    from ..errors import InputError

    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in names and context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            word = parameter.opts[0] if parameter.opts[0].startswith("-") else name.upper()
            raise InputError(
                f"{word}: is in the directory of --resume; allowed are --cluster, --workers, --backend, --threads"
            )


@contextlib.contextmanager
def open_crew(
    cluster: str | None,
    workers: int | None,
    backend: str,
    threads: int | None,
    scenarios: Sequence[FleetScenario],
    err: Console,
) -> Iterator[Crew]:
    """Workers with the same installation as here and with kernels ready; without a cluster it is this process.

    Parameters
    ----------
    scenarios : sequence of FleetScenario
        What they will simulate: one that cannot be laid out, or whose files they cannot read, is refused here.

    Raises
    ------
    InputError
        If the cluster or the backend cannot be used.
    """
    from fleetswap.job.crew import Alone

    from ..errors import InputError
    from ..fleet.shard import warm_up
    from ..workload.phones import plan

    laid_out = [plan(scenario) for scenario in scenarios]
    if cluster is None:
        if workers:
            raise InputError("--workers: needs --cluster; for threads of this process there is --threads")
        chosen = opened(backend, threads, err)
        yield Alone(chosen, prepare(err, lambda: warm_up(laid_out[0], chosen.backend)))
        return
    from fleetswap_cluster.clusters import backend_on, check_name, muster, open_cluster
    from fleetswap_kernels.backend.cores import usable_cores

    check_name(cluster)
    backend = backend_on(cluster, backend)
    each = threads or (max(usable_cores() // workers, 1) if cluster == "local" and workers else 1)
    err.print(f"opening cluster {cluster} ...")
    started = time.perf_counter()
    with open_cluster(cluster, workers, each) as client:
        err.print(f"dashboard: {client.dashboard_link}")
        crew = muster(client, scenarios[0], each, backend)
        for name, facts in crew.devices.items():
            err.print(f"backend {facts['backend']}: {name}")
        memory = f", {crew.memory_bytes / (1 << 30):.1f} GiB each" if crew.memory_bytes else ""
        err.print(
            f"{crew.slots} shard(s) at a time, {each} thread(s){memory}; versions equal, kernels ready after "
            f"{time.perf_counter() - started:.1f} s"
        )
        yield crew


def work_off(job: Job, crew: Crew, err: Console, merge: Callable[[Mapping[str, Any]], Merged]) -> Merged:
    """Do all tasks of a job with a bar, then merge with the facts of the work."""
    from ..console import progress_bar

    plan = job.plan
    first = plan.scenarios[0]

    def work() -> Mapping[str, Any]:
        with progress_bar(err, "device-steps", first.days * first.steps_per_day) as progress:
            task = progress.add_task("simulating", total=plan.device_steps)
            return job.work(
                crew,
                lambda steps: progress.advance(task, steps),
                err.print,
            )

    return job.complete(work, merge)
