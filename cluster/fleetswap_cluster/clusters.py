"""Clusters: what ``--cluster`` may name, opened and closed; and whether all of its workers can take part in a run."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from fleetswap.errors import InputError
from fleetswap.fleet.shard import warm_up
from fleetswap.job.installation import Installation, installation
from fleetswap.job.worker import own_backend
from fleetswap.scenario.kinds import AnyScenario
from fleetswap.workload.lay_out import lay_out
from fleetswap_kernels.backend.cores import usable_cores
from fleetswap_kernels.backend.extras import PIP_INSTALL, install_command

from .dask_crew import DaskCrew
from .scheduler import ClusterError, answering, ask

if TYPE_CHECKING:
    from distributed import Client

KINDS = ("local", "cuda", "slurm", "kubernetes")
ADDRESSES = ("tcp://", "tls://", "ws://", "wss://", "ucx://")
BACKENDS = {"local": "cpu", "cuda": "cuda"}
"""What workers that are started here compute on: there is one for each core, or for each GPU."""
ALONE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Libraries start no threads in a worker: those that share devices are the arena's."""
CONNECT_S = 60.0
"""Seconds to wait for a scheduler, and then for its first worker."""
SETTINGS = {
    # Results go to the storage, not through workers' memory: nothing there is worth a disk.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    # Dask has memory trimmed at once, for programs that let some of it go: here each step would ask for the same again.
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(ALONE, 1),
    # Dask looks at itself 50 times a second and at the stack of a task 100 times: 4 % of a core for each worker.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "2s",
    "distributed.worker.memory.monitor-interval": "1s",
    # A worker that does not speak for so long is given up.
    "distributed.scheduler.worker-ttl": "60s",
}


def check_name(name: str) -> None:
    """Refuse what no cluster is called.

    Raises
    ------
    InputError
        Also if a package is missing.
    """
    from importlib.util import find_spec

    if name not in KINDS and not name.startswith(ADDRESSES):
        raise InputError(f"--cluster {name}: is not possible; allowed are {', '.join(KINDS)}, tcp://HOST:PORT")
    needed = {"cuda": "dask_cuda", "slurm": "dask_jobqueue", "kubernetes": "dask_kubernetes"}.get(name, "distributed")
    for module in ("distributed", needed):
        if find_spec(module) is None:
            own = f"{PIP_INSTALL} {module.replace('_', '-')}"
            command = install_command("cluster") if module == "distributed" else own
            raise InputError(f"--cluster {name}: {module} is not installed: {command}")


def backend_on(cluster: str | Client, backend: str) -> str:
    """The backend that workers of a cluster open when this one is asked for.

    Raises
    ------
    InputError
        If the cluster is for another.
    """
    cluster_backend = BACKENDS.get(cluster) if isinstance(cluster, str) else None
    if cluster_backend and backend not in ("auto", cluster_backend):
        raise InputError(f"--backend {backend}: is not for --cluster {cluster}; allowed are auto, {cluster_backend}")
    return cluster_backend or backend


@contextlib.contextmanager
def open_cluster(cluster: str | Client, workers: int | None = None, threads: int = 1) -> Iterator[Client]:
    """A client of a cluster, with its workers started; closed at the end, unless the caller brought it.

    Parameters
    ----------
    cluster : str or distributed.Client
        One of `KINDS`, or the address of a scheduler.
    workers : int, optional
        How many to start, or to wait for; one per usable core, per GPU, or what there is, by default.
    threads : int
        Threads of each that is started here.

    Raises
    ------
    InputError
        If it cannot be used.
    ClusterError
        If it does not answer, or no worker comes.
    """
    import dask
    import distributed

    if not isinstance(cluster, str):
        yield cluster
        return
    check_name(cluster)
    # What workers that were killed leave in the log is no news: the dispatcher reports what matters.
    for name in ("distributed", "distributed.client"):  # which Dask gives a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with dask.config.set(SETTINGS), contextlib.ExitStack() as stack:
        if cluster in KINDS:
            started = stack.enter_context(_start(cluster, workers, threads))
            client = stack.enter_context(distributed.Client(started))
        else:
            try:
                client = stack.enter_context(distributed.Client(cluster, timeout=CONNECT_S))
            except (OSError, TimeoutError, ValueError) as error:
                raise ClusterError(f"--cluster {cluster}: no scheduler answers ({error}); start one") from None
        # Who queues for workers begins with the first: the others join.
        queued = cluster in ("slurm", "kubernetes")
        wanted = 1 if queued else workers or 1
        with answering(client):
            try:
                client.wait_for_workers(wanted, timeout=None if queued else CONNECT_S)
            except TimeoutError:
                count = len(client.scheduler_info(n_workers=-1)["workers"])
                raise ClusterError(
                    f"--cluster {cluster}: {count} workers after {CONNECT_S:.0f} s, {wanted} are wanted; start more"
                ) from None
        yield client


