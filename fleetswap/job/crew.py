"""Crew: who does the tasks of a job; this process, or the workers of a cluster (`fleetswap_cluster`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ..fleet.backend import Chosen
from ..fleet.pieces import Progress
from .ledger import Ledger, Record
from .plan import Tasks
from .worker import Order, simulate

Report = Callable[[str], None]
"""Called with a line that people should see."""


def print_nothing(line: str) -> None:
    """Tell nobody."""


class Crew(Protocol):
    """Who does tasks."""

    @property
    def slots(self) -> int:
        """Tasks that run at the same time."""

    def at_once(self, device_bytes: int) -> int:
        """How many devices a task should have (`contract.Backend.devices_at_once`)."""

    def facts(self) -> dict[str, Any]:
        """What a manifest tells about them."""

    def work(
        self, orders: Iterable[Order], ledger: Ledger, tasks: Tasks, progress: Progress, report: Report
    ) -> Iterator[Record]:
        """Do tasks in any order; the record of each as it is done.

        Parameters
        ----------
        orders : iterable of Order
            One for each task to do.
        ledger : Ledger
            Of the run directory, guarded by the driver's lock.
        tasks : Tasks
            Shards or bundles that the orders are for.
        progress : Progress
            Called with device-steps as they are done; with 0 it only says that work goes on.
        report : Report
            Called with a line for people: a worker that was lost, a task that is tried again.
        """


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
        return self.chosen.backend.devices_at_once(device_bytes)

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
        """Do tasks in their order; the progress is told within each. See `Crew.work`."""
        for order in orders:
            yield simulate(order, self.chosen.backend, progress, ledger)
