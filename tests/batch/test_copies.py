"""Copies of results that many units change: what a GPU spreads its threads over, joined to one."""

from __future__ import annotations

import numpy as np
import pytest

from fleetswap_kernels.backend.contract import Batch
from fleetswap_kernels.backend.cuda.batches import copies_of
from fleetswap_kernels.device.batch.values import BinWork


def batch_of(bins, units=0):
    """Values of one group and column, in so many bins of 8 bytes."""
    work = BinWork(np.arange(units).reshape(-1, 1), np.zeros(units, np.int8), np.zeros((1, 1, bins), np.int64))
    return Batch(work, units, {"counts": np.add})


@pytest.mark.parametrize(("bins", "copies"), [(1, 64), (2048, 64), (4096, 32), (1 << 17, 1), (1 << 18, 1)])
def test_a_small_result_has_several_copies(bins, copies):
    # As many as a MiB holds, but 64 at most and one at least.
    assert copies_of(batch_of(bins)) == copies


def test_copies_are_of_the_declared_types_and_joined():
    batch = batch_of(3, units=5)
    fields = batch.laid_out(2)
    assert {name: (array.dtype.name, array.shape) for name, array in fields.items()} == {
        "values": ("int64", (5, 1)),
        "row_groups": ("int32", (5,)),
        "counts": ("int64", (2, 1, 1, 3)),
    }
    fields["counts"][:, 0, 0] = [[1, 2, 3], [10, 20, 30]]
    assert batch.found(fields).counts.tolist() == [[[11, 22, 33]]]


def test_a_batch_without_units_finds_what_it_begins_with(cpu, cuda):
    for backend in (cpu, cuda):
        assert backend.run_batch(batch_of(3)).counts.tolist() == [[[0, 0, 0]]]
