"""Dispatcher: hands tasks to the workers of a Dask cluster, a bounded number at a time, and survives losing them."""

from __future__ import annotations

import statistics
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fleetswap.fleet.pieces import Progress, no_progress
from fleetswap.fleet.shard import BrokenDeviceError
from fleetswap.job.crew import Report, print_nothing
from fleetswap.job.ledger import CorruptShardError, Ledger, Record
from fleetswap.job.plan import Tasks
from fleetswap.job.storage import FullStorageError
from fleetswap.job.worker import Order, WrongWorkerError, merge, ready_backend, simulate
from fleetswap_kernels.backend.arena import DeviceError

from .scheduler import ClusterError, ask, gone

if TYPE_CHECKING:
    from distributed import Client, Future


@dataclass(frozen=True)
class Patience:
    """How long a cluster is trusted.

    Parameters
    ----------
    per_worker : int
        Tasks in flight for each that can run: the next one is there when one ends, and the scheduler never holds more.
    retries : int
        Times that a task may fail.
    losses : int
        Times that Dask may give a task up, because worker after worker died with it.
    slow_factor, slow_s : float
        A task is slow if it takes so many times the median of the last ones, and at least so many seconds: it is
        reported, and another worker gets a copy. Whoever finishes first counts; both write the same.
    copies : int
        Copies of a task at the same time.
    no_worker_s : float
        Seconds to wait while there is no worker at all.
    answer_s : float
        Seconds to wait for an answer of the scheduler.
    """

    per_worker: int = 2
    retries: int = 3
    losses: int = 10
    slow_factor: float = 5.0
    slow_s: float = 60.0
    copies: int = 3
    no_worker_s: float = 300.0
    answer_s: float = 60.0


@dataclass(frozen=True)
class Refusal:
    """What a worker answers that cannot take part."""

    address: str
    text: str


@dataclass
class _Flight:
    """A task that some worker has."""

    order: Order
    future: Future
    since: float = field(default_factory=time.monotonic)
    reported: bool = False


POLL_S = 0.05
LOOK_S = 2.0
"""Seconds between two looks at the workers."""
LAST = 200
"""Durations that the median is of."""


