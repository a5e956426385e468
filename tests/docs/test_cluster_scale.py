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
    """A shard takes 1 s and 0.1 s a device, to merge 0.2 s and 0.001 s; 100 bytes and 10 bytes a device."""
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
    return {"shards": shards, "scheduler": {"cpu_s_of_a_task": 0.005}}


def test_the_tables_are_those_of_the_program(scale: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    scale.main()
    text = (DOCS / "cluster.md").read_text(encoding="utf-8")
    _, shown = text.split("<!-- cluster_scale -->\n")
    assert shown.partition("<!-- /cluster_scale -->")[0].strip() == capsys.readouterr().out.strip()


def test_cpu_hours_by_hand(scale: ModuleType) -> None:
    # 1000 shards of 1000 devices: 1000 s + 100,000 s to simulate, 200 s + 1000 s to merge, 5 s to schedule.
    assert scale.core_hours(figures(), 1000) == pytest.approx(102_205 / 3600)


def test_workers_that_a_scheduler_feeds_by_hand(scale: ModuleType) -> None:
    # A shard of 1000 devices takes 101 s; at half a core and 5 ms a task that is a task every 10 ms: 10,100 workers.
    assert "| 1,000 | 101.0 s | 83 min | 10,100 |" in scale.scheduler_table(figures())


def test_bytes_by_hand(scale: ModuleType) -> None:
    # 300 shards: 30,000 + 10,000,000 bytes in 900 objects; 2048 bytes a device at the end; 60 s + 1000 s to merge.
    assert "| 1,000,000 in 300 | 9.6 MiB | 900 | 1.9 GiB | 18 min |" in scale.storage_table(figures())


def test_dollars_by_hand(scale: ModuleType) -> None:
    # 28.390 CPU hours at 0.0408 dollars.
    assert "| AWS m7g.large, us-east-1, on demand | 0.04080 | 1.16 | 2026-06-17 |" in scale.cost_table(figures())
