"""Which pages reclaim takes, which it keeps, and that it finds all of them again."""

from __future__ import annotations

import pytest

from fleetswap_kernels.layout import operations as ops
from fleetswap_kernels.layout import words as bits
from tests.properties.phone_bench import (
    FOLIOS_64K,
    FRAMES,
    ROOM,
    SMALL_ONLY,
    SWAP,
    Bench,
    out_of_reach,
)


def test_pages_used_later_are_evicted_later():
    # Block 0 is used in generation 0, block 1 in 1, block 0 again in 2. The hand stands before block 0.
    bench = Bench(*SMALL_ONLY).map(0, 1, 64)
    bench.poke(0, 1, 0, 16).set(max_gen=1)
    bench.poke(0, 1, 16, 16).set(max_gen=2)
    bench.poke(0, 1, 0, 1)
    bench.force(0, 1, 63, 16)
    assert (bench.present(0, 0, 16), bench.present(0, 16, 16)) == (16, 0)
    # Without the second use the older block goes.
    bench = Bench(*SMALL_ONLY).map(0, 1, 64)
    bench.poke(0, 1, 16, 16).set(max_gen=1)
    bench.poke(0, 1, 0, 16).set(max_gen=2)
    bench.force(0, 1, 63, 16)
    assert (bench.present(0, 0, 16), bench.present(0, 16, 16)) == (16, 0)


def test_generations_come_around():
    # 254 is followed by 0, which is the youngest then.
    bench = Bench(*SMALL_ONLY, min_gen=254, max_gen=254).map(0, 1, 64)
    bench.poke(0, 1, 16, 16).set(max_gen=0)
    bench.poke(0, 1, 0, 16).set(max_gen=1)
    bench.force(0, 1, 63, 16)
    assert (bench.present(0, 0, 16), bench.present(0, 16, 16)) == (16, 0)


def nearly_full(*chosen):
    """A phone with 4 free slots of 255, and 16 pages in a block of their own, from PTE 256 on."""
    bench = Bench("device_class.phone.zram=25p", *chosen, *ROOM).map(0, 1, 251).map(0, 2, 16, 256).map(0, 3, 1, 272)
    bench.write(0, 1, 0, 251).do((ops.PAGEOUT, 0, 1, 0, 251))
    assert bench.get("nr_swap_pages") == 4
    return bench.write(0, 2, 0, 16)


def test_what_cannot_be_evicted_is_kept():
    bench = nearly_full(*SMALL_ONLY).force(0, 3, 0, 16)
    assert (bench.present(0, 256, 16), bench.swapped(0, 256, 16)) == (12, 4)
    assert bench.count("pgsteal_direct") == 4
    assert bench.count("pgactivate") == 12
    assert bench.generation(0, 16) != 0
    # With slots again, they go.
    bench.do((ops.DONTNEED, 0, 1, 0, 100)).force(0, 3, 0, 12)
    bench.do((ops.DONTNEED, 0, 3, 0, 1)).force(0, 3, 0, 12)
    assert bench.present(0, 256, 16) == 0


def test_what_cannot_be_evicted_of_a_large_folio_is_kept():
    bench = nearly_full("policy.mthp.16K=never")
    assert bench.count("nr_anon_64kB") == 1
    bench.force(0, 3, 0, 16)
    assert (bench.present(0, 256, 16), bench.swapped(0, 256, 16)) == (12, 4)
    assert bench.count("pgsteal_direct") == 4
    bench.do((ops.DONTNEED, 0, 1, 0, 100), (ops.DONTNEED, 0, 3, 0, 1)).force(0, 3, 0, 12)
    assert bench.present(0, 256, 16) == 0


def test_what_zram_refuses_is_not_reclaimed():
    # The pool may have one page: most of 16 compressible pages do not fit. What is not stored keeps its frame.
    bench = Bench(*SMALL_ONLY, "device_class.phone.mem_limit=1M").map(0, 1, 17).write(0, 1, 0, 16)
    bench.force(0, 1, 16, 16)
    freed = bench.get("frames_free") + bench.count("pool_pages") + 1 - (FRAMES - 16)
    assert 0 < freed < 16
    assert bench.count("pgsteal_direct") == freed


