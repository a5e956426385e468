"""Lock of a run directory: one driver at a time; a driver that died holds nothing.

Results do not need it: two drivers would write the same bytes. It keeps them from doing the same work twice, and from
removing the ledger under each other.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import IO

from ..errors import InputError
from .ledger import FOLDER
from .storage import Storage, StorageError, as_json
from .worker import worker_name

NAME = f"{FOLDER}/lock.json"
"""The lock on a disk."""
BEATS = f"{FOLDER}/lock"
"""Folder of the lock in an object store: the driver that wrote the object with the highest number holds it."""
BEAT_S = 5.0
"""Seconds between two signs of life of a driver whose run directory lies in an object store."""
SILENT_BEATS = 4
"""A lock that did not change for so many beats belongs to nobody."""
TRIES = 10
"""Times that a lock on a disk may be removed while it is taken."""

Check = Callable[[], None]
"""Raises `LostLockError` if this driver is known to have lost the run directory."""


class LostLockError(InputError):
    """Another driver took the run directory over, because this one stood still for too long."""


@contextlib.contextmanager
def run_lock(storage: Storage, beat_s: float = BEAT_S) -> Iterator[Check]:
    """Hold a run directory; what is written through the storage meanwhile is refused once another driver holds it.

    On a disk the operating system keeps the lock, and drops it with the process. An object store has no locks: there
    the holder makes objects whose numbers grow, and another driver watches, by its own clock, whether it still does. To
    take the lock over is to make the next one. An object is only ever made, never replaced, and of two that make the
    same one the store refuses one: nobody can overwrite what another holds.

    Raises
    ------
    InputError
        If another driver holds it.
    """
    with _file_lock(storage) if storage.is_local else _beating_lock(storage, beat_s) as check:
        yield check


def _refusal(storage: Storage, holder: str) -> InputError:
    return InputError(f"{storage.url}: {holder} is working on this run; wait for it, or end it first")


@contextlib.contextmanager
def _file_lock(storage: Storage) -> Iterator[Check]:
    path = storage.path(NAME)
    for tries_left in reversed(range(TRIES)):
        with storage.refusals():
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+b", buffering=0)
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise _refusal(storage, file.read().decode().strip() or "another driver") from None
            except OSError:
                # Some network file systems have no locks; correctness does not need one.
                yield _is_held
                return
            if tries_left and not _is_at(file, storage):
                continue  # Its holder removed it with the ledger: it locks nothing any more.
            try:
                with storage.refusals():
                    file.truncate(0)
                    file.write(worker_name().encode())
                yield _is_held
            finally:
                with contextlib.suppress(OSError):
                    if _is_at(file, storage):
                        path.unlink()
                    path.parent.rmdir()
            return


def _is_held() -> None:
    """What the operating system locks is not lost."""


def _is_at(file: IO[bytes], storage: Storage) -> bool:
    """Whether an open file still has the name of the lock."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), storage.path(NAME).stat())
    except OSError:
        return False


class _Beats:
    """Objects that tell that a driver lives, of this driver and of others.

    Parameters
    ----------
    storage : Storage
        The run directory.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = copy.copy(storage)  # What guards the storage needs no guard.
        self._token = uuid.uuid4().hex
        self._one_at_a_time = threading.Lock()
        self._holds = False
        self.number = 0
        self.lost = ""

    def last(self) -> int:
        """The highest number; 0 if there is none."""
        names = (name.rpartition("/")[2].removesuffix(".json") for name in self._storage.names(BEATS))
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def told(self, number: int) -> dict[str, str]:
        """What an object tells: its holder, and a token of it; empty if it is gone."""
        try:
            beat_content = json.loads(self._storage.get(f"{BEATS}/{number}.json") or b"{}")
            return {"holder": str(beat_content["holder"]), "token": str(beat_content["token"])}
        except (ValueError, TypeError, KeyError):
            return {}

    def holder(self) -> str:
        """Who holds the lock, for people."""
        return self.told(self.last()).get("holder", "another driver")

    def make(self, number: int) -> bool:
        """Make the object of a number and remove the one before; whether it is this driver's."""
        content = as_json({"token": self._token, "holder": worker_name()})
        name = f"{BEATS}/{number}.json"
        # A request that was answered too late is asked again, and finds its own object.
        if not self._storage.create(name, content) and self.told(number).get("token") != self._token:
            return False
        before, self.number = self.number, number
        # A request that was on its way for so long that others came and went meets nobody: who took the lock over has
        # removed the object before.
        if self._holds and self.told(before).get("token") != self._token:
            self._storage.remove(name)
            return False
        self._holds = True
        if before:
            self._storage.remove(f"{BEATS}/{before}.json")
        return True

    def beat(self) -> None:
        """Give a sign of life, if the lock is still this driver's."""
        with self._one_at_a_time:
            if self._is_mine() and not self.make(self.number + 1):
                self.lost = self.holder()

    def verify(self) -> None:
        """Refuse, if the lock is another's by now, whatever was known before."""
        with self._one_at_a_time:
            self._is_mine()
        self.check()

    def check(self) -> None:
        """Refuse, if the lock is known to be another's."""
        if self.lost:
            raise LostLockError(
                f"{self._storage.url}: {self.lost} took this run over, since this driver stood still for too long; "
                "nothing more was written"
            )

    def release(self) -> None:
        """Remove the own object, and no other."""
        with self._one_at_a_time:
            if self.told(self.number).get("token") == self._token:
                self._storage.remove(f"{BEATS}/{self.number}.json")

    def _is_mine(self) -> bool:
        last = self.last()
        if not self.lost and (last != self.number or self.told(last).get("token") != self._token):
            self.lost = self.holder()
        return not self.lost


@contextlib.contextmanager
def _beating_lock(storage: Storage, beat_s: float) -> Iterator[Check]:
    beats = _Beats(storage)
    beats.number = beats.last()
    if beats.number:
        time.sleep(SILENT_BEATS * beat_s)
        if beats.last() != beats.number:
            raise _refusal(storage, beats.holder())
    if not beats.make(beats.number + 1):
        raise _refusal(storage, beats.holder())
    stop = threading.Event()

    def live() -> None:
        while not beats.lost and not stop.wait(beat_s):
            with contextlib.suppress(StorageError):
                beats.beat()

    living = threading.Thread(target=live, name="run lock", daemon=True)
    living.start()
    storage.guard = beats.verify
    try:
        yield beats.check
        if beats.lost and beats.last():  # there is none when this driver removed the ledger
            beats.check()
    finally:
        storage.guard = None
        stop.set()
        living.join()
        with contextlib.suppress(StorageError):
            beats.release()
