"""Phones whose memory runs short: nothing is lost whatever the policy, and every rule by hand-worked examples."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fleetswap import metrics
from fleetswap.invariants import Checker
from fleetswap_kernels import bits, counters, errors, habits, layout, ops
from fleetswap_kernels.allocation import has_margin
from fleetswap_kernels.arena import DeviceError
from fleetswap_kernels.jit import device_at
from fleetswap_kernels.link_only import WholeProgramCompiler
from fleetswap_kernels.physical import compact, frames_give, frames_take
from fleetswap_kernels.pool_frames import pool_frames_change
from tests.properties.phones import SETTINGS, ready, tiny, words

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
SHARES = 8
"""Parts of the many phones, so that several workers can have one each."""
COLUMN = metrics.columns()


def folio_frames(dev):
    """Frames of all folios that a PTE maps or the swap cache holds, each once."""
    present = dev.pte[dev.pte >> bits.KIND_SHIFT == bits.PRESENT] & bits.PTE_PAYLOAD
    cached = dev.cache[dev.cache != 0] - 1
    frames = np.concatenate([present, cached]).astype(np.int64)
    order = dev.frame[frames].astype(np.int64) >> bits.FRAME_ORDER_SHIFT & 15
    heads = set(zip((frames >> order << order).tolist(), order.tolist(), strict=True))
    return sum(1 << order for _, order in heads)


def out_of_reach(dev):
    """Mapped pages none of whose PTEs lies in a block that reclaim looks at."""
    generations = dev.by[dev.scalar("o_gen") :][: dev.scalar("n_gens")]
    present = (dev.pte >> bits.KIND_SHIFT == bits.PRESENT).nonzero()[0]
    frame = dev.pte[present] & bits.PTE_PAYLOAD
    seen = np.bincount(frame, weights=generations[present // layout.GEN_PTES] > 0, minlength=dev.frames)
    return np.count_nonzero(seen[frame] == 0)


def lost(dev, scenario, switches):
    """What does not add up, from the bare arrays of a device between two steps; one line each."""
    count = {name: int(dev.counter[index]) for name, index in COLUMN.items()}
    held = dev.scalar("frames_free") + dev.scalar("reserve_free") + count["pool_pages"] + folio_frames(dev)
    kinds = (dev.pte >> bits.KIND_SHIFT).reshape(dev.procs, -1)
    in_use = dev.proc[:, layout.PROC_USED] != 0
    killed = count["kills_low_swap"] + count["kills_thrashing"] + count["kills_no_memory"]
    started = 1 + scenario.system.processes + count["cold_starts"]
    came_in = count["pswpin"] + count["swpin_zero"]
    refaults = count["workingset_refault_anon"]
    distances = sum(count[f"refault_distance_2^{i}"] for i in range(counters.N_DISTANCES))
    equal = {
        "frames": (held, dev.frames),
        "MM_ANONPAGES": (dev.proc[:, layout.PROC_ANONPAGES].tolist(), (kinds == bits.PRESENT).sum(1).tolist()),
        "MM_SWAPENTS": (dev.proc[:, layout.PROC_SWAPENTS].tolist(), (kinds == bits.SWAP).sum(1).tolist()),
        "processes": (np.count_nonzero(in_use), started - count["trimmed_apps"] - killed),
        "gauge of processes": (count["processes"], np.count_nonzero(in_use)),
        "gauge of swapped pages": (count["swapped_pages"], np.count_nonzero(kinds == bits.SWAP)),
        "gauge of resident pages": (count["resident_pages"], folio_frames(dev)),
        "gauge of free slots": (count["free_slots"], np.count_nonzero(dev.map == 0)),
        "evictions": (dev.scalar("evictions"), count["pswpout"] + count["swpout_zero"]),
        "refaults by distance": (distances, refaults),
        "app switches": (count["app_switches"], switches),
    }
    if count["warn_mixed_zeromap"] == 0:
        # Else faults have read pages that they could not map (spec 07 §7.4).
        equal["refaults"] = (refaults, came_in)
    found = [f"{what}: {one} and {other}" for what, (one, other) in equal.items() if one != other]
    if kinds[~in_use].any():
        found.append("a process that has ended has pages")
    unreachable = out_of_reach(dev)
    if unreachable:
        found.append(f"{unreachable} pages can never be evicted")
    if refaults < count["workingset_activate_anon"]:
        found.append("more pages are activated than came back")
    return found


def check(choices, seed, steps=None):
    """Run a phone and look at everything after every step."""
    scenario = tiny(*words(choices), seed=seed)
    arena, laid_out = ready(scenario)
    checker = Checker(arena.view(0))
    dev = checker.dev
    for first, end in zip(laid_out.marks[:steps], laid_out.marks[1:], strict=False):
        arena.run(laid_out.program, first, end)
        assert checker.violations() == []
        assert lost(dev, scenario, int(laid_out.program[first, 2])) == []
        if not dev.counter[counters.SILENT_MIXED_ZEROMAP]:
            # The rules of v7 bring wrong contents, and count where (spec 07 §7.4).
            assert len(checker.wrong_pages()) == 0
            assert dev.counter[counters.WRONG_CONTENTS] == 0
    return dev


@settings(max_examples=1_000, deadline=None, suppress_health_check=SLOW, derandomize=True)
@given(SETTINGS, st.integers(0, 2**63 - 1))
def test_nothing_is_lost_whatever_the_policy(choices, seed):
    check(choices, seed)


@pytest.mark.million
@pytest.mark.parametrize("share", range(SHARES))
@settings(max_examples=5_000, deadline=None, suppress_health_check=SLOW, phases=[Phase.generate])
@given(choices=SETTINGS, seed=st.integers(0, 2**59))
def test_nothing_is_lost_in_many_phones(share, choices, seed):
    check(choices, SHARES * seed + share)


# Rules of memory that runs short, by hand. A bench phone runs no apps: every operation is given.

SMALL_ONLY = ("policy.mthp.16K=never", "policy.mthp.64K=never")
FOLIOS_64K = ("policy.mthp.16K=never",)
SWAP = ("device_class.phone.zram=200p",)
"""2048 slots: clusters that large folios can have to themselves."""
ROOM = ("app_class.large.anon_5min_mib=330",)
"""Makes room for more than 500 PTEs in a process."""
CALM = {"min_free": 0, "low_free": 0, "high_free": 0}
FRAMES = 512
"""Half of 1 GiB, in pages of 1 MiB."""
START = 0x10000
WRITTEN = 32
"""Content class 0, version 1."""


# As the entry points are: linked any other way, a call of a rare function may end in the code of another program.
compiled = numba.njit(pipeline_class=WholeProgramCompiler, error_model="numpy")


@compiled
def take_frames(arena, base, order):
    return frames_take(device_at(arena, base, 0), order, counters.BROKEN_BY_FOLIOS)


@compiled
def give_frames(arena, base, frame, order):
    frames_give(device_at(arena, base, 0), frame, order)


@compiled
def compact_frames(arena, base):
    compact(device_at(arena, base, 0))


@compiled
def change_pool(arena, base, have, pages):
    pool_frames_change(device_at(arena, base, 0), have, pages)


@compiled
def margin_of(arena, base, order):
    return has_margin(device_at(arena, base, 0), order)


class Bench:
    """A tiny phone that does what it is told."""

    def __init__(self, *chosen, swap_cache=True, **fields):
        self.scenario = tiny("policy.lmkd.enabled=false", *chosen)
        self.arena, _ = ready(self.scenario, swap_cache=swap_cache)
        self.record = self.arena.records[0]
        self.set(**CALM | fields)
        self.checker = Checker(self.arena.view(0))
        self.dev = self.checker.dev
        self.do((ops.PROC, 0))

    def set(self, **fields):
        for name, value in fields.items():
            self.record[name] = value
        return self

    def get(self, name):
        return self.dev.scalar(name)

    def count(self, name):
        return int(self.dev.counter[COLUMN[name]])

    def do(self, *rows):
        """Execute operations; the device must be sound after each."""
        for row in rows:
            program = np.zeros((1, ops.OP_WORDS), dtype=np.uint32)
            program[0, : len(row)] = row
            self.arena.run(program, 0, 1)
            assert self.checker.violations() == [], row
            assert len(self.checker.wrong_pages()) == 0
        return self

    def map(self, p, v, pages, at=0):
        """A region whose first PTE and page are number `at`."""
        return self.do((ops.MAP, p, v, pages, START + at, 0, at, at // 512 + 2 * v))

    def poke(self, p, v, page, n=1):
        """Make pages of zeros: what is swapped out of them needs no pool."""
        return self.do((ops.TOUCH, p, v, page, n, ops.POKE))

    def write(self, p, v, page, n=1):
        return self.do((ops.TOUCH, p, v, page, n, ops.WRITE, WRITTEN, ops.MODELLED))

    def read(self, p, v, page, n=1):
        return self.do((ops.TOUCH, p, v, page, n, ops.READ))

    def force(self, p, v, page, pages):
        """A fault that has to evict so many pages first."""
        self.set(min_free=self.get("frames_free") + pages, direct_pages=pages)
        self.poke(p, v, page)
        self.set(min_free=0)
        return self

    def kinds(self, p, first, n):
        """Kinds of PTEs of a process."""
        at = p * (len(self.dev.pte) // self.dev.procs) + first
        return (self.dev.pte[at : at + n] >> bits.KIND_SHIFT).tolist()

    def present(self, p, first, n):
        return self.kinds(p, first, n).count(bits.PRESENT)

    def swapped(self, p, first, n):
        return self.kinds(p, first, n).count(bits.SWAP)

    def take(self, order):
        """A block of frames for a folio; -1 if there is none."""
        frame = take_frames(self.arena.records, self.arena.base, order)
        if frame >= 0:
            self.dev.frame[frame : frame + (1 << order)] = order << bits.FRAME_ORDER_SHIFT
        return frame

    def give(self, frame, order):
        give_frames(self.arena.records, self.arena.base, frame, order)

    def generation(self, p, block):
        """Byte of a block of 16 PTEs of a process: 0 for one that reclaim does not look at."""
        return int(self.dev.by[self.get("o_gen") + p * (len(self.dev.pte) // self.dev.procs) // 16 + block])


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


def free_lists(dev):
    """Free blocks by order: of all frames, and of those in reserve."""
    lists = []
    for head in dev.block_head.tolist():
        n, at = 0, head
        while at != bits.FRAME_NIL:
            n, at = n + 1, int(dev.frame[at]) & bits.FRAME_LINK
        lists.append(n)
    return lists[: bits.MAX_BLOCK_ORDER + 1], lists[bits.MAX_BLOCK_ORDER + 1 :]


@pytest.mark.parametrize(
    ("order", "above_high", "enough"),
    [(2, 63, False), (2, 64, True), (6, 63, False), (6, 64, True), (7, 127, False), (7, 128, True), (8, 255, False)],
)
def test_margins(order, above_high, enough):
    bench = Bench(high_free=FRAMES - above_high)
    assert margin_of(bench.arena.records, bench.arena.base, order) == enough


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
    assert len(checker.wrong_pages()) == 0
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
    assert len(checker.wrong_pages()) == 0


@pytest.mark.parametrize("steps", [0, 3])
def test_an_error_ends_the_switch_and_harms_no_other_device(steps):
    # The page allocator of the second of three phones loses its lists: the next page it should give is an error.
    scenario = tiny(devices=3)
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


def test_a_fault_that_waits_is_not_counted_as_a_smaller_swapin():
    # Folios of 64 KiB are wanted, but not at swap-in. A fault is halted after it has read its page.
    bench = Bench(*FOLIOS_64K, *SWAP, "policy.large_swapin=off", "device_class.phone.cpus=2").map(0, 1, 16)
    bench.write(0, 1, 0, 16).do((ops.PAGEOUT, 0, 1, 0, 16), (ops.FAULT_BEGIN, 0, 1, 3, 0), (ops.CPU, 0, 1))
    assert bench.count("swapin_fallback_policy") == 1
    bench.read(0, 1, 3).read(0, 1, 3)
    assert bench.count("swapin_waits") == 2
    assert bench.count("swapin_fallback_policy") == 1
    # A child shares the entry: it would go through the swap cache, but has to wait as well.
    bench.do((ops.FORK, 0, 1)).read(1, 1, 3)
    assert bench.count("swapin_waits") == 3
    assert bench.count("swapin_fallback_swap_cache") == 0
    bench.do((ops.CPU, 0, 0), (ops.FAULT_END, 0)).read(1, 1, 3)
    assert bench.count("swapin_fallback_swap_cache") == 1
    assert bench.count("swapin_fallback_policy") == 1


def phone_with_apps(*chosen):
    """Zygote, a system process (1) and four apps (2 to 5), last in the foreground at switches 5, 3, 9 and 7."""
    bench = Bench("policy.lmkd.enabled=true", *SMALL_ONLY, *chosen).map(0, 0, 16).poke(0, 0, 0, 8)
    bench.do(*((ops.FORK, 0, p) for p in range(1, 6)))
    for p, stamp in {2: 5, 3: 3, 4: 9, 5: 7}.items():
        bench.dev.proc[p, layout.PROC_STAMP] = stamp
    return bench


def alive(bench):
    return bench.dev.proc[:, layout.PROC_USED].nonzero()[0].tolist()


def woken(bench, p, page):
    """A fault of a process with kswapd at work."""
    bench.set(low_free=FRAMES + 1, high_free=FRAMES + 1, kswapd_pages=1)
    bench.poke(p, 0, page)
    bench.set(low_free=0, kswapd_on=0)


def test_the_app_that_rested_longest_is_killed():
    # All of swap is below the limit, so that every fault with kswapd at work kills one.
    bench = phone_with_apps("policy.lmkd.swap_free_low_percent=100")
    bench.set(foreground=3 + 1)
    woken(bench, 2, 10)
    assert alive(bench) == [0, 1, 2, 3, 4], "3 is in the foreground and 2 runs: 5 it is"
    woken(bench, 2, 11)
    assert alive(bench) == [0, 1, 2, 3]
    woken(bench, 2, 12)
    assert alive(bench) == [0, 1, 2, 3], "neither the foreground nor the running one, nor zygote or the system"
    bench.set(foreground=0)
    woken(bench, 1, 13)
    assert alive(bench) == [0, 1, 2]
    woken(bench, 1, 14)
    assert alive(bench) == [0, 1]
    woken(bench, 1, 15)
    assert alive(bench) == [0, 1]
    assert bench.count("kills_low_swap") == 4
    assert bench.count("kills_thrashing") + bench.count("kills_no_memory") == 0


def test_nobody_is_killed_while_swap_is_free_or_without_lmkd():
    bench = phone_with_apps("policy.lmkd.swap_free_low_percent=50")
    woken(bench, 2, 10)
    assert alive(bench) == [0, 1, 2, 3, 4, 5]
    bench = phone_with_apps("policy.lmkd.swap_free_low_percent=100", "policy.lmkd.enabled=false")
    woken(bench, 2, 10)
    assert alive(bench) == [0, 1, 2, 3, 4, 5]


def test_thrashing_lowers_its_limit_with_every_kill():
    # 100 %, less a tenth of it each time, rounded down: 90, 81, 72. A share must be above the limit, not at it.
    bench = phone_with_apps("policy.lmkd.swap_free_low_percent=0")
    bench.set(window_pages=200, thrashing_limit=100, foreground=2 + 1)
    for page, (refaults, kills, limit) in enumerate(
        [(200, 0, 100), (201, 1, 90), (180, 1, 90), (181, 2, 81), (162, 2, 81), (163, 3, 72), (900, 3, 72)], 8
    ):
        bench.set(window_refaults=refaults)
        woken(bench, 1, page)
        assert (bench.count("kills_thrashing"), bench.get("thrashing_limit")) == (kills, limit)
    assert bench.count("kills_low_swap") == 0
    assert alive(bench) == [0, 1, 2], "the app in the foreground stays"


def test_refault_distances():
    # Page i is the i-th to go. Once 20 are out, page i has a distance of 20 - i.
    bench = Bench(*SMALL_ONLY).map(0, 1, 20).poke(0, 1, 0, 20)
    for page in range(20):
        bench.do((ops.PAGEOUT, 0, 1, page, 1))
    assert bench.get("evictions") == 20
    expected = [0] * counters.N_DISTANCES
    for page, power in ((19, 0), (18, 1), (17, 1), (16, 2), (13, 2), (12, 3), (4, 4), (0, 4)):
        bench.read(0, 1, page)
        expected[power] += 1
        assert [bench.count(f"refault_distance_2^{i}") for i in range(counters.N_DISTANCES)] == expected
    # Resident are the pages that are back, the one that comes included: 19, 18, 17 and 16 have at most as many.
    assert bench.count("workingset_activate_anon") == 4
    assert bench.count("workingset_refault_anon") == 8
    assert bench.get("window_refaults") == 8


def test_refault_distance_of_a_large_folio():
    # A folio of 16 pages goes, then 4 pages: the distance is 20 for all 16. Resident are 16.
    bench = Bench(*FOLIOS_64K, *SWAP).map(0, 1, 20).poke(0, 1, 0, 20)
    bench.do((ops.PAGEOUT, 0, 1, 0, 16), (ops.PAGEOUT, 0, 1, 16, 4))
    bench.read(0, 1, 7)
    assert bench.present(0, 0, 16) == 16
    assert bench.count("refault_distance_2^4") == 16 == bench.count("workingset_refault_anon")
    assert bench.count("workingset_activate_anon") == 0
    bench.read(0, 1, 18)
    # Page 18 was the 19th to go.
    assert bench.count("refault_distance_2^1") == 1
    assert bench.count("workingset_activate_anon") == 1


@pytest.mark.parametrize("seed", [0, 4, 8, 11])
def test_an_exact_pool_in_tight_memory(seed):
    # A zspage may need more frames than the page it stores has given back.
    check({"policy.pool": "exact"}, seed)


def test_apps_of_one_kind_of_content():
    # Two of their three regions are empty.
    check({"app_class.large.content.game_managed": 0, "app_class.large.content.gpu_raster": 0}, 0)