def _start(cluster: str, workers: int | None, threads: int) -> Any:
    """A cluster that lives as long as the run."""
    import dask

    if cluster == "local":
        from distributed import LocalCluster

        return LocalCluster(
            n_workers=workers or max(usable_cores() // threads, 1),
            threads_per_worker=1,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
            env=worker_environment(threads),
            preload=["fleetswap_cluster.interrupts"],
        )
    if cluster == "cuda":
        from dask_cuda import LocalCUDACluster

        return LocalCUDACluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0")
    if cluster == "slurm":
        from dask_jobqueue import SLURMCluster

        site = dask.config.get("jobqueue.slurm")
        if not site["cores"] or not site["memory"]:
            raise InputError(
                "--cluster slurm: no site is described; copy cluster/recipes/jobqueue.yaml to ~/.config/dask/, edit it"
            )
        started = SLURMCluster(scheduler_options={"dashboard_address": ":0"})
    else:
        if not dask.config.get("kubernetes.custom-cluster-spec", None):
            raise InputError(
                "--cluster kubernetes: no cluster is described; set "
                "DASK_KUBERNETES__CUSTOM_CLUSTER_SPEC=cluster/recipes/kubernetes.yaml"
            )
        from dask_kubernetes.operator import KubeCluster

        started = KubeCluster()
    started.scale(workers or 1)
    return started


def worker_environment(threads: int) -> dict[str, str]:
    """Environment of workers that are started here: they share compiled kernels with this process."""
    inherited = {name: os.environ[name] for name in ("FLEETSWAP_CACHE_DIR", "PYTHONPATH") if name in os.environ}
    return {**inherited, "NUMBA_NUM_THREADS": str(threads)}


def muster(client: Client, scenario: AnyScenario, threads: int = 1, backend: str = "auto") -> DaskCrew:
    """Compare what all workers have installed with what is installed here, and make their kernels ready.

    Parameters
    ----------
    client : distributed.Client
    scenario : AnyScenario
        What they will simulate.
    threads : int
        Of each task, where the processor computes.
    backend : str
        The name by which each opens its own.

    Raises
    ------
    InputError
        Naming each worker that differs, and in what.
    """
    here = installation()
    wrong = []
    devices: dict[str, dict[str, Any]] = {}
    answers = ask(client, partial(client.run, _present, scenario, backend, threads, on_error="return"))
    with answering(client):
        info = client.scheduler_info(n_workers=-1)["workers"].values()
    for address, answer in answers.items():
        if isinstance(answer, BaseException):
            wrong.append(f"worker {address} cannot take part ({type(answer).__name__}: {answer})")
            continue
        installed, facts = answer
        if here.differences(installed.told()):
            wrong.append(f"worker {address} has {', '.join(here.differences(installed.told()))}")
        devices.setdefault(facts["name"], facts)
    if wrong:
        more = f"; {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise InputError(f"{'; '.join(wrong[:3])}{more}: install the same everywhere")
    slots = sum(worker["nthreads"] for worker in info)
    limits = [worker["memory_limit"] // worker["nthreads"] for worker in info if worker["memory_limit"]]
    return DaskCrew(client, backend, threads, slots, min(limits, default=None), devices)


def _present(scenario: AnyScenario, name: str, threads: int) -> tuple[Installation, dict[str, Any]]:
    """What a worker has installed, and facts of its backend; it can read a scenario's files, its kernels are ready."""
    laid_out = lay_out(scenario)
    backend = own_backend(name, threads)
    warm_up(laid_out, backend)
    return installation(), {"backend": backend.name, **backend.facts()}
