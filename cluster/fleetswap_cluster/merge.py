"""Merge: what shards yielded becomes the files of a finished run directory; one shard in memory at a time."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleetswap.fleet_results import FleetWriter

from .ledger import FOLDER, MANIFEST, Ledger
from .plan import Plan
from .storage import Storage


def merge_run(ledger: Ledger, plan: Plan, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write the finished run directory of a fleet; returns its summary.

    Parameters
    ----------
    facts : mapping
        For the manifest.

    Raises
    ------
    CorruptShardError
        If a shard is not what was written; the run is as unfinished as before.
    StorageError, InputError
    """
    with scratch(ledger.storage) as folder:
        writer = FleetWriter(folder, plan.scenarios[0])
        writer.begin()
        at = time.perf_counter()
        try:
            writer.add_all(shard for _, shard in ledger.read_all(plan))
            timings = {"step": writer.step_ns / 1e9, "merge": time.perf_counter() - at}
            summary = writer.finish({**facts, "timings_s": timings})
        except BaseException:
            writer.abandon()
            raise
        publish(folder, ledger)
    return summary


@contextmanager
def scratch(storage: Storage) -> Iterator[Path]:
    """Name of a folder on a disk, not made yet: in the run directory, or for an object store a temporary one."""
    outer = storage.path(f"{FOLDER}/merged") if storage.is_local else Path(tempfile.mkdtemp(prefix="fleetswap-"))
    try:
        shutil.rmtree(outer, ignore_errors=True)
        yield outer / "run"
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def publish(folder: Path, ledger: Ledger) -> None:
    """Put the files of a folder into the run directory, the manifest last: with it the run is finished.

    Raises
    ------
    StorageError
    """
    names = sorted((path.name for path in folder.iterdir()), key=lambda name: (name == MANIFEST, name))
    for name in names:
        ledger.storage.take(folder / name, name)
    ledger.finish()
