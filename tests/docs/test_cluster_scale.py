"""The tables of docs/cluster.md are those of the program, and its arithmetic is right."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def scale() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cluster_scale", DOCS / "cluster_scale.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["cluster_scale"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def figures() -> dict[str, Any]:
    """A shard takes 1 s and 0.1 s a device, to merge 0.2 s and 0.001 s, on a worker twice that; 100 bytes and 10 bytes.

    The last figures are of a shard, and of each device.
    """
    shards = [
        {
            "devices": devices,
            "simulate_cpu_s": 1 + 0.1 * devices,
            "merge_cpu_s": 0.2 + 0.001 * devices,
            "stored_bytes": {"done record": 100, "devices.parquet": 10 * devices},
            "run_directory_bytes": {"devices.parquet": 2048 * devices},
            "run_devices": devices,
        }
        for devices in (10, 20)
    ]
    bundle = {"devices_of_a_shard": 10, "shards": 64, "worker_cpu_s": 2 * 64 * 0.21}
    return {"scenario": "phones", "shards": shards, "bundle": bundle, "scheduler": {"cpu_s_of_a_task": 0.005}}


def test_the_tables_are_those_of_the_program(scale: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    scale.main()
    text = (DOCS / "cluster.md").read_text(encoding="utf-8")
    _, shown = text.split("<!-- cluster_scale -->\n")
    assert shown.partition("<!-- /cluster_scale -->")[0].strip() == capsys.readouterr().out.strip()


def test_cpu_hours_by_hand(scale: ModuleType) -> None:
    # 1000 shards of 1000 devices, in 50 bundles of 20: 1000 s + 100,000 s to simulate, twice 200 s + 1000 s for workers
    # to merge, 10 s + 1000 s for the driver, 5.25 s to schedule.
    assert scale.core_hours(figures(), 1000) == pytest.approx(104_415.25 / 3600)


def test_merges_by_hand(scale: ModuleType) -> None:
    # Shards of 100 devices: 20,000 s + 10,000 s; the last of 1563 bundles of 64 is not full: 313 s + 10,000 s.
    assert "| 10,000,000 in 100,000 | 8.3 h | 1,563 | 16.7 h | 2.9 h |" in scale.merge_table(figures())
    # Six shards would be 20,000 devices: 50 of them are 9 bundles. Shards of 10,000 devices are merged as they are.
    assert scale.merged(figures(), 160_000, 50) == scale.Merge(9, *map(pytest.approx, (170, 340, 161.8)))
    assert scale.merged(figures(), 10**6, 100) == scale.Merge(0, *map(pytest.approx, (1020, 0, 1020)))


def test_workers_that_a_scheduler_feeds_by_hand(scale: ModuleType) -> None:
    # A shard of 1000 devices takes 101 s; at half a core and 5 ms a task that is a task every 10 ms: 10,100 workers.
    assert "| 1,000 | 101.0 s | 83 min | 10,100 |" in scale.scheduler_table(figures())


def test_bytes_by_hand(scale: ModuleType) -> None:
    # 300 shards: 30,000 + 10,000,000 bytes in 900 objects; 2048 bytes a device at the end.
    assert "| 1,000,000 in 300 | 9.6 MiB | 900 | 1.9 GiB |" in scale.storage_table(figures())


def test_dollars_by_hand(scale: ModuleType) -> None:
    # 29.004 CPU hours at 0.0408 dollars.
    assert "| AWS m7g.large, us-east-1, on demand | 0.04080 | 1.18 | 2026-06-17 |" in scale.cost_table(figures())
