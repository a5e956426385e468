"""Blocks of page frames: the reserve, the kernel's indices, blocks that are broken up, compaction."""

from __future__ import annotations

import numpy as np
import pytest

from fleetswap.check.device import Checker
from fleetswap_kernels.compile.views import device_at
from fleetswap_kernels.device.memory.buddy import compact_memory
from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout import operations as ops
from fleetswap_kernels.layout import words as bits
from tests.properties.contents import wrong_pages
from tests.properties.phone_bench import (
    SMALL_ONLY,
    Bench,
    compiled,
)
from tests.properties.phones import ready, tiny


@compiled
def compact_frames(arena, base):
    compact_memory(device_at(arena, base, 0))


def free_lists(dev):
    """Free blocks by order: of all frames, and of those in reserve."""
    lists = []
    for head in dev.block_head.tolist():
        n, at = 0, head
        while at != bits.FRAME_NIL:
            n, at = n + 1, int(dev.frame[at]) & bits.FRAME_LINK
        lists.append(n)
    return lists[: bits.MAX_BLOCK_ORDER + 1], lists[bits.MAX_BLOCK_ORDER + 1 :]


POOL_64K = ("policy.large_pool.share_percent=25", "policy.large_pool.size=64K")


"""256 of 512 frames in reserve, 16 blocks of order 4."""


def test_the_reserve_serves_its_order_only():
    bench = Bench(*POOL_64K)
    dev = bench.dev
    assert (dev.scalar("reserve_start"), dev.scalar("frames_free"), dev.scalar("reserve_free")) == (256, 256, 256)
    reserved = [bench.take(4) for _ in range(16)]
    assert sorted(reserved) == list(range(256, 512, 16))
    assert (dev.scalar("frames_free"), dev.scalar("reserve_free")) == (256, 0)
    # The reserve is used up: order 4 comes from the rest, and so do all other orders while it is full.
    others = [(bench.take(order), order) for order in (4, 3, 5, 0)]
    assert all(0 <= frame < 256 for frame, _ in others)
    assert dev.scalar("frames_free") == 256 - 16 - 8 - 32 - 1
    for frame in reserved:
        bench.give(frame, 4)
    for frame, order in others:
        bench.give(frame, order)
    # The rest merges to one block of order 8, the reserve, of the same size, does not.
    usual, kept = free_lists(dev)
    assert usual == [0] * 8 + [1, 0, 0]
    assert kept == [0] * 4 + [16] + [0] * 6
    frames = [bench.take(0) for _ in range(257)]
    assert frames[-1] == -1
    assert sorted(frames[:-1]) == list(range(256))
    assert dev.scalar("reserve_free") == 256


def by_size(bench, name, sizes):
    return [bench.count(f"{name}_{size}kB") for size in sizes]


def fragmentation(bench):
    """The two indices of folio orders 2, 3, 4 and 9, after a look; the frames that were taken belong to nobody."""
    bench.arena.run(np.array([[ops.GAUGE] + [0] * 7], dtype=np.uint32), 0, 1)
    sizes = (16, 32, 64, 2048)
    unusable, extfrag = (np.int64(by_size(bench, f"{name}_index", sizes)) for name in ("unusable", "extfrag"))
    return unusable.tolist(), extfrag.tolist()


