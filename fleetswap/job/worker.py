"""Worker: simulates a shard or merges some, then commits; safe to be killed at any moment, and to do the same twice."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from functools import lru_cache

from fleetswap_kernels.backend.contract import Backend

from ..errors import InputError
from ..fleet.backend import open_backend
from ..fleet.pieces import Fit, Progress, Shard, no_progress
from ..fleet.shard import FleetShard, join, run_shard, warm_up
from .bundles import Bundles
from .checkpoint import Checkpoint
from .installation import Installation, installation
from .ledger import Ledger, Made, Record
from .plan import Plan
from .storage import Storage

CHECKPOINT_S = 300.0
"""Seconds of work that a killed worker may lose, besides the step it is in."""


class WrongWorkerError(Exception):
    """A worker has another installation than the driver, lacks the backend, or does not see the run directory."""


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
    checkpoint_s : float
        Seconds between two states of a task under way.
    merges : bool
        Whether the task is one of the plan's bundles.
    """

    run: str
    plan: str
    number: int
    installation: Installation
    checkpoint_s: float = CHECKPOINT_S
    merges: bool = False


def simulate(order: Order, backend: Backend, progress: Progress = no_progress, ledger: Ledger | None = None) -> Record:
    """Do a task: simulate its devices, write their files, then the record.

    Devices that do not fit the backend's memory are simulated in pieces, which nobody else gets to know of. A driver
    that does its own work gives its ledger, which is guarded.

    Parameters
    ----------
    order : Order
        Names the run directory and the task.
    backend : Backend
        What the kernels run on.
    progress : Progress
        Called with device-steps as they are done.
    ledger : Ledger, optional
        Of the run directory; opened by its URL by default.

    Raises
    ------
    WrongWorkerError
        If this process does not see the run directory.
    BrokenDeviceError, StorageError
    """
    started = time.perf_counter()
    ledger = ledger or Ledger(Storage(order.run))
    plan = _read_plan(order.run, order.plan)
    task = plan.task(order.number)
    fleet = plan.fleets[task.fleet]
    keeper = Checkpoint(ledger.storage, order.plan, order.number, order.checkpoint_s)

    def simulate_piece(piece: Shard, count: Progress) -> FleetShard:
        return run_shard(fleet, piece, backend, count, plan.check, keeper)

    result = join(task.shard, Fit().run(task.shard, simulate_piece, progress))
    made = Made(backend.name, str(backend.facts()["name"]), worker_name(), time.perf_counter() - started)
    record = ledger.commit(plan, order.number, result, made)
    keeper.drop()
    return record


def merge(order: Order) -> Record:
    """Do a merge: read the shards of a bundle, write what they are together, then the record.

    Raises
    ------
    CorruptShardError
        If one of them is not what was written.
    StorageError
    """
    started = time.perf_counter()
    ledger = Ledger(Storage(order.run))
    plan = _read_plan(order.run, order.plan)
    bundles = Bundles(plan)
    members = (ledger.read(plan, number) for number in bundles.members(order.number))
    result = join(bundles.task(order.number).shard, members)
    made = Made("", "", worker_name(), time.perf_counter() - started)
    return ledger.commit(bundles, order.number, result, made)


def ready_backend(order: Order, name: str, threads: int) -> Backend:
    """The backend on which a worker does an order; its kernels are compiled, or loaded.

    Raises
    ------
    WrongWorkerError
        If this worker cannot take part in the run.
    """
    differences = order.installation.differences(installation().told())
    if differences:
        raise WrongWorkerError(f"{worker_name()} has {', '.join(differences)}")
    return _ready_backend(order.run, order.plan, name, threads)


@lru_cache(maxsize=1)
def _ready_backend(run: str, plan_digest: str, name: str, threads: int) -> Backend:
    plan = _read_plan(run, plan_digest)
    backend = own_backend(name, threads)
    warm_up(plan.fleets[0], backend)
    return backend


@lru_cache(maxsize=1)
def own_backend(name: str, threads: int) -> Backend:
    """The backend of this process, opened once.

    Raises
    ------
    WrongWorkerError
        If there is none of that name here.
    """
    try:
        return open_backend(name, threads).backend
    except InputError as error:
        raise WrongWorkerError(f"{worker_name()}: {error}") from None


@lru_cache(maxsize=1)
def _read_plan(run: str, plan_digest: str) -> Plan:
    """The plan of a run, its fleets laid out."""
    try:
        plan, _ = Ledger(Storage(run)).plan()
    except InputError as error:
        raise WrongWorkerError(f"{worker_name()}: {error}") from None
    if plan.digest != plan_digest:
        raise WrongWorkerError(f"{worker_name()} finds another plan in {run}; is that the folder the driver sees?")
    return plan


def worker_name() -> str:
    """Machine and process."""
    return f"{socket.gethostname()}:{os.getpid()}"
