"""A GPU's memory: what the plan assumes of it, and a shard that does not fit."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest

from fleetswap.fleet.pieces import cut
from fleetswap.workload.lay_out import lay_out
from fleetswap_kernels.backend.arena import Arena, device_bytes
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.contract import Backend
from fleetswap_kernels.backend.cuda.entries import Kernel, signatures
from fleetswap_kernels.backend.cuda.target import compiled_kernel
from fleetswap_kernels.backend.memory_plan import RESULT_BYTES, STACK_BYTES
from tests.fleet.shards import run_shards
from tests.properties.phones import tiny


@pytest.mark.parametrize("name", signatures())
@pytest.mark.usefixtures("real_gpu")
def test_stacks_are_no_larger_than_planned(name: str) -> None:
    kernel = Kernel(name)
    assert compiled_kernel(kernel._dispatcher, kernel.signature).local_mem_per_thread <= STACK_BYTES


@pytest.mark.usefixtures("real_gpu")
def test_kernels_fit_a_multiprocessor() -> None:
    for name in signatures():
        threads, blocks = Kernel(name).occupancy
        print(f"{name}: blocks of {threads} threads, {blocks} at once")
        assert blocks > 0


def test_free_memory_is_that_of_the_driver(gpu: Any) -> None:
    before = gpu.memory()
    laid_out = lay_out(tiny(devices=1))
    each = device_bytes(laid_out.blueprints[0].sizes)
    arena = Arena([(laid_out.blueprints[0], 500)], backend=gpu)
    assert before.free_bytes - gpu.memory().free_bytes >= 500 * (each + RESULT_BYTES)
    arena.release()
    del arena
    assert before.free_bytes - gpu.memory().free_bytes < each * 500


def test_a_shard_larger_than_memory_is_halved(real_gpu: Any) -> None:
    scenario = tiny("steps_per_day=2", devices=256)
    laid_out = lay_out(scenario)
    expected = next(run_shards(laid_out, cut(256, 1), ONE_THREAD)).counters
    pool = real_gpu.cupy.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(size=128 * device_bytes(laid_out.blueprints[0].sizes))
    try:
        found = list(run_shards(laid_out, cut(256, 1), real_gpu))
    finally:
        pool.set_limit(size=0)
    assert len(found) > 1
    assert real_gpu.facts()["out_of_memory"]
    assert np.array_equal(np.concatenate([shard.counters for shard in found]), expected)


def test_many_devices_over_all_streams(gpu: Backend) -> None:
    scenario = tiny("steps_per_day=2", devices=3000)
    laid_out = lay_out(scenario)
    counters = [
        np.concatenate([s.counters for s in run_shards(laid_out, cut(3000, pieces), backend)])
        for backend, pieces in chain([(ONE_THREAD, 1)], [(gpu, 1), (gpu, 3)])
    ]
    assert np.array_equal(counters[0], counters[1])
    assert np.array_equal(counters[0], counters[2])
