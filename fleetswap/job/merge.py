"""Merge: what shards yielded becomes the files of a finished run directory; one of them in memory at a time."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fleetswap.fleet.fleet_directory import FleetWriter

from .job import Job
from .ledger import FOLDER, MANIFEST, Ledger
from .storage import Storage


def merge_run(job: Job, facts: Mapping[str, Any]) -> dict[str, Any]:
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
    plan = job.plan
    shards = [asdict(plan.task(number).shard) for number in range(len(plan))]
    with scratch(job.ledger.storage) as folder:
        writer = FleetWriter(folder, plan.scenarios[0])
        writer.begin()
        at = time.perf_counter()
        try:
            writer.add_all(shard for _, shard in job.results())
            timings = {"step": writer.step_ns / 1e9, "merge": time.perf_counter() - at}
            summary = writer.finish({**facts, "timings_s": timings, "shards": shards})
        except BaseException:
            writer.abandon()
            raise
        publish(folder, job.ledger)
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