@pytest.mark.parametrize("chosen", [SMALL_ONLY, (*FOLIOS_64K, *SWAP)])
def test_what_zram_refused_is_offered_again(chosen):
    # The pool may have one page: most of 16 pages do not fit. Each refused folio keeps its slots.
    bench = Bench(*chosen, "device_class.phone.mem_limit=1M").map(0, 1, 17).write(0, 1, 0, 16)
    bench.force(0, 1, 16, 16)
    entries = bench.dev.pte[:16].copy()
    refused = bench.get("swap_cache_pages")
    assert 0 < refused <= 16
    assert bench.swapped(0, 0, 16) == 16
    # A second try, with page 16 out of its way, is refused as well, and changes nothing but the counters of tries.
    failed = bench.count("failed_writes")
    bench.do((ops.DONTNEED, 0, 1, 16, 1)).force(0, 1, 16, 1)
    assert bench.count("failed_writes") > failed
    assert bench.get("swap_cache_pages") == refused
    # Without the limit it is written, and frees its frames.
    bench.set(mem_limit_pages=0).do((ops.DONTNEED, 0, 1, 16, 1))
    stolen = bench.count("pgsteal_direct")
    bench.force(0, 1, 16, refused)
    assert bench.get("swap_cache_pages") == 0
    assert bench.count("pgsteal_direct") == stolen + refused
    assert (bench.dev.pte[:16] == entries).all()
    assert bench.get("frames_free") + bench.count("pool_pages") == FRAMES - 1
    bench.read(0, 1, 0, 16)
    assert bench.present(0, 0, 16) == 16
    assert int(bench.record["op_bad"]) == 0


def test_what_zram_refused_can_be_used_and_go_again():
    bench = Bench(*SMALL_ONLY, "device_class.phone.mem_limit=1M").map(0, 1, 17).write(0, 1, 0, 16)
    bench.force(0, 1, 16, 16)
    refused = bench.get("swap_cache_pages")
    majors = bench.count("pgmajfault")
    # Those that zram has take a major fault, the others are still in memory.
    bench.read(0, 1, 0, 16)
    assert bench.count("pgmajfault") - majors == 16 - refused
    bench.set(mem_limit_pages=0).do((ops.DONTNEED, 0, 1, 16, 1)).force(0, 1, 16, 16)
    assert bench.swapped(0, 0, 16) == 16
    assert bench.get("swap_cache_pages") == 0


def test_pages_read_ahead_and_never_used_are_reclaimed():
    # A shared page comes back with its neighbours, in a window of 8; nobody maps those.
    bench = Bench(*SMALL_ONLY, "device_class.phone.page_cluster=3").map(0, 0, 16).map(0, 1, 1, 16)
    bench.write(0, 0, 0, 16).do((ops.FORK, 0, 1)).force(0, 1, 0, 16)
    bench.read(1, 0, 8)
    ahead = bench.count("swap_ra")
    assert ahead > 0
    assert bench.get("swap_cache_pages") == 1 + ahead
    written = bench.count("pswpout")
    bench.do((ops.DONTNEED, 0, 1, 0, 1)).force(0, 1, 0, ahead)
    assert bench.get("swap_cache_pages") <= 1
    assert bench.count("pswpout") == written, "they are clean"
    bench.read(0, 0, 0, 16).read(1, 0, 0, 16)
    assert int(bench.record["op_bad"]) == 0


def evicted_long_ago(*chosen):
    """A phone without a page but one, whose 64 pages in a folio were swapped out when the hand came by last."""
    bench = Bench(*SMALL_ONLY, "policy.mthp.256K=always", *SWAP, *chosen).map(0, 1, 64).map(0, 2, 16, 64)
    bench.write(0, 1, 0, 64).force(0, 2, 0, 64).force(0, 2, 1, 1)
    assert bench.swapped(0, 0, 64) == 64
    assert [bench.generation(0, block) for block in range(4)] == [0, 0, 0, 0]
    return bench


def test_a_large_folio_that_came_back_can_be_evicted_as_a_whole():
    bench = evicted_long_ago().read(0, 1, 40)
    assert bench.present(0, 0, 64) == 64
    bench.force(0, 2, 2, 65)
    assert bench.present(0, 0, 64) == 0


