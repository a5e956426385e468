"""Workforce: who is to do the tasks of a job, this process or a cluster; made ready before the first task."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError
from ..fleet.backend import open_backend
from ..fleet.shard import warm_up
from ..job.crew import Alone, Crew
from ..workload.laid_out import LaidOut
from .display import Display

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class Workforce:
    """Who is to work, as a user says it. Results do not depend on it.

    Parameters
    ----------
    cluster : str or distributed.Client, optional
        A Dask cluster: "local", "cuda", "slurm", "kubernetes", the address of a scheduler, or a client. By default it
        is this process.
    workers : int, optional
        Workers of the cluster to start or wait for; one per usable core or GPU by default.
    backend : str
        "cpu", "cuda", or "auto": a GPU where one can be used.
    threads : int, optional
        CPU threads of each; by default all usable cores, in a cluster one, of a local one of N workers an Nth of them.
    explains_backend : bool
        Whether it is told why a backend was chosen, where nobody asked for one.
    """

    cluster: str | Client | None = None
    workers: int | None = None
    backend: str = "auto"
    threads: int | None = None
    explains_backend: bool = False

    @contextlib.contextmanager
    def ready(self, fleets: Sequence[LaidOut], display: Display) -> Iterator[Crew]:
        """Workers with the same installation as here and with kernels ready.

        Parameters
        ----------
        fleets : sequence of LaidOut
            What they will simulate; one whose files they cannot read is refused here.
        display : Display

        Raises
        ------
        InputError
            If the cluster or the backend cannot be used.
        """
        if self.cluster is not None:
            with self._cluster_ready(self.cluster, fleets, display) as crew:
                yield crew
            return
        if self.workers:
            raise InputError("--workers: needs --cluster; for threads of this process there is --threads")
        chosen = open_backend(self.backend, self.threads)
        display.print(chosen.line(asked=self.explains_backend))
        display.print("preparing kernels (compiled once, then kept) ...")
        ready_s = warm_up(fleets[0], chosen.backend) / 1e9
        display.print(f"kernels ready after {ready_s:.1f} s")
        yield Alone(chosen, ready_s)

    @contextlib.contextmanager
    def _cluster_ready(self, cluster: str | Client, fleets: Sequence[LaidOut], display: Display) -> Iterator[Crew]:
        from fleetswap_cluster.clusters import backend_on, check_name, muster, open_cluster
        from fleetswap_kernels.backend.cores import usable_cores

        if isinstance(cluster, str):
            check_name(cluster)
        backend = backend_on(cluster, self.backend)
        shared = self.workers if cluster == "local" else None
        threads = self.threads or (max(usable_cores() // shared, 1) if shared else 1)
        display.print(f"opening cluster {cluster} ...")
        started = time.perf_counter()
        with open_cluster(cluster, self.workers, threads) as client:
            display.print(f"dashboard: {client.dashboard_link}")
            crew = muster(client, fleets[0].scenario, threads, backend)
            for name, facts in crew.devices.items():
                display.print(f"backend {facts['backend']}: {name}")
            memory = f", {crew.memory_bytes / (1 << 30):.1f} GiB each" if crew.memory_bytes else ""
            display.print(
                f"{crew.slots} shard(s) at a time, {threads} thread(s){memory}; versions equal, kernels ready after "
                f"{time.perf_counter() - started:.1f} s"
            )
            yield crew
