"""Shard files: everything a shard yields comes back, and equal shards have equal bytes."""

from __future__ import annotations

import io
from dataclasses import fields

import numpy as np
import pyarrow.parquet as pq
import pytest

from fleetswap.fleet.cells import Cell
from fleetswap.fleet.pieces import Shard
from fleetswap.fleet.shard import FleetShard, run_shard
from fleetswap.job.shard_file import DEVICES, read_shard, write_shard
from fleetswap.workload.metrics import columns
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.cpu.state import CpuBackend
from tests.cluster.tiny_fleet import laid_out


@pytest.fixture(scope="module")
def shard():
    return run_shard(laid_out(), Shard(3, 11, 30), ONE_THREAD)


def test_everything_comes_back(shard):
    found = read_shard(laid_out(), shard.shard, write_shard(laid_out(), shard))
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
        "shard", "classes", "counters", "metrics", "by_step", "cells", "totals", "step_ns",
    }  # fmt: skip
    assert {field.name for field in fields(Cell)} == {"histogram", "top", "bottom"}


def test_equal_shards_have_equal_bytes(shard):
    files = write_shard(laid_out(), shard)
    again = run_shard(laid_out(), shard.shard, CpuBackend(2))
    assert write_shard(laid_out(), again) == files
    assert write_shard(laid_out(), read_shard(laid_out(), shard.shard, files)) == files


def test_rows_can_be_read_while_the_run_goes_on(shard):
    rows = pq.read_table(io.BytesIO(write_shard(laid_out(), shard)[DEVICES]))
    assert rows["device"].to_pylist() == list(range(11, 30))


def test_sums_beyond_64_bits(shard):
    again = run_shard(laid_out(), shard.shard, ONE_THREAD)
    key = next(iter(again.cells))
    again.cells[key].top = 10**30
    assert read_shard(laid_out(), shard.shard, write_shard(laid_out(), again)).cells[key].top == 10**30
