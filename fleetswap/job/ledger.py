"""Ledger of an unfinished run: what is planned, which tasks are done, and what failed; kept in the run directory.

A task is done when its record is there and the files that it names have the checksums in it. Files are written first,
the record last, and both hold the same bytes whoever writes them: a task that is done twice is done once. Nothing here
compares clocks.

=============================  ======================================================
`unfinished/plan.json`         the plan, and the installation that made it
`unfinished/shards/*/*`        files of shards (`shard_file`), by number of the task
`unfinished/done/*/*.json`     records of done tasks
`unfinished/failed/*/*.json`   what went wrong with a task, the last time it did
`unfinished/checkpoints/*/*`   states of tasks that are under way (`checkpoint`)
`unfinished/bundles/...`       the same of merges that workers do: files, records, failures
=============================  ======================================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import InputError
from ..fleet.shard import FleetShard
from .installation import Installation
from .plan import Plan, Tasks
from .shard_file import read_shard, write_shard
from .storage import Storage, as_json

FOLDER = "unfinished"
PLAN = f"{FOLDER}/plan.json"
MANIFEST = "manifest.json"
OWN = ("merged", "bundles", "checkpoints", "failed", "done", "shards", "plan.json", "lock.json")
"""All that is made in the folder, but for beats of a lock."""
READERS = 8
"""Files that are verified at the same time."""


class TakenError(InputError):
    """The run directory is that of another run."""


class CorruptShardError(Exception):
    """A file of a task that was done is gone, or is not what was written.

    Parameters
    ----------
    folder : str
        Of the task's kind (`plan.Tasks`).
    number : int
        The task.
    """

    def __init__(self, folder: str, number: int) -> None:
        super().__init__(folder, number)
        self.folder = folder
        self.number = number

    def __str__(self) -> str:
        return f"task {self.folder}{self.number}: its files are not what was written"


@dataclass(frozen=True)
class Made:
    """How a task came to be done; results do not depend on it.

    Parameters
    ----------
    backend, device : str
        What computed it, and on what.
    worker : str
        Who did it.
    seconds : float
        Time the worker spent on it, all in all.
    """

    backend: str
    device: str
    worker: str
    seconds: float


@dataclass(frozen=True)
class Record:
    """What is told of a done task.

    Parameters
    ----------
    number : int
    first, end : int
        Its devices.
    files : dict of str to str
        SHA-256 of each file.
    step_ns : int
        Time spent in kernels.
    made : Made
    """

    number: int
    first: int
    end: int
    files: dict[str, str]
    step_ns: int
    made: Made

    @classmethod
    def from_json(cls, content: bytes) -> Record | None:
        """The record that a file holds; None if it holds none."""
        try:
            record_content = json.loads(content)
            return cls(**{**record_content, "made": Made(**record_content["made"])})
        except (ValueError, TypeError, KeyError):
            return None


def read_answer(storage: Storage) -> tuple[str, dict[str, Any]]:
    """What a finished directory answers ("run", "comparison" or "sweep"), and its summary.

    Raises
    ------
    InputError
    """
    manifest, summary = (
        read_object(storage.get(name) or b"", f"{storage.url}/{name}", f"the {what} of a run")
        for name, what in ((MANIFEST, "manifest"), ("summary.json", "summary"))
    )
    return str(manifest.get("kind", "run")), summary


def read_object(content: bytes, source: str, what: str) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises
    ------
    InputError
        If it holds none: it is not what it should be.
    """
    try:
        json_object = json.loads(content)
    except (ValueError, RecursionError):
        json_object = None
    if not isinstance(json_object, dict):
        raise InputError(f"{source}: is not {what}")
    return json_object


def place(kind: str, number: int) -> str:
    """Name of what a task has of a kind; a folder holds a thousand."""
    return f"{FOLDER}/{kind}/{number // 1000:06d}/{number % 1000:03d}"