def test_the_kernels_fragmentation_indices():
    # mm/vmstat.c, by hand. A whole block of 2 MiB, nothing is unusable and nothing would fail.
    bench = Bench()
    assert fragmentation(bench) == ([0, 0, 0, 0], [-1000] * 4)
    # One page gone: blocks of 1, 2, 4, ... 256 pages. 3, 7, 15 and all of 511 pages are in blocks too small; for
    # order 9 1000 - (1000 + 511000 / 512) / 9 = 1000 - 1998 / 9.
    frames = [bench.take(0)]
    assert fragmentation(bench) == ([5, 13, 29, 1000], [-1000, -1000, -1000, 778])
    # Nothing is free: all of nothing is unusable, and it is not fragmentation.
    frames += [bench.take(0) for _ in range(511)]
    assert fragmentation(bench) == ([1000] * 4, [0] * 4)
    # Every other page of 64: 32 blocks. 1000 - (1000 + 8000) / 32, (1000 + 4000) / 32, (1000 + 2000) / 32; for
    # order 9 the 32 pages are too few anyway: 1000 - (1000 + 62) / 32.
    for frame in range(0, 64, 2):
        bench.give(frame, 0)
    assert fragmentation(bench) == ([1000] * 4, [719, 844, 907, 967])
    # One block of order 3 more: of 40 pages 32 are too small for it.
    for frame in range(64, 72):
        bench.give(frame, 0)
    assert fragmentation(bench) == ([800, 800, 1000, 1000], [-1000, -1000, 1000 - 3500 // 33, 1000 - 1078 // 33])


def test_blocks_broken_up_for_smaller_folios_and_for_the_pool():
    # 16 pages, one after the other, break the blocks of 512, 256, ... 32 pages once; within the first 16 one of 16,
    # two of 8 and four of 4.
    bench = Bench(*SMALL_ONLY).map(0, 1, 16).write(0, 1, 0, 16)
    sizes = (16, 32, 64, 128, 256, 512, 1024, 2048)
    assert by_size(bench, "broken_by_folios", sizes) == [4, 2, 1, 1, 1, 1, 1, 1]
    assert by_size(bench, "broken_by_pool", sizes) == [0] * 8
    # The pool's first page breaks the next 16. Later ones find the frames that swapped-out pages left.
    bench.do((ops.PAGEOUT, 0, 1, 0, 16))
    assert bench.count("pool_pages") > 0
    assert by_size(bench, "broken_by_folios", sizes) == [4, 2, 1, 1, 1, 1, 1, 1]
    assert by_size(bench, "broken_by_pool", sizes) == [1, 1, 1, 0, 0, 0, 0, 0]


def test_a_folio_of_the_reserve_that_is_split_merges_to_its_order():
    bench = Bench(*POOL_64K)
    a, b = bench.take(4), bench.take(4)
    assert {a, b} == {256, 272}
    for frame in (*range(a, a + 16), *range(b, b + 16)):
        bench.give(frame, 0)
    assert free_lists(bench.dev)[1] == [0] * 4 + [16] + [0] * 6
    assert bench.dev.scalar("reserve_free") == 256
    assert bench.checker.violations() == []


@pytest.mark.parametrize("unavailable", [60, 62, 70])
def test_a_reserve_starts_at_a_multiple_of_its_order(unavailable):
    # 1024 * 40 % = 409 frames are not: a block of 16 must not cross the start of the reserve.
    bench = Bench("policy.large_pool.share_percent=20", f"device_class.phone.unavailable_percent={unavailable}")
    assert bench.get("reserve_start") % 16 == 0
    assert bench.get("reserve_start") + bench.get("reserve_frames") == bench.dev.frames
    bench.map(0, 1, 100)
    for page in range(100):
        bench.poke(0, 1, page)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 7])
def test_compaction_moves_everything_and_loses_nothing(seed):
    pool = "policy.large_pool.share_percent=25" if seed % 2 else "policy.pool=exact"
    scenario = tiny("system.processes=5", pool, "policy.reclaim.min_free_kib=131072", seed=seed)
    arena, laid_out = ready(scenario)
    arena.run(laid_out.program, 0, laid_out.marks[4])
    checker = Checker(arena.view(0))
    dev = checker.dev
    assert checker.violations() == []
    before = dev.counter.copy()
    pool = int(dev.counter[counters.POOL_PAGES])
    pool_frames = set(dev.pool_frame[:pool].tolist())
    reserved = free_lists(dev)[1]
    contents = np.sort(dev.content[dev.pte[dev.pte >> bits.KIND_SHIFT == bits.PRESENT] & bits.PTE_PAYLOAD])
    free = dev.scalar("frames_free")
    scattered = sum(free_lists(dev)[0])
    compact_frames(arena.records, arena.base)
    assert checker.violations() == []
    assert len(wrong_pages(checker)) == 0
    assert dev.scalar("frames_free") == free
    assert (dev.counter == before).all()
    assert pool_frames != set(dev.pool_frame[:pool].tolist()), "a pool that was not moved shows nothing"
    usual, kept = free_lists(dev)
    assert kept == reserved
    # Of every order at most one block: two would be halves that belong together.
    assert max(usual[: free.bit_length() - 1]) <= 1
    assert sum(usual) <= scattered
    moved = dev.content[dev.pte[dev.pte >> bits.KIND_SHIFT == bits.PRESENT] & bits.PTE_PAYLOAD]
    assert (np.sort(moved) == contents).all()
    arena.run(laid_out.program, laid_out.marks[4], laid_out.marks[6])
    assert checker.violations() == []
    assert len(wrong_pages(checker)) == 0
