"""A tiny fleet, and what a plain run of it yields."""

from __future__ import annotations

from pathlib import Path

from fleetswap import api
from fleetswap.execution.work import publish_answer
from fleetswap.fleet.backend import open_backend
from fleetswap.fleet.directory import digest_run
from fleetswap.job.crew import Alone, Crew
from fleetswap.job.job import Job
from fleetswap.scenario.file import load_fleet_scenario
from fleetswap.scenario.model import FleetScenario
from fleetswap.workload.laid_out import LaidOut
from fleetswap.workload.lay_out import lay_out

TINY = str(Path(__file__).parents[1] / "data" / "tiny-phones.toml")
DEVICES = 40
SAME = ("devices.parquet", "series.parquet", "summary.json")
"""Files of a run directory that do not tell how the run came about."""


def tiny(devices: int = DEVICES, *settings: str) -> FleetScenario:
    return load_fleet_scenario(TINY, settings, devices)


def laid_out(devices: int = DEVICES, *settings: str) -> LaidOut:
    return lay_out(tiny(devices, *settings))


def plain_run(folder: Path, devices: int, *settings: str) -> Path:
    """A run in this process, in one piece."""
    api.run(api.Scenario(tiny(devices, *settings)), folder, threads=1, shards=1)
    return folder


def alone(threads: int = 1, backend: str = "cpu") -> Alone:
    """A crew of this process."""
    return Alone(open_backend(backend, threads))


def complete(job: Job, crew: Crew, **words: object) -> None:
    job.complete(lambda: job.work(crew, **words), lambda facts: publish_answer(job, facts))


def assert_same(folder: Path, expected: Path) -> None:
    assert not (folder / "unfinished").exists()
    for name in SAME:
        assert (folder / name).read_bytes() == (expected / name).read_bytes(), name
    assert digest_run(folder) == digest_run(expected)
