"""What a fault finds at the watermarks: kswapd, direct reclaim, a refusal, and whether a large folio leaves them."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from fleetswap_kernels.compile.views import device_at
from fleetswap_kernels.device.memory.large_folio import has_margin
from fleetswap_kernels.device.rng import philox_draw
from fleetswap_kernels.layout import operations as ops
from tests.kernels.host import host
from tests.properties.phone_bench import (
    FOLIOS_64K,
    FRAMES,
    ROOM,
    SMALL_ONLY,
    SWAP,
    WRITTEN,
    Bench,
    compiled,
)


@compiled
def margin_of(arena, base, order):
    return has_margin(device_at(arena, base, 0), order)


def test_kswapd_begins_below_the_low_watermark_and_stops_at_the_high_one():
    # A fault that finds 19 free frames wakes it. Before every fault it evicts a block of 16 pages (its share, 4, is
    # reached inside of it), until 60 are free: 19 + 16, less the fault's page 34; 50, 49; 65, which is enough.
    bench = Bench(*SMALL_ONLY, *ROOM, min_free=10, low_free=20, high_free=60, kswapd_pages=4).map(0, 1, 511)
    bench.poke(0, 1, 0, FRAMES - 19)
    assert (bench.get("frames_free"), bench.count("pgsteal_kswapd")) == (19, 0)
    seen = []
    for page in range(FRAMES - 19, FRAMES - 13):
        bench.poke(0, 1, page)
        seen.append((bench.get("frames_free"), bench.count("pgsteal_kswapd"), bench.swapped(0, 0, 511)))
    assert seen == [(34, 16, 16), (49, 32, 32), (64, 48, 48), (63, 48, 48), (62, 48, 48), (61, 48, 48)]
    assert bench.get("kswapd_on") == 0
    assert bench.count("allocstall") == 0


def test_direct_reclaim_below_the_minimum():
    # Without kswapd: 19 free frames are one too few, a block of 16 goes.
    bench = Bench(*SMALL_ONLY, *ROOM, min_free=20, direct_pages=8).map(0, 1, 511)
    bench.poke(0, 1, 0, FRAMES - 19)
    assert bench.count("allocstall") == 0
    bench.poke(0, 1, FRAMES - 19)
    assert (bench.get("frames_free"), bench.count("allocstall"), bench.count("pgsteal_direct")) == (34, 1, 16)
    assert bench.count("pgsteal_kswapd") == 0


@pytest.mark.parametrize("discard", [0, 1])
@pytest.mark.parametrize("philox", [0, 1])
def test_an_operation_goes_on_where_it_was_when_room_was_made(philox, discard):
    # One operation of 300 steps, most of whose faults have to wait for room, and its steps one by one.
    steps, pages, region = 300, 4, 500
    tight = {"min_free": 100, "low_free": 150, "high_free": 200, "kswapd_pages": 4, "direct_pages": 8}
    whole, parts = (
        Bench(*SMALL_ONLY, *ROOM, *SWAP, random_philox=philox, **tight).map(0, 0, 64).map(0, 1, region, 64)
        for _ in range(2)
    )
    for bench in (whole, parts):
        bench.poke(0, 0, 0, 64)
    whole.do((ops.RANDOM, 0, 1, pages, steps, discard, WRITTEN, ops.MODELLED))
    if philox:
        draw_step = host(philox_draw)
        draws = [draw_step(whole.scenario.seed, 0, 0, 0, 0, step) for step in range(steps)]
        firsts = [(draw * (region // pages) >> 32) * pages for draw in draws]
    else:
        libc = ctypes.CDLL(None)
        libc.srandom(1)
        firsts = [libc.random() % (region // pages) * pages for _ in range(steps)]
    for first in firsts:
        if discard:
            parts.do((ops.DONTNEED, 0, 1, first, pages))
        parts.write(0, 1, first, pages)
    assert whole.count("pgsteal_kswapd") > 100
    for name in ("counter", "pte", "frame", "map", "cache"):
        assert (getattr(whole.dev, name) == getattr(parts.dev, name)).all(), name


def test_a_fault_is_refused_where_nothing_makes_room():
    # No swap, no app to kill: half of the minimum may go as well, so the last fault finds 10 frames. 503 pages fit.
    bench = Bench(*SMALL_ONLY, *ROOM, min_free=20).map(0, 1, 511)
    nr, bench.record["nr_swap_pages"] = bench.get("nr_swap_pages"), 0
    program = np.array([[ops.TOUCH, 0, 1, 0, 510, ops.POKE, 0, 0]], dtype=np.uint32)
    bench.arena.run(program, 0, 1)
    assert bench.present(0, 0, 511) == FRAMES - 10 + 1
    assert bench.count("refused_faults") == 510 - 503
    assert int(bench.record["op_errno"]) == ops.ENOMEM
    bench.record["nr_swap_pages"] = nr
    assert bench.checker.violations() == []


@pytest.mark.parametrize(("spare", "granted"), [(-1, False), (0, True)])
def test_a_large_folio_leaves_the_low_watermark(spare, granted):
    bench = Bench(*FOLIOS_64K, "policy.defrag=never").map(0, 1, 32)
    bench.set(low_free=FRAMES - 16 - spare)
    bench.poke(0, 1, 0)
    assert bench.present(0, 0, 32) == (16 if granted else 1)
    assert bench.count("folio_wanted_64kB") == 1
    assert bench.count("folio_refused_64kB") == (0 if granted else 1)


def test_the_margin_rule():
    # Above the high watermark max(64, pages of the folio) must be free.
    bench = Bench("policy.margin_rule=true", *FOLIOS_64K, "policy.mthp.512K=always", *ROOM, *SWAP).map(0, 1, 256)
    bench.poke(0, 1, 0, 256).do((ops.PAGEOUT, 0, 1, 0, 256))
    assert bench.swapped(0, 0, 256) == 256
    free = bench.get("frames_free")
    bench.set(high_free=free - 63)
    bench.read(0, 1, 0)
    assert bench.present(0, 0, 256) == 1
    assert bench.count("swapin_fallback_margin") == 1
    # 127 are one too few for order 7, but enough for order 4: page 16, in a block of 128 that is no longer whole.
    free = bench.get("frames_free")
    bench.set(high_free=free - 127)
    bench.read(0, 1, 128)
    assert bench.present(0, 128, 128) == 16
    assert bench.count("swapin_fallback_margin") == 2
    bench.set(high_free=bench.get("frames_free") - 64)
    bench.read(0, 1, 160)
    assert bench.present(0, 160, 16) == 16
    assert bench.present(0, 128, 128) == 32


def test_the_margin_rule_grants_the_largest_order_that_has_its_pages_free():
    bench = Bench("policy.margin_rule=true", *FOLIOS_64K, "policy.mthp.512K=always", *ROOM, *SWAP).map(0, 1, 256)
    bench.poke(0, 1, 0, 256).do((ops.PAGEOUT, 0, 1, 0, 256))
    bench.set(high_free=bench.get("frames_free") - 128)
    bench.read(0, 1, 5)
    assert bench.present(0, 0, 256) == 128
    assert bench.count("swapin_fallback_margin") == 0


@pytest.mark.parametrize(
    ("order", "above_high", "enough"),
    [(2, 63, False), (2, 64, True), (6, 63, False), (6, 64, True), (7, 127, False), (7, 128, True), (8, 255, False)],
)
def test_margins(order, above_high, enough):
    bench = Bench(high_free=FRAMES - above_high)
    assert margin_of(bench.arena.records, bench.arena.base, order) == enough
