"""Crew: who does the tasks of a job, this process or the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from fleetswap.engine import Progress

from .dispatcher import Dispatcher, Patience, Report, print_nothing
from .ledger import Ledger, Record
from .worker import Order, simulate

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Alone", "Crew", "DaskCrew", "Report", "print_nothing"]


class Crew(Protocol):
    """Who does tasks."""

    @property
    def slots(self) -> int:
        """Tasks that run at the same time."""

    @property
    def memory_bytes(self) -> int | None:
        """Memory for each of them; None without a limit."""

    @property
    def threads(self) -> int:
        """Threads of each of them."""

    def work(self, orders: Iterable[Order], ledger: Ledger, progress: Progress, report: Report) -> Iterator[Record]:
        """Do tasks in any order; the record of each as it is done."""


@dataclass(frozen=True)
class Alone:
    """Only this process: one task after the other.

    Parameters
    ----------
    threads : int
    """

    threads: int
    slots: int = 1
    memory_bytes: int | None = None

    def work(
        self,
        orders: Iterable[Order],
        ledger: Ledger,  # noqa: ARG002 (signature of a crew)
        progress: Progress,
        report: Report,  # noqa: ARG002
    ) -> Iterator[Record]:
        """Do tasks in their order; the progress is told within each."""
        for order in orders:
            yield simulate(order, progress)


@dataclass(frozen=True)
class DaskCrew:
    """The workers of a cluster (`clusters.muster`).

    Parameters
    ----------
    client : distributed.Client
    slots, memory_bytes, threads
        See `Crew`.
    patience : Patience
    """

    client: Client
    slots: int
    memory_bytes: int | None
    threads: int
    patience: Patience = field(default_factory=Patience)

    def work(self, orders: Iterable[Order], ledger: Ledger, progress: Progress, report: Report) -> Iterator[Record]:
        """Do tasks as workers are free; the progress is told as each is done."""
        return Dispatcher(self.client, ledger, progress, report, self.patience).work(orders)