@dataclass(eq=False)
class Dispatcher:
    """Does tasks on the workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
    do : function of Order
        What a worker does with an order.
    ledger : Ledger
        Where failures are noted.
    tasks : Tasks
        What the orders are of.
    progress : callable
        Called with device-steps done.
    report : callable
        Called with a line that people should see.
    patience : Patience
    """

    client: Client
    do: Callable[[Order], Record | Refusal]
    ledger: Ledger
    tasks: Tasks
    progress: Progress = no_progress
    report: Report = print_nothing
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        self._flying: dict[str, _Flight] = {}
        self._copies: Counter[int] = Counter()
        self._failed: Counter[int] = Counter()
        self._lost: Counter[int] = Counter()
        self._again: deque[Order] = deque()
        self._lasted: deque[float] = deque(maxlen=LAST)
        self._refused: set[str] = set()
        self._slots = 0
        self._most_slots = 0
        self._looked = -LOOK_S
        self._without: float | None = None

    def work(self, orders: Iterable[Order]) -> Iterator[Record]:
        """Do tasks; yields the record of each as it is done.

        Raises
        ------
        ClusterError
            If the scheduler or all workers are gone, or a task failed too often.
        StorageError
            If the storage is full.
        BrokenDeviceError
            If a device is, which no other worker would change.
        CorruptShardError
            If what a merge needs is not what was written.
        """
        from distributed import as_completed

        waiting = iter(orders)
        finished = as_completed([], loop=self.client.loop, with_results=True, raise_errors=False)
        try:
            while True:
                self._look()
                self._fill(waiting, finished)
                if not self._flying:
                    return
                batch = finished.next_batch(block=False)
                for future, result in batch:
                    record = self._landed(future, result)
                    if record is not None:
                        yield record
                if not batch:
                    self._watch(finished)
                    time.sleep(POLL_S)
        finally:
            futures = [flight.future for flight in self._flying.values()]
            if futures and self.client.status == "running":
                self.client.cancel(futures, force=True)
            self._flying.clear()

    def _look(self) -> None:
        """Count the workers, and start lost ones again where they were started here."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        self.progress(0)  # Who counts may end the work, too.
        threads_by_worker = self._ask(self.client.scheduler.ncores)
        self._slots = sum(threads for address, threads in threads_by_worker.items() if address not in self._refused)
        self._most_slots = max(self._most_slots, self._slots)
        if self._slots < self._most_slots and not self._refused:
            start_again(self.client.cluster)
        if self._slots:
            self._without = None
            return
        if self._without is None:
            self._without = now
            self.report(f"no worker: waiting {self.patience.no_worker_s:.0f} s for one")
        elif now - self._without > self.patience.no_worker_s:
            raise ClusterError(f"no worker for {self.patience.no_worker_s:.0f} s; start workers")

    def _ask(self, question: Callable[..., Any], **words: Any) -> Any:
        """An answer of the scheduler."""
        return ask(self.client, question, self.patience.answer_s, **words)

    def _fill(self, waiting: Iterator[Order], finished: Any) -> None:
        """Hand out tasks, first those that are to be done again."""
        while len(self._flying) < max(self.patience.per_worker * self._slots, 1):
            order = self._again.popleft() if self._again else next(waiting, None)
            if order is None:
                return
            self._submit(order, finished)

    def _submit(self, order: Order, finished: Any, workers: list[str] | None = None) -> None:
        # The scheduler answers a key it knows from memory, failures too: every try has its own.
        key = f"shard-{order.number}-{uuid.uuid4().hex[:12]}"
        future = self.client.submit(self.do, order, key=key, pure=False, workers=workers, allow_other_workers=False)
        self._flying[key] = _Flight(order, future)
        self._copies[order.number] += 1
        finished.add(future)

    def _landed(self, future: Future, result: Any) -> Record | None:
        """What came of a task: its record, if it is the first of its copies.

        The state of the future does not matter: it is lost if the worker that held the result has died since.
        """
        flight = self._flying.pop(future.key, None)
        if flight is None:
            return None  # A copy that was slower.
        number = flight.order.number
        self._copies[number] -= 1
        if isinstance(result, Record):
            self._lasted.append(time.monotonic() - flight.since)
            self._drop_copies(number)
            self.progress(self.tasks.steps_of(number))
            return result
        if isinstance(result, Refusal):
            self._send_away(result)
            self._again.append(flight.order)
        elif isinstance(result, tuple):  # type, value and traceback of what it raised
            self._retry(flight.order, result[1])
        else:
            raise gone(self.client)
        return None

    def _send_away(self, refusal: Refusal) -> None:
        """Part with a worker. The last one may stay, to keep what it answered: it gets nothing more to do."""
        if refusal.address not in self._refused:
            self._refused.add(refusal.address)
            self.report(f"worker {refusal.address} is sent away: {refusal.text}")
            self._ask(self.client.scheduler.retire_workers, workers=[refusal.address], close_workers=True, remove=True)

    def _drop_copies(self, number: int) -> None:
        copies = [key for key, flight in self._flying.items() if flight.order.number == number]
        if self._copies.pop(number, 0):
            self.client.cancel([self._flying.pop(key).future for key in copies], force=True)

    def _retry(self, order: Order, error: BaseException) -> None:
        """Do a task again, unless that is of no use.

        Raises
        ------
        Exception
        """
        from distributed import KilledWorker

        number, text = order.number, f"{type(error).__name__}: {error}"
        if isinstance(error, BrokenDeviceError | DeviceError | FullStorageError | CorruptShardError):
            raise error
        if isinstance(error, KilledWorker):
            self._lost[number] += 1
            text = f"workers died with it: {error.last_worker.address} was the last"
        else:
            self._failed[number] += 1
        self.ledger.fail(self.tasks, number, text)
        if self._failed[number] > self.patience.retries or self._lost[number] > self.patience.losses:
            task = self.tasks.task(number)
            raise ClusterError(f"devices {task.shard.first} to {task.shard.end - 1} failed too often: {text}")
        if self._copies[number] == 0:
            self._again.append(order)

    def _watch(self, finished: Any) -> None:
        """Report tasks that take too long, and give copies of them to other workers."""
        if not self._lasted:
            return
        limit = max(self.patience.slow_s, self.patience.slow_factor * statistics.median(self._lasted))
        now = time.monotonic()
        for flight in [f for f in self._flying.values() if not f.reported and now - f.since > limit]:
            flight.reported = True
            number = flight.order.number
            where = [a for a, keys in self._ask(self.client.scheduler.processing).items() if flight.future.key in keys]
            task = self.tasks.task(number)
            self.report(
                f"devices {task.shard.first} to {task.shard.end - 1} take {now - flight.since:.0f} s on "
                f"{where[0] if where else 'no worker'}, others about {statistics.median(self._lasted):.0f} s"
            )
            others = [a for a in self._ask(self.client.scheduler.ncores) if a not in (*where, *self._refused)]
            if others and self._copies[number] < self.patience.copies:
                self._submit(flight.order, finished, others)


def start_again(cluster: Any) -> None:
    """Start planned workers that are gone: Dask itself gives up those that die while they start.

    Parameters
    ----------
    cluster : distributed.deploy.Cluster or None
        Nothing is done with one that others look after, such as Kubernetes' operator.
    """
    from distributed import SpecCluster, Status

    if not isinstance(cluster, SpecCluster):
        return

    def replace() -> None:
        for name, worker in [*cluster.workers.items()]:
            if worker.status in (Status.closed, Status.failed):
                del cluster.workers[name]
        # The plain method: those of subclasses count otherwise, in workers of a job.
        SpecCluster.scale(cluster, len(cluster.worker_spec))

    cluster.loop.add_callback(replace)


def do_here(order: Order, backend: str, threads: int) -> Record | Refusal:
    """Do a task as a worker of Dask, on the backend of this name."""
    from distributed import get_worker

    try:
        ready = ready_backend(order, backend, threads)
        return merge(order) if order.merges else simulate(order, ready)
    except WrongWorkerError as error:
        return Refusal(get_worker().address, str(error))
