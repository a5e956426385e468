"""Job: one run directory from its plan to the finished files, whoever does the work; locked, resumable any time."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import InputError
from ..fleet.fleet_directory import load_writers
from ..fleet.pieces import Progress, no_progress
from ..fleet.shard import FleetShard
from .bundles import Bundles
from .crew import Crew, Report, print_nothing
from .installation import installation
from .ledger import FOLDER, MANIFEST, PLAN, CorruptShardError, Ledger, Record, TakenError, read_object
from .lock import BEATS, Check, LostLockError, run_lock
from .lock import NAME as LOCK
from .plan import Plan, Tasks
from .storage import Storage
from .worker import CHECKPOINT_S, Order

Merged = TypeVar("Merged")


@dataclass(frozen=True)
class Job:
    """A run directory that this process holds.

    Parameters
    ----------
    ledger : Ledger
    plan : Plan
    check : callable
        Refuses to go on once another driver holds it (`lock`).
    """

    ledger: Ledger
    plan: Plan
    check: Check

    def work(
        self,
        crew: Crew,
        progress: Progress = no_progress,
        report: Report = print_nothing,
        checkpoint_s: float = CHECKPOINT_S,
    ) -> dict[str, Any]:
        """Do what is not done yet, and merge neighbours if many workers can; what a manifest tells about who did it.

        Parameters
        ----------
        crew : Crew
            Who does it.
        progress : callable
            Called with device-steps that are done, those done before first.
        report : callable
            Called with lines that people should see.
        checkpoint_s : float
            See `Order`.

        Returns
        -------
        dict
            Facts of the crew; ``backend``, all that computed tasks; ``computed``, how many tasks on what, by whomever.
        """
        made: Counter[tuple[str, str]] = Counter()

        def watched(steps: int) -> None:
            self.check()
            if steps:
                progress(steps)

        for record in self._do(self.plan, crew, watched, report, checkpoint_s):
            made[record.made.backend, record.made.device] += 1
        bundles = Bundles(self.plan)
        if crew.slots > 1 and bundles.worthwhile:
            report(f"merging {bundles.each} shards at a time, on the workers")
            for _ in self._do(bundles, crew, watched, report, checkpoint_s):
                pass
        computed = [{"backend": name, "device": device, "tasks": n} for (name, device), n in sorted(made.items())]
        return {**crew.facts(), "backend": " and ".join(sorted({name for name, _ in made})), "computed": computed}

    def _do(
        self, tasks: Tasks, crew: Crew, progress: Progress, report: Report, checkpoint_s: float
    ) -> Iterator[Record]:
        """Do those of some tasks that are not done yet; the records of all."""
        done: set[int] = set()
        for number, record in self.ledger.done(tasks):
            if record is None:
                self.ledger.forget(tasks.folder, number)
                continue
            done.add(number)
            progress(tasks.steps_of(number))
            yield record
        digest, here = self.plan.digest, installation()
        merges = tasks is not self.plan
        orders = (
            Order(self.ledger.storage.url, digest, number, here, checkpoint_s, merges)
            for number in range(len(tasks))
            if number not in done
        )
        yield from crew.work(orders, self.ledger, tasks, progress, report)

    def results(self) -> Iterator[tuple[int, FleetShard]]:
        """What all devices yielded, in their order, each with the index of its fleet; merged by workers or not.

        Raises
        ------
        CorruptShardError
            If a file is not what was written.
        """
        bundles = Bundles(self.plan)
        return self.ledger.read_all(bundles if self.ledger.all_done(bundles) else self.plan)

    def complete(self, work: Callable[[], Mapping[str, Any]], merge: Callable[[Mapping[str, Any]], Merged]) -> Merged:
        """Do all work, then merge with the facts of it; what the merge finds damaged is done again."""
        while True:
            try:
                return merge(work())
            except CorruptShardError as error:
                self.ledger.forget(error.folder, error.number)


def is_abandoned(storage: Storage) -> bool:
    """Whether a driver was here that ended before its run began: nothing but its lock is left, or less."""
    if storage.is_empty() or not storage.is_empty(but=FOLDER):
        return False
    beats = (name.removeprefix(f"{BEATS}/").removesuffix(".json") for name in storage.names(FOLDER) if name != LOCK)
    return all(number.isdecimal() for number in beats)


@contextlib.contextmanager
def claim(storage: Storage) -> Iterator[Callable[[Plan], Job]]:
    """Hold a new directory before anything costs time, and so before it is known how the fleet is cut.

    Yields
    ------
    function of Plan
        Begins the run there.

    Raises
    ------
    InputError
        If the directory is not empty or cannot be written, or another driver was faster.
    """
    exists = InputError(f"{storage.url}: exists already; continue it with --resume, or name another folder")
    if not storage.is_empty() and not is_abandoned(storage):
        raise exists
    load_writers()
    ledger = Ledger(storage)
    with _hold(storage) as check, _keeping(ledger):
        if storage.get(MANIFEST) is not None:  # Another driver began and finished it meanwhile.
            raise exists

        def start(plan: Plan) -> Job:
            ledger.begin(plan, installation())
            return Job(ledger, plan, check)

        yield start


@contextlib.contextmanager
def unfinished(storage: Storage, kind: str = "", commands: Mapping[str, str] | None = None) -> Iterator[Job | None]:
    """Hold the directory of an unfinished job; None if it is finished.

    Parameters
    ----------
    kind : str
        What is expected there, as it is in the plan: "run", "comparison", "sweep"; by default anything.
    commands : mapping of str to str, optional
        The command that goes on with each kind, for errors.

    Raises
    ------
    InputError
        If it is none, another driver works on it, or the sources changed since it began.
    """
    ledger = Ledger(storage)
    manifest = storage.get(MANIFEST)
    source = f"{storage.url}/{MANIFEST}"
    about = read_object(manifest, source, "the manifest of a run") if manifest is not None else ledger.plan()[0].about
    there = about.get("kind", kind or "run")
    if (manifest is not None and "files" not in about) or (commands and there not in commands):
        what, name = ("plan", PLAN) if manifest is None else ("manifest", MANIFEST)
        raise InputError(f"{storage.url}/{name}: is not the {what} of a run")
    if kind and there != kind:
        command = (commands or {}).get(there, there)
        raise InputError(f"{storage.url}: is a {there}; go on with fleetswap {command} --resume")
    if manifest is not None:
        ledger.finish()
        yield None
        return
    with _hold(storage) as check:
        if storage.get(MANIFEST) is not None:  # The driver that held it finished it meanwhile.
            ledger.finish()
            yield None
            return
        plan, begun = ledger.plan()
        here = installation()
        if begun.sources != here.sources:
            raise InputError(
                f"{storage.url}: was begun by fleetswap {begun.fleetswap} ({begun.sources}), this is "
                f"{here.fleetswap} ({here.sources}): results would mix; resume with that version, or run anew"
            )
        with _keeping(ledger, is_new=False):
            yield Job(ledger, plan, check)


@contextlib.contextmanager
def _hold(storage: Storage) -> Iterator[Check]:
    try:
        with run_lock(storage) as check:
            yield check
    except LostLockError:
        # What was on its way to an object store when this driver was stopped arrives after the other has finished.
        with contextlib.suppress(InputError):
            if storage.get(MANIFEST) is not None:
                Ledger(storage).finish()
        raise


@contextlib.contextmanager
def _keeping(ledger: Ledger, is_new: bool = True) -> Iterator[None]:
    """When work ends early: remove a new directory in which nothing is done, and tell how to go on with any other."""
    try:
        yield
    except TakenError:
        raise
    except BaseException as error:
        storage = ledger.storage
        work_is_kept = True
        with contextlib.suppress(InputError):
            work_is_kept = not is_new or ledger.has_work()
            if not work_is_kept:
                ledger.finish()
                storage.drop_empty()
        how = f"what is done is kept: go on with --resume {storage.url}"
        if work_is_kept and isinstance(error, InputError):
            raise InputError(f"{error}; {how}") from error
        if work_is_kept and isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(how) from error
        raise