def test_all_pages_of_a_large_folio_can_be_evicted_after_it_is_partly_unmapped():
    # It comes in by a fault on its first page. Of its pages the first 16 are dropped.
    bench = evicted_long_ago().read(0, 1, 0)
    assert bench.present(0, 0, 64) == 64
    bench.do((ops.DONTNEED, 0, 1, 0, 16))
    bench.force(0, 2, 2, 49)
    assert bench.present(0, 16, 48) == 0


def test_all_small_pages_of_a_block_can_be_evicted():
    # No large folio can be had (all free frames are below the low watermark), so the block comes as 64 small pages.
    bench = evicted_long_ago("device_class.phone.block=256K", "policy.block_fallback=true")
    bench.set(low_free=FRAMES, kswapd_pages=0).read(0, 1, 0)
    bench.set(low_free=0, kswapd_on=0)
    assert bench.present(0, 0, 64) == 64
    assert bench.count("folio_alloc_256kB") == 1
    bench.force(0, 2, 2, 65)
    assert bench.present(0, 0, 64) == 0


def test_pages_touched_while_reclaim_runs_can_be_evicted():
    # One touch of 480 pages, of which 100 fit. The hand stands ahead of it and comes by blocks without a page yet.
    bench = Bench(*SMALL_ONLY, *ROOM, *SWAP, low_free=412, high_free=430, kswapd_pages=16).map(0, 1, 511)
    bench.set(hand=10).poke(0, 1, 0, 480)
    assert 0 < bench.present(0, 0, 511) < 120
    assert out_of_reach(bench.dev) == 0


def test_shared_pages_are_swapped_out_and_come_back_to_both():
    bench = Bench(*SMALL_ONLY).map(0, 0, 16).map(0, 1, 16, 16).write(0, 0, 0, 16)
    bench.do((ops.FORK, 0, 1), (ops.FORK, 0, 2))
    bench.force(0, 1, 0, 16)
    slots = bench.dev.pte[:16] & bits.PTE_PAYLOAD
    assert [bench.swapped(p, 0, 16) for p in range(3)] == [16, 16, 16]
    assert bench.dev.map[slots].tolist() == [3] * 16
    assert bench.count("pswpout") + bench.count("swpout_zero") == 16
    assert bench.get("frames_free") + bench.count("pool_pages") == FRAMES - 1
    bench.read(1, 0, 0, 16)
    # One major fault each; the second process finds them in the swap cache.
    assert bench.count("pgmajfault") == 16
    bench.read(2, 0, 0, 16)
    assert bench.count("pgmajfault") == 16
    assert [bench.present(p, 0, 16) for p in range(3)] == [0, 16, 16]
    assert (
        bench.dev.mapcount[bench.dev.pte[bench.dev.pte >> bits.KIND_SHIFT == bits.PRESENT] & bits.PTE_PAYLOAD].max()
        == 2
    )
    assert (bench.dev.map[slots] & bits.MAP_COUNT).tolist() == [1] * 16
    assert bench.count("pswpin") + bench.count("swpin_zero") == 16
    assert int(bench.record["op_bad"]) == 0
    # They go once more, and come back to a third.
    bench.force(0, 1, 1, 16)
    assert [bench.present(p, 0, 16) for p in range(3)] == [0, 0, 0]
    bench.read(0, 0, 0, 16)
    assert int(bench.record["op_bad"]) == 0


def test_a_folio_with_as_many_mappings_as_pages_may_be_shared():
    # Of a folio of 16 pages the parent has left 15 and the child one: 16 mappings, and nobody maps the whole.
    bench = Bench("policy.mthp={64K='always'}")
    bench.map(0, 0, 16).write(0, 0, 0, 16).do((ops.FORK, 0, 1))
    head = int(bench.dev.pte[0]) & bits.PTE_PAYLOAD
    assert int(bench.dev.frame[head]) >> bits.FRAME_ORDER_SHIFT & 15 == 4
    bench.write(0, 0, 0, 1).write(1, 0, 0, 15)
    assert bench.dev.mapcount[head : head + 16].tolist() == [0, *[1] * 14, 2]
    bench.map(0, 1, 16, 16).force(0, 1, 0, 16)
    assert bench.swapped(0, 0, 16) > 0
    bench.read(0, 0, 0, 16).read(1, 0, 0, 16)
