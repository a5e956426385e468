"""Worker: simulates one shard and commits it; safe to be killed at any moment, and to do the same twice."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from functools import lru_cache

from fleetswap.engine import Progress, no_progress
from fleetswap.errors import InputError
from fleetswap.fleet import run_shard, warm_up
from fleetswap.workload.phones import PhonePlan
from fleetswap.workload.phones import plan as lay_out

from .checkpoint import Checkpoint
from .installation import Installation, installation, one_at_a_time
from .ledger import Ledger, Record
from .plan import Plan
from .storage import Storage

CHECKPOINT_S = 300.0
"""Seconds of work that a killed worker may lose, besides the step it is in."""


class WrongWorkerError(Exception):
    """A worker has another installation than the driver, or does not see the run directory."""


@dataclass(frozen=True)
class Order:
    """What a worker is told to do; small, since a scheduler carries many. The plan it reads from the ledger, once.

    Parameters
    ----------
    run : str
        URL of the run directory.
    plan : str
        Hash of the plan.
    number : int
        The task.
    installation : Installation
        What the worker must have.
    threads : int
        Threads that share the devices.
    backend : str
        Which computes: "cpu" or "cuda".
    checkpoint_s : float
        Seconds between two states of a task under way.
    """

    run: str
    plan: str
    number: int
    installation: Installation
    threads: int = 1
    backend: str = "cpu"
    checkpoint_s: float = CHECKPOINT_S


def simulate(order: Order, progress: Progress = no_progress) -> Record:
    """Do a task: simulate its devices, write their files, then the record.

    Raises
    ------
    WrongWorkerError
        If this worker cannot take part in the run.
    BrokenDeviceError, StorageError
    """
    started = time.perf_counter()
    differences = order.installation.differences(installation().told())
    if differences:
        raise WrongWorkerError(f"{worker_name()} has {', '.join(differences)}")
    ledger = Ledger(Storage(order.run))
    plan, layouts = _read_plan(order.run, order.plan)
    task = plan.task(order.number)
    keeper = Checkpoint(ledger.storage, order.plan, order.number, order.checkpoint_s)
    result = run_shard(
        plan.scenarios[task.policy], layouts[task.policy], task.shard, order.threads, progress, plan.check, keeper
    )
    record = ledger.commit(plan, order.number, result, time.perf_counter() - started, worker_name())
    keeper.drop()
    return record


@lru_cache(maxsize=1)
def _read_plan(run: str, plan_digest: str) -> tuple[Plan, tuple[PhonePlan, ...]]:
    """The plan of a run and the layout of its scenarios; kernels are compiled, or loaded."""
    try:
        plan, _ = Ledger(Storage(run)).plan()
    except InputError as error:
        raise WrongWorkerError(f"{worker_name()}: {error}") from None
    if plan.digest != plan_digest:
        raise WrongWorkerError(f"{worker_name()} finds another plan in {run}; is that the folder the driver sees?")
    layouts = tuple(lay_out(scenario) for scenario in plan.scenarios)
    with one_at_a_time():
        warm_up(layouts[0])
    return plan, layouts


def worker_name() -> str:
    """Machine and process."""
    return f"{socket.gethostname()}:{os.getpid()}"