class Ledger:
    """The ledger of one run directory.

    Parameters
    ----------
    storage : Storage
        The run directory.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def begin(self, plan: Plan, installation: Installation) -> None:
        """Write the plan; the run directory must be new.

        Raises
        ------
        TakenError
        """
        if not self.storage.create(PLAN, as_json({**plan.to_json(), "installation": installation.told()})):
            raise TakenError(f"{self.storage.url}: exists already; continue it with --resume, or name another folder")

    def plan(self) -> tuple[Plan, Installation]:
        """The plan, and what was installed where it was made.

        Raises
        ------
        InputError
            If this is no unfinished run.
        """
        source = f"{self.storage.url}/{PLAN}"
        content = self.storage.get(PLAN)
        if content is None:
            raise InputError(f"{source}: is not there; --resume needs the directory of an unfinished run")
        try:
            plan_content = read_object(content, source, "the plan of a run")
            installation = Installation(**plan_content["installation"])
        except (KeyError, TypeError):
            raise InputError(f"{source}: is not the plan of a run") from None
        return Plan.from_json(plan_content, source), installation

    def commit(self, tasks: Tasks, number: int, result: FleetShard, made: Made) -> Record:
        """Write the files of a task, then its record.

        Parameters
        ----------
        tasks : Tasks
            Those that the task is one of.
        number : int
            Of the task, from 0.
        result : FleetShard
            What the task yielded.
        made : Made
            Who did it, and on what.

        Raises
        ------
        StorageError
        """
        task = tasks.task(number)
        files = write_shard(tasks.fleets[task.fleet], result)
        for name, content in files.items():
            self.storage.put(f"{place(tasks.folder + 'shards', number)}.{name}", content)
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        record = Record(number, task.shard.first, task.shard.end, sums, result.step_ns, made)
        self.storage.put(f"{place(tasks.folder + 'done', number)}.json", as_json(asdict(record)))
        return record

    def record(self, tasks: Tasks, number: int) -> Record | None:
        """The record of a task; None if it is not done."""
        content = self.storage.get(f"{place(tasks.folder + 'done', number)}.json")
        return None if content is None else Record.from_json(content)

    def read(self, tasks: Tasks, number: int) -> FleetShard:
        """What a done task yielded.

        Raises
        ------
        CorruptShardError
            If it is not done, or its files are not what was written.
        """
        record = self.record(tasks, number)
        files = self._files(tasks, number, record)
        if record is None or files is None:
            raise CorruptShardError(tasks.folder, number)
        task = tasks.task(number)
        shard_result = read_shard(tasks.fleets[task.fleet], task.shard, files)
        shard_result.step_ns = record.step_ns
        return shard_result

    def read_all(self, tasks: Tasks) -> Iterator[tuple[int, FleetShard]]:
        """What all tasks yielded, in the order of devices, one at a time, each with the index of its fleet.

        Raises
        ------
        CorruptShardError
        """
        for number in range(len(tasks)):
            yield tasks.task(number).fleet, self.read(tasks, number)

    def done(self, tasks: Tasks) -> Iterator[tuple[int, Record | None]]:
        """Tasks that are done, with their records; None for one that seemed to be: its files are gone or damaged."""
        numbers = self._done(tasks)
        with ThreadPoolExecutor(READERS) as pool:
            yield from zip(numbers, pool.map(lambda number: self._verified(tasks, number), numbers), strict=True)

    def all_done(self, tasks: Tasks) -> bool:
        """Whether every task has a record; files are not looked at."""
        return len(self._done(tasks)) == len(tasks)

    def forget(self, folder: str, number: int) -> None:
        """Remove the record of a task of a kind: it will be done again."""
        self.storage.remove(f"{place(folder + 'done', number)}.json")

    def has_work(self) -> bool:
        """Whether a task is done, or a state of one is kept."""
        return any(self.storage.names(f"{FOLDER}/{kind}") for kind in ("done", "checkpoints"))

    def fail(self, tasks: Tasks, number: int, text: str) -> None:
        """Note what went wrong with a task."""
        self.storage.put(f"{place(tasks.folder + 'failed', number)}.json", as_json({"error": text}))

    def finish(self) -> None:
        """Remove the ledger, and nothing that it did not make: the run directory is finished."""
        for name in OWN:
            self.storage.remove(f"{FOLDER}/{name}")
        # The lock is the last: without it nothing more may be written.
        for name in self.storage.names(f"{FOLDER}/lock"):
            if name.rpartition("/")[2].removesuffix(".json").isdecimal():
                self.storage.remove(name)
        for folder in (f"{FOLDER}/lock", FOLDER):
            self.storage.drop_empty(folder)

    def _done(self, tasks: Tasks) -> list[int]:
        """Tasks that have a record."""
        folder = f"{FOLDER}/{tasks.folder}done"
        numbers = []
        for name in self.storage.names(folder):
            thousands, _, rest = name.removeprefix(f"{folder}/").partition("/")
            if thousands.isdigit() and rest[:3].isdigit():
                numbers.append(1000 * int(thousands) + int(rest[:3]))
        return [number for number in numbers if number < len(tasks)]

    def _verified(self, tasks: Tasks, number: int) -> Record | None:
        record = self.record(tasks, number)
        return None if self._files(tasks, number, record) is None else record

    def _files(self, tasks: Tasks, number: int, record: Record | None) -> dict[str, bytes] | None:
        """Files of a task, if it is done and they are what was written."""
        if record is None:
            return None
        files = {}
        for name, expected in record.files.items():
            content = self.storage.get(f"{place(tasks.folder + 'shards', number)}.{name}")
            if content is None or hashlib.sha256(content).hexdigest() != expected:
                return None
            files[name] = content
        return files
