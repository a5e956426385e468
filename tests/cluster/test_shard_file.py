"""Shard files: everything a shard yields comes back, and equal shards have equal bytes."""

from __future__ import annotations

import io
from dataclasses import fields

import numpy as np
import pyarrow.parquet as pq
import pytest

from fleetswap.fleet.cells import Cell
from fleetswap.fleet.metrics import columns
from fleetswap.fleet.pieces import Shard
from fleetswap.fleet.shard import FleetShard, run_shard
from fleetswap.job.shard_file import DEVICES, read_shard, write_shard
from fleetswap.workload.phones import plan
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.cpu.state import CpuBackend
from tests.cluster.tiny_fleet import tiny


@pytest.fixture(scope="module")
def shard():
    scenario = tiny()
    return run_shard(scenario, plan(scenario), Shard(3, 11, 30), ONE_THREAD)


def test_everything_comes_back(shard):
    found = read_shard(tiny(), shard.shard, write_shard(tiny(), shard))
    assert found.shard == shard.shard
    assert np.array_equal(found.classes, shard.classes)
    for index in columns().values():
        assert np.array_equal(found.counters[:, index], shard.counters[:, index])
    assert found.metrics.keys() == shard.metrics.keys()
    for name, values in shard.metrics.items():
        assert np.array_equal(found.metrics[name], values), name
    assert found.totals.keys() == shard.totals.keys()
    assert all(np.array_equal(found.totals[at], shard.totals[at]) for at in shard.totals)
    assert found.cells.keys() == shard.cells.keys()
    for key, cell in shard.cells.items():
        other = found.cells[key]
        assert (other.top, other.bottom, other.histogram.to_dict()) == (cell.top, cell.bottom, cell.histogram.to_dict())


def test_what_a_shard_consists_of_is_known_here():
    # A new part must be stored too: add it to shard_file, to the test above, then here; step_ns is
    # in the record.
    assert {field.name for field in fields(FleetShard)} == {
        "shard", "classes", "counters", "metrics", "cells", "totals", "step_ns",
    }  # fmt: skip
    assert {field.name for field in fields(Cell)} == {"histogram", "top", "bottom"}


def test_equal_shards_have_equal_bytes(shard):
    files = write_shard(tiny(), shard)
    scenario = tiny()
    again = run_shard(scenario, plan(scenario), shard.shard, CpuBackend(2))
    assert write_shard(scenario, again) == files
    assert write_shard(scenario, read_shard(scenario, shard.shard, files)) == files


def test_rows_can_be_read_while_the_run_goes_on(shard):
    rows = pq.read_table(io.BytesIO(write_shard(tiny(), shard)[DEVICES]))
    assert rows["device"].to_pylist() == list(range(11, 30))


def test_sums_beyond_64_bits(shard):
    scenario = tiny()
    again = run_shard(scenario, plan(scenario), shard.shard, ONE_THREAD)
    key = next(iter(again.cells))
    again.cells[key].top = 10**30
    assert read_shard(scenario, shard.shard, write_shard(scenario, again)).cells[key].top == 10**30
