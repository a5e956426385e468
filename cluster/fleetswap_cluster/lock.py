"""Lock of a run directory: one driver at a time; a driver that died holds nothing.

Results do not need it: two drivers would write the same bytes. It keeps them from doing the same work twice, and from
removing the ledger under each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import threading
import time
import uuid
from collections.abc import Iterator

from fleetswap.errors import InputError

from .ledger import FOLDER
from .storage import Storage, StorageError, as_json
from .worker import worker_name

NAME = f"{FOLDER}/lock.json"
BEAT_S = 5.0
"""Seconds between two signs of life of a driver whose run directory lies in an object store."""
SILENT_BEATS = 4
"""A lock that did not change for so many beats belongs to nobody."""


@contextlib.contextmanager
def run_lock(storage: Storage, beat_s: float = BEAT_S) -> Iterator[None]:
    """Hold a run directory.

    On a disk the operating system keeps the lock, and drops it with the process. An object store has no locks: there
    the holder writes a number that grows, and another driver watches, by its own clock, whether it still does.

    Raises
    ------
    InputError
        If another driver holds it.
    """
    with _file_lock(storage) if storage.is_local else _beating_lock(storage, beat_s):
        yield


def _refusal(storage: Storage, holder: str) -> InputError:
    return InputError(f"{storage.url}: {holder} is working on this run; wait for it, or end it first")


@contextlib.contextmanager
def _file_lock(storage: Storage) -> Iterator[None]:
    path = storage.path(NAME)
    with storage.refusals():
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _refusal(storage, file.read().strip() or "another driver") from None
        except OSError:
            # Some network file systems have no locks; correctness does not need one.
            yield
            return
        file.truncate(0)
        file.write(worker_name())
        file.flush()
        yield


@contextlib.contextmanager
def _beating_lock(storage: Storage, beat_s: float) -> Iterator[None]:
    token = uuid.uuid4().hex
    beat = 0

    def content() -> bytes:
        return as_json({"token": token, "beat": beat, "holder": worker_name()})

    if not storage.create(NAME, content()):
        seen = storage.get(NAME)
        time.sleep(SILENT_BEATS * beat_s)
        now = storage.get(NAME)
        if now is not None and now != seen:
            raise _refusal(storage, str(json.loads(now)["holder"]))
        storage.put(NAME, content())
        # Who else took it over at the same time: the last one to write has it.
        time.sleep(beat_s)
        if storage.get(NAME) != content():
            raise _refusal(storage, "another driver")
    stop = threading.Event()

    def live() -> None:
        nonlocal beat
        while not stop.wait(beat_s):
            beat += 1
            with contextlib.suppress(StorageError):
                storage.put(NAME, content())

    living = threading.Thread(target=live, name="run lock", daemon=True)
    living.start()
    try:
        yield
    finally:
        stop.set()
        living.join()
        storage.remove(NAME)
