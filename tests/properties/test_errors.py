"""An impossible state ends what a device does, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from fleetswap.check.device import Checker
from fleetswap_kernels.backend.arena import DeviceError
from fleetswap_kernels.compile.views import device_at
from fleetswap_kernels.device.zram.pool_frames import pool_frames_change
from fleetswap_kernels.layout import counters, errors
from fleetswap_kernels.layout import device as layout
from fleetswap_kernels.layout import operations as ops
from fleetswap_kernels.layout import phone as habits
from fleetswap_kernels.layout import words as bits
from tests.properties.phone_bench import (
    COLUMN,
    FRAMES,
    SMALL_ONLY,
    Bench,
    compiled,
)
from tests.properties.phones import ready, tiny


@compiled
def change_pool(arena, base, have, pages):
    pool_frames_change(device_at(arena, base, 0), have, pages)


@pytest.mark.parametrize("steps", [0, 3])
def test_an_error_ends_the_switch_and_harms_no_other_device(steps):
    # The page allocator of the second of three phones loses its lists: the next page it should give is an error.
    scenario = tiny("behaviour.switches_spread_percent=0", devices=3)
    (arena, laid_out), (sound, _) = ready(scenario), ready(scenario)
    program, marks = laid_out.program, laid_out.marks
    arena.run(program, 0, marks[steps])
    sound.run(program, 0, marks[-1])
    Checker(arena.view(1)).dev.block_head[:] = bits.FRAME_NIL
    before = arena.counters()[1].astype(np.int64)
    with pytest.raises(DeviceError) as caught:
        arena.run(program, marks[steps], marks[-1])
    assert (caught.value.device, caught.value.code) == (1, errors.NO_FRAMES)
    changed = arena.counters()[1].astype(np.int64) - before
    assert changed[counters.FOLIO_ALLOC : counters.FOLIO_ALLOC + 10].sum() <= 0
    if steps == 0:
        # The third operation is zygote's first write, of 24 pages. Neither its second page nor an operation follows.
        dev = Checker(arena.view(1)).dev
        assert dev.by[dev.scalar("o_phone") * 4 :].view(np.uint32)[habits.PHONE_COUNT] == 3
        assert dev.scalar("op_minflt") == 0
        assert changed[counters.PAGE_EVENTS] == 24
        assert changed[COLUMN["folio_wanted_64kB"]] == 1
    else:
        assert changed[counters.APP_SWITCHES] < 36 - 18
    for d in (0, 2):
        start, end = (int(base) * layout.HEADER_BYTES for base in arena.base[d : d + 2])
        assert (arena.memory[start:end] == sound.memory[start:end]).all()


def test_a_pool_that_got_no_frames_gives_none_back():
    bench = Bench()
    heads = bench.dev.block_head.copy()
    bench.dev.block_head[:] = bits.FRAME_NIL
    change_pool(bench.arena.records, bench.arena.base, 0, 2)
    assert bench.get("error") == errors.NO_FRAMES
    bench.dev.block_head[:] = heads
    change_pool(bench.arena.records, bench.arena.base, 2, -2)
    assert bench.get("frames_free") == FRAMES
    assert (bench.dev.block_head == heads).all()


def test_a_device_without_a_swap_cache_reports_that_it_needs_one():
    bench = Bench(*SMALL_ONLY, "device_class.phone.page_cluster=3", swap_cache=False).map(0, 0, 16)
    bench.write(0, 0, 0, 16).do((ops.PAGEOUT, 0, 0, 0, 16), (ops.FORK, 0, 1))
    dev = bench.dev
    before = dev.w[: dev.scalar("o_frame")][-64:].copy()
    with pytest.raises(DeviceError) as caught:
        bench.read(1, 0, 8)
    assert caught.value.code == errors.NO_SWAP_CACHE
    assert (dev.w[: dev.scalar("o_frame")][-64:] == before).all(), "what stands before the frames"
