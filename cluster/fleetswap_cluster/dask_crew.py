"""The crew of a Dask cluster: its workers do the tasks of a job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from fleetswap.fleet.pieces import Progress
from fleetswap.job.crew import Report
from fleetswap.job.ledger import Ledger, Record
from fleetswap.job.plan import Tasks
from fleetswap.job.worker import Order, own_backend

from .dispatcher import Dispatcher, Patience, do_here
from .scheduler import ask

if TYPE_CHECKING:
    from distributed import Client

MEMORY_SHARE = 4
"""Devices of a task take at most this part of memory: a checkpoint, counters and the program need the rest."""


@dataclass(frozen=True)
class DaskCrew:
    """The workers of a cluster (`clusters.muster`).

    Parameters
    ----------
    client : distributed.Client
    backend : str
        Each opens it by this name.
    threads, slots : int
        Threads of each, and tasks of all at the same time.
    memory_bytes : int or None
        Memory for each task; None without a limit.
    devices : mapping of str to mapping
        Facts of a backend by its device: the first worker's of those that have such a device.
    patience : Patience
    """

    client: Client
    backend: str
    threads: int
    slots: int
    memory_bytes: int | None
    devices: Mapping[str, Mapping[str, Any]]
    patience: Patience = field(default_factory=Patience)

    def at_once(self, device_bytes: int) -> int:
        """How many devices the memory of every worker holds."""
        question = partial(self.client.run, _at_once, self.backend, self.threads, device_bytes)
        device_counts: dict[str, int] = ask(self.client, question)
        limit = [self.memory_bytes // MEMORY_SHARE // device_bytes] if self.memory_bytes else []
        return max(min([*device_counts.values(), *limit]), 1)

    def facts(self) -> dict[str, Any]:
        """Of the workers that were there at the start."""
        return {"threads": self.threads, "slots": self.slots, "devices": dict(self.devices)}

    def work(
        self, orders: Iterable[Order], ledger: Ledger, tasks: Tasks, progress: Progress, report: Report
    ) -> Iterator[Record]:
        """Do tasks as workers are free; the progress is told as each is done. See `Crew.work`."""
        do = partial(do_here, backend=self.backend, threads=self.threads)
        return Dispatcher(self.client, do, ledger, tasks, progress, report, self.patience).work(orders)


def _at_once(backend: str, threads: int, device_bytes: int) -> int:
    """How many devices the memory of this worker holds."""
    return own_backend(backend, threads).devices_at_once(device_bytes)
