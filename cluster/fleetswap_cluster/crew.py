"""Crew: who does the tasks of a job, this process or the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from fleetswap.backend import Chosen
from fleetswap.engine import Progress

from .dispatcher import Dispatcher, Patience, Report, do_here, print_nothing
from .ledger import Ledger, Record
from .plan import Tasks
from .scheduler import answering
from .worker import Order, own_backend, simulate

if TYPE_CHECKING:
    from distributed import Client

MEMORY_SHARE = 4
"""Devices of a task take at most this part of memory: a checkpoint, counters and the program need the rest."""

__all__ = ["Alone", "Crew", "DaskCrew", "Report", "print_nothing"]


class Crew(Protocol):
    """Who does tasks."""

    @property
    def slots(self) -> int:
        """Tasks that run at the same time."""

    def at_once(self, device_bytes: int) -> int:
        """How many devices a task should have (`launch.Backend.at_once`)."""

    def facts(self) -> dict[str, Any]:
        """What a manifest tells about them."""

    def work(
        self, orders: Iterable[Order], ledger: Ledger, tasks: Tasks, progress: Progress, report: Report
    ) -> Iterator[Record]:
        """Do tasks in any order; the record of each as it is done."""


@dataclass(frozen=True)
class Alone:
    """Only this process: one task after the other.

    Parameters
    ----------
    chosen : Chosen
        Its backend.
    ready_s : float
        Seconds that it took to make the kernels ready: to compile them, or to load them.
    """

    chosen: Chosen
    ready_s: float = 0.0
    slots: int = 1

    def at_once(self, device_bytes: int) -> int:
        """How many devices the backend's memory holds."""
        return self.chosen.backend.at_once(device_bytes)

    def facts(self) -> dict[str, Any]:
        """Of the backend, with what was spent there so far."""
        return {**self.chosen.facts(), "slots": self.slots, "ready_s": self.ready_s}

    def work(
        self,
        orders: Iterable[Order],
        ledger: Ledger,
        tasks: Tasks,  # noqa: ARG002 (signature of a crew)
        progress: Progress,
        report: Report,  # noqa: ARG002
    ) -> Iterator[Record]:
        """Do tasks in their order; the progress is told within each."""
        for order in orders:
            yield simulate(order, self.chosen.backend, progress, ledger)


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
        with answering(self.client):
            found: dict[str, int] = self.client.run(_at_once, self.backend, self.threads, device_bytes)
        limit = [self.memory_bytes // MEMORY_SHARE // device_bytes] if self.memory_bytes else []
        return max(min([*found.values(), *limit]), 1)

    def facts(self) -> dict[str, Any]:
        """Of the workers that were there at the start."""
        return {"threads": self.threads, "slots": self.slots, "devices": dict(self.devices)}

    def work(
        self, orders: Iterable[Order], ledger: Ledger, tasks: Tasks, progress: Progress, report: Report
    ) -> Iterator[Record]:
        """Do tasks as workers are free; the progress is told as each is done."""
        do = partial(do_here, backend=self.backend, threads=self.threads)
        return Dispatcher(self.client, do, ledger, tasks, progress, report, self.patience).work(orders)


def _at_once(backend: str, threads: int, device_bytes: int) -> int:
    """How many devices the memory of this worker holds."""
    return own_backend(backend, threads).at_once(device_bytes)
