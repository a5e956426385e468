"""Blocks of several pages in zram, step by step on one device: what is stored, counted and left (spec 08 §8.5).

Expectations are worked out from the rules of spec 08. Compressed sizes are looked up in the measured prototypes
(data/content/measured.npz, read as it is), by the documented layout of a content word; pages of a zspage come from the
measurement's own size classes (tests/data/compressibility/zsmalloc_classes.csv, chain size 8). `rand` pages do not
compress and `fill` pages take nothing, so that blocks of them have sizes that need no table.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pytest

import fleetswap
from fleetswap.arrays import DeviceArrays
from fleetswap.content_measure import class_of
from fleetswap.program import compile_script
from fleetswap.script import parse_script
from fleetswap_kernels import size_classes as kernel_classes
from fleetswap_kernels.arena import Arena
from fleetswap_kernels.bits import CONTENT_ZERO
from fleetswap_kernels.counters import SCALAR_NAMES, codec_index
from fleetswap_kernels.layout import BLOCK_BYTES, BLOCK_INFO, BLOCK_LIVE_SHIFT, CPU_RET, CPU_RET_NR
from fleetswap_kernels.zsmalloc import class_for

CLASSES_TABLE = Path(__file__).parents[1] / "data/compressibility/zsmalloc_classes.csv"
LIBRARY = Path(fleetswap.__file__).parent / "data/content/measured.npz"
CODECS = ("lz4", "lzo-rle", "zstd")
NAME = "java_app"
"""Few of its pages are filled with one word, and no block is incompressible."""
KIB_64 = 65536
HUGE = 4096
ORDINARY, ZERO_PAGE, SAME_FILLED = range(3)

Words = npt.NDArray[np.int64]


@dataclass(frozen=True)
class State:
    """A device at a dump.

    Parameters
    ----------
    counts : dict of str to int
        Its scalar counters.
    codec : dict of str to int
        Work of the codec for pages of `NAME`.
    stored : int64 array
        What every slot holds, 0 if nothing.
    blocks : dict of int to (int, int)
        Blocks in zram by number: compressed bytes and live slots.
    pages : dict of (str, str) to list
        What every page of a region is, by process and region: "n" none, "z" zero page, "p" present, else its slot.
    faults : tuple of int
        Minor faults, major faults and wrong pages of the operations since the last dump.
    in_cache : int
        Pages in the swap cache.
    parked : tuple of int
        Slots in the return cache of CPU 0.
    """

    counts: dict[str, int]
    codec: dict[str, int]
    stored: Words
    blocks: dict[int, tuple[int, int]]
    pages: dict[tuple[str, str], list[Any]]
    faults: tuple[int, int, int]
    in_cache: int
    parked: tuple[int, ...]

    def __sub__(self, before: State) -> dict[str, int]:
        """Counters that changed, and by how much."""
        return {n: self.counts[n] - before.counts[n] for n in ZRAM if self.counts[n] != before.counts[n]}


ZRAM = (
    "pages_stored", "compr_data_size", "pool_pages", "same_pages", "huge_pages", "huge_pages_since", "failed_writes",
    "blk_decomp", "blk_decomp_bytes", "blk_partial_read", "blk_pages_read", "blk_rewrite", "dead_bytes", "huge_reads",
)  # fmt: skip


def trace(setup: str, steps: str) -> dict[str, State]:
    """States of a device at the dumps of a script, by label; "new" is before the first operation."""
    script = parse_script(f"cfg page_cluster 0\n{setup}\n{steps}")
    compiled = compile_script(script)
    arena = Arena([(compiled.blueprint, 1)])
    arena.init()
    dev = DeviceArrays(arena.view(0))
    faults = [0, 0, 0]
    states = {"new": _state(dev, {}, faults)}
    for step in compiled.steps:
        if step.op.name == "dump":
            states[step.op.text] = _state(dev, step.processes, faults)
            faults = [0, 0, 0]
            continue
        arena.run(compiled.program, step.first, step.end)
        for i, name in enumerate(("op_minflt", "op_majflt", "op_bad")):
            faults[i] += dev.scalar(name)
        assert dev.scalar("op_bad") == 0, f"line {step.op.line}: a page holds what it should not"
    return states


def _state(dev: DeviceArrays, processes: dict[str, Any], faults: list[int]) -> State:
    info = dev.block[:, BLOCK_INFO].astype(np.int64)
    regions = {}
    for name, (number, of_process) in processes.items():
        pte = dev.pte.reshape(dev.procs, -1)[number]
        for region in of_process:
            found = pte[region.pte : region.pte + region.pages].tolist()
            kinds = [("n", "z", "p", word & 0xFFFFFF)[word >> 30] for word in found]
            regions[name, region.name] = kinds
    return State(
        {name: int(dev.counter[i]) for i, name in enumerate(SCALAR_NAMES)},
        {
            work: int(dev.counter[codec_index(work, _class_number(NAME))])
            for work in ("compressed_pages", "decompressed_pages", "compressed_blocks", "decompressed_blocks")
        },
        dev.stored.astype(np.int64),
        {int(b): (int(info[b]) & BLOCK_BYTES, int(info[b]) >> BLOCK_LIVE_SHIFT) for b in info.nonzero()[0]},
        regions,
        (faults[0], faults[1], faults[2]),
        dev.scalar("swap_cache_pages"),
        tuple(dev.cpu[0, CPU_RET : CPU_RET + int(dev.cpu[0, CPU_RET_NR])].tolist()),
    )


@cache
def library() -> dict[str, npt.NDArray[Any]]:
    with np.load(LIBRARY) as file:
        return {name: file[name] for name in ("classes", "sizes", "same")}


def _class_number(name: str) -> int:
    return library()["classes"].tolist().index(name)


def prototype(word: int) -> tuple[int, int, int]:
    """Class, prototype and page of a content word."""
    assert word >> 31 == 1
    return word >> 25 & 31, word >> 4 & 255, word & 15


def page_bytes(word: int, codec: str) -> int:
    """What zram stores for a page alone."""
    if word == CONTENT_ZERO:
        return 0
    c, p, member = prototype(word)
    if library()["same"][c, p, member] != ORDINARY:
        return 0
    size = int(library()["sizes"][c, p, CODECS.index(codec), member])
    return HUGE if size >= 3625 else size


def block_bytes(words: Words, codec: str) -> int:
    """What zram stores for a block that was written as a whole, 2 to 16 pages."""
    n = len(words)
    lead = int((words != CONTENT_ZERO).nonzero()[0][0])
    c, p, member = prototype(int(words[lead]))
    first = member - lead
    assert first % n == 0, "the block is no sub-block of a prototype"
    for i, word in enumerate(words.tolist()):
        zero = library()["same"][c, p, first + i] == ZERO_PAGE
        assert word == CONTENT_ZERO if zero else prototype(word) == (c, p, first + i)
    # 16 pages, 8 blocks of two, 4 of four, 2 of eight, 1 of sixteen.
    before = {2: 16, 4: 24, 8: 28, 16: 30}[n]
    return int(library()["sizes"][c, p, CODECS.index(codec), before + first // n])


@cache
def size_classes(order: int) -> list[tuple[int, int, int]]:
    """Bytes, pages and objects of a zspage of each size class with chain size 8."""
    with CLASSES_TABLE.open() as file:
        rows = [row for row in csv.DictReader(file) if (row["chain"], row["order"]) == ("8", str(order))]
    pages = [int(row["elements_per_zspage"]) * int(row["element_bytes"]) // 4096 for row in rows]
    return [(int(r["class_size"]), p, int(r["objects_per_zspage"])) for r, p in zip(rows, pages, strict=True)]


def pool_pages(objects: list[int], order: int) -> int:
    """Pages of a pool in which nothing was freed.

    An object lies in the smallest class that holds it and its handle of 8 bytes, but the class of 4,096 bytes has one
    object a page and its handle elsewhere: objects up to 4,096 bytes are in the ordinary classes.
    """
    used: Counter[tuple[int, int, int]] = Counter()
    for size in objects:
        need = size if 4088 < size <= 4096 else size + 8
        used[min(c for c in size_classes(order) if c[0] >= need)] += 1
    return sum(-(-n // objects_each) * pages for (_, pages, objects_each), n in used.items())


def header(state: State) -> int:
    """Compressed bytes of the swap header page: it is all that a new device stores."""
    assert state.counts["pages_stored"] == 1
    assert state.stored.nonzero()[0].tolist() == [0]
    return state.counts["compr_data_size"]


def setup(thp: str, codec: str = "zstd", blocks: str = "4", more: str = "") -> str:
    return f"cfg thp {thp}\ncfg zram 64M {codec}\ncfg blocks {blocks}\n{more}"


FOLIO = f"map A 16 9 hugepage\nwrite A 0 16 class:{NAME}\npageout A 0 16\n"
"""A folio of 64 KiB, swapped out to the first slots of cluster 1 (trace T1 of spec 10)."""


# Storing


@pytest.mark.parametrize("codec", CODECS)
def test_a_folio_of_one_block_is_one_object(codec: str) -> None:
    states = trace(setup("64=always", codec), FOLIO + "dump out")
    new, out = states["new"], states["out"]
    assert out.pages["0", "A"] == list(range(512, 528))
    c = block_bytes(out.stored[512:528], codec)
    assert 0 < c < 58105
    pool = pool_pages([header(new), c], 4)
    assert out - new == {"pages_stored": 16, "compr_data_size": c, "pool_pages": pool - new.counts["pool_pages"]}
    assert out.blocks == {512 // 16: (c, 16)}
    assert out.counts["max_used_pages"] == pool
    nothing = {"compressed_pages": 0, "decompressed_pages": 0, "decompressed_blocks": 0}
    assert out.codec == {**nothing, "compressed_blocks": 1}


def test_a_folio_of_two_blocks() -> None:
    steps = f"map A 32 9 hugepage\nwrite A 0 32 class:{NAME}\npageout A 0 32\ndump out"
    states = trace(setup("128=always"), steps)
    new, out = states["new"], states["out"]
    assert out.pages["0", "A"] == list(range(512, 544))
    c = [block_bytes(out.stored[first : first + 16], "zstd") for first in (512, 528)]
    pool = pool_pages([header(new), *c], 4)
    assert out - new == {"pages_stored": 32, "compr_data_size": sum(c), "pool_pages": pool - new.counts["pool_pages"]}
    assert out.blocks == {32: (c[0], 16), 33: (c[1], 16)}
    assert out.codec["compressed_blocks"] == 2


def test_a_folio_smaller_than_a_block_stays_pages() -> None:
    states = trace(setup("16=always"), FOLIO + "dump out")
    new, out = states["new"], states["out"]
    sizes = [page_bytes(word, "zstd") for word in out.stored[512:528].tolist()]
    assert all(sizes)
    pool = pool_pages([header(new), *sizes], 4)
    assert out - new == {
        "pages_stored": 16,
        "compr_data_size": sum(sizes),
        "pool_pages": pool - new.counts["pool_pages"],
        **({"huge_pages": n, "huge_pages_since": n} if (n := sizes.count(HUGE)) else {}),
    }
    assert out.blocks == {}
    assert (out.codec["compressed_pages"], out.codec["compressed_blocks"]) == (16, 0)


def test_a_folio_without_slots_is_split_and_stored_as_pages() -> None:
    # Trace T4 of spec 10: too small a device for clusters of large folios.
    states = trace("cfg thp 64=always\ncfg zram 2560K zstd\ncfg blocks 4", FOLIO + "dump out")
    new, out = states["new"], states["out"]
    assert out.pages["0", "A"] == list(range(1, 17))
    assert (out - new)["pages_stored"] == 16
    assert out.blocks == {}
    assert (out - new)["compr_data_size"] == sum(page_bytes(word, "zstd") for word in out.stored[1:17].tolist())


def test_order_0_pages_in_a_device_with_blocks_stay_pages() -> None:
    states = trace(setup("64=never"), FOLIO + "dump out")
    new, out = states["new"], states["out"]
    sizes = [page_bytes(word, "zstd") for word in out.stored[512:528].tolist()]
    assert (out - new)["compr_data_size"] == sum(sizes)
    assert out.blocks == {}


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_folio_of_several_smaller_blocks(order: int) -> None:
    states = trace(setup("64=always", blocks=str(order)), FOLIO + "dump out")
    new, out = states["new"], states["out"]
    n = 1 << order
    c = [block_bytes(out.stored[first : first + n], "zstd") for first in range(512, 528, n)]
    assert len(c) == 16 >> order
    pool = pool_pages([header(new), *c], order)
    assert out - new == {"pages_stored": 16, "compr_data_size": sum(c), "pool_pages": pool - new.counts["pool_pages"]}
    assert out.blocks == {(512 >> order) + i: (size, n) for i, size in enumerate(c)}


def test_a_same_filled_block() -> None:
    # The first half of the folio is zeros; the zero-page bitmap is for whole folios (spec 03).
    steps = f"map A 32 9 hugepage\nwrite A 16 16 class:{NAME}\npageout A 0 32\ndump out\nread A 0 1\ndump in"
    states = trace(setup("128=always"), steps)
    new, out = states["new"], states["out"]
    assert out.stored[512:528].tolist() == [CONTENT_ZERO] * 16
    c = block_bytes(out.stored[528:544], "zstd")
    pool = pool_pages([header(new), c], 4) - new.counts["pool_pages"]
    assert out - new == {"pages_stored": 32, "same_pages": 16, "compr_data_size": c, "pool_pages": pool}
    assert out.blocks == {33: (c, 16)}
    assert out.codec["compressed_blocks"] == 1
    # A same-filled block is no work for the codec.
    assert states["in"] - out == {
        "pages_stored": -32,
        "same_pages": -16,
        "compr_data_size": -c,
        "pool_pages": -pool,
        "blk_decomp": 1,
        "blk_decomp_bytes": KIB_64,
        "blk_pages_read": 16,
    }


def test_a_folio_of_zeros_never_gets_to_zram() -> None:
    states = trace(setup("64=always"), "map A 16 9 hugepage\nwrite A 0 16 zero\npageout A 0 16\ndump out")
    assert states["out"] - states["new"] == {}
    assert states["out"].counts["swpout_zero"] == 16


NOISE = """map A 16 9 hugepage
write A 0 {n} rand:1
write A {n} {rest} fill:7
pageout A 0 16
dump out
read A 0 1
dump in"""


def test_a_block_just_below_the_threshold_is_stored_as_one() -> None:
    # 14 raw pages: 57,344 bytes; objects are raw from 58,105 on.
    states = trace(setup("64=always", "lz4"), NOISE.format(n=14, rest=2))
    new, out = states["new"], states["out"]
    pool = pool_pages([header(new), 14 * 4096], 4) - new.counts["pool_pages"]
    assert pool == 8 * 16, "class 58,112: 9 objects on 8 blocks"
    assert out - new == {"pages_stored": 16, "compr_data_size": 57344, "pool_pages": pool}
    assert out.blocks == {32: (57344, 16)}


def test_a_block_of_4096_bytes_takes_a_page() -> None:
    states = trace(setup("64=always", "lz4"), NOISE.format(n=1, rest=15))
    new, out = states["new"], states["out"]
    assert out - new == {"pages_stored": 16, "compr_data_size": 4096, "pool_pages": 1}
    assert out.blocks == {32: (4096, 16)}
    assert states["in"] - new == {"blk_decomp": 1, "blk_decomp_bytes": KIB_64, "blk_pages_read": 16}


@pytest.mark.parametrize("n", [15, 16])
def test_an_incompressible_block_is_16_raw_pages(n: int) -> None:
    # 15 raw pages: 61,440 bytes. The page of one word, too, is stored raw.
    states = trace(setup("64=always", "lz4"), NOISE.format(n=n, rest=16 - n))
    new, out = states["new"], states["out"]
    assert out - new == {
        "pages_stored": 16,
        "compr_data_size": KIB_64,
        "pool_pages": 16,
        "huge_pages": 16,
        "huge_pages_since": 16,
    }
    assert out.blocks == {}
    assert states["in"] - out == {
        "pages_stored": -16,
        "compr_data_size": -KIB_64,
        "pool_pages": -16,
        "huge_pages": -16,
        "huge_reads": 16,
    }


@pytest.mark.parametrize("codec", CODECS)
def test_scaled_blocks(codec: str) -> None:
    # Level 16 of a process is a factor of 1, a level 2^(1/8), in 2^-12 (identity word, bits 12..16).
    levels = set()
    for seed in range(6):
        states = trace(setup("64=always", codec, more=f"cfg content seed={seed} scaled"), FOLIO + "dump out")
        out = states["out"]
        words = out.stored[512:528]
        level = int(words.max()) >> 12 & 31
        c = block_bytes(words, codec) * round(2 ** ((level - 16) / 8) * 4096) >> 12
        stored = KIB_64 if c >= 58105 else c
        assert (out - states["new"])["compr_data_size"] == stored, f"seed {seed}, level {level}"
        assert out.blocks == ({} if stored == KIB_64 else {32: (c, 16)})
        levels.add(level)
    assert len(levels) > 1


# Partial frees


def test_a_block_whose_pages_go_one_after_the_other() -> None:
    steps = """dontneed A 3 5
    dump five
    dontneed A 0 2
    dump seven
    dontneed A 12 4
    dump eleven
    dontneed A 2 1
    dontneed A 8 3
    dump one
    dontneed A 0 16
    dump none"""
    states = trace(setup("64=always"), FOLIO + "dump out\n" + steps)
    new, out = states["new"], states["out"]
    c = block_bytes(out.stored[512:528], "zstd")
    for label, dead in (("five", 5), ("seven", 7), ("eleven", 11), ("one", 15)):
        change = states[label] - out
        assert change == {"pages_stored": -dead, "dead_bytes": c * dead // 16}, label
        assert states[label].blocks == {32: (c, 16 - dead)}, label
    assert states["one"].stored[512:528].nonzero()[0].tolist() == [11]
    assert states["none"] - new == {}
    assert states["none"].blocks == {}


def test_a_slot_in_the_return_cache_still_lives() -> None:
    # An order-0 swap-out switches the slot caches on; from then on a single slot is parked, not freed (spec 04).
    first = f"map B 1 0 nohugepage\nwrite B 0 1 class:{NAME}\npageout B 0 1\n"
    states = trace(setup("64=always"), first + FOLIO + "dump out\ndontneed A 3 1\ndump one\ndontneed A 4 2\ndump three")
    out = states["out"]
    slot = out.pages["0", "A"][0]
    c = block_bytes(out.stored[slot : slot + 16], "zstd")
    assert states["one"] - out == {}
    assert states["one"].pages["0", "A"][3] == "n"
    assert states["one"].blocks == {slot // 16: (c, 16)}
    assert states["three"] - out == {"pages_stored": -2, "dead_bytes": c * 2 // 16}
    assert states["three"].blocks == {slot // 16: (c, 14)}


# Reading


def test_order_0_reads_decompress_the_block_every_time() -> None:
    states = trace(
        setup("64=always", more="cfg swapin small"), FOLIO + "dump out\nread A 5 1\ndump one\nread A 0 16\ndump in"
    )
    new, out, one = states["new"], states["out"], states["one"]
    c = block_bytes(out.stored[512:528], "zstd")
    assert one - out == {
        "pages_stored": -1,
        "dead_bytes": c // 16,
        "blk_decomp": 1,
        "blk_decomp_bytes": KIB_64,
        "blk_partial_read": 1,
        "blk_pages_read": 1,
    }
    assert one.faults == (0, 1, 0)
    # The last read frees the last slot, and with it the block.
    work = {"blk_decomp": 16, "blk_decomp_bytes": 16 * KIB_64, "blk_partial_read": 16, "blk_pages_read": 16}
    assert states["in"] - new == work
    assert states["in"].faults == (0, 15, 0)
    assert states["in"].blocks == {}
    assert states["in"].codec["decompressed_blocks"] == 16
    assert states["in"].codec["decompressed_pages"] == 0


def test_one_large_swap_in_decompresses_the_block_once() -> None:
    states = trace(setup("64=always"), FOLIO + "dump out\nread A 5 1\ndump in")
    assert states["in"] - states["new"] == {"blk_decomp": 1, "blk_decomp_bytes": KIB_64, "blk_pages_read": 16}
    assert states["in"].faults == (0, 1, 0)
    assert states["in"].pages["0", "A"] == ["p"] * 16
    assert states["in"].codec["decompressed_blocks"] == 1


def test_a_smaller_swap_in_reads_a_part() -> None:
    states = trace(setup("64=always"), FOLIO + "dump out\nthp 16=always 64=never\nread A 5 1\ndump in")
    out = states["out"]
    c = block_bytes(out.stored[512:528], "zstd")
    assert states["in"] - out == {
        "pages_stored": -4,
        "dead_bytes": c * 4 // 16,
        "blk_decomp": 1,
        "blk_decomp_bytes": KIB_64,
        "blk_partial_read": 1,
        "blk_pages_read": 4,
    }
    assert states["in"].pages["0", "A"] == [*range(512, 516), *"pppp", *range(520, 528)]


def test_one_swap_in_of_two_blocks() -> None:
    steps = f"map A 32 9 hugepage\nwrite A 0 32 class:{NAME}\npageout A 0 32\ndump out\nread A 20 1\ndump in"
    states = trace(setup("128=always"), steps)
    work = {"blk_decomp": 2, "blk_decomp_bytes": 2 * KIB_64, "blk_pages_read": 32}
    assert states["in"] - states["new"] == work
    assert states["in"].faults == (0, 1, 0)


def test_single_pages_of_small_folios_are_decompressed_one_by_one() -> None:
    states = trace(setup("16=always"), FOLIO + "dump out\nread A 5 1\ndump in")
    assert {name for name in states["in"] - states["out"] if name.startswith("blk")} == set()
    assert states["in"].codec["decompressed_pages"] == 4
    assert states["in"].codec["decompressed_blocks"] == 0


# Fallback


@pytest.mark.parametrize(("blocks", "mapped"), [("4 fallback", 16), ("4", 1)])
def test_a_folio_that_cannot_be_had(blocks: str, mapped: int) -> None:
    steps = FOLIO + "dump out\nverdict folio 64 0\nread A 5 1\ndump in\nread A 0 16\ndump all"
    states = trace(setup("64=always", blocks=blocks), steps)
    out, read = states["out"], states["in"]
    c = block_bytes(out.stored[512:528], "zstd")
    change = read - out
    assert read.faults == (0, 1, 0)
    assert read.pages["0", "A"].count("p") == mapped
    assert (change["blk_decomp"], change["blk_decomp_bytes"], change["blk_pages_read"]) == (1, KIB_64, mapped)
    assert change["pages_stored"] == -mapped
    if mapped == 16:
        assert "blk_partial_read" not in change
        assert change["compr_data_size"] == -c
        assert states["all"].faults == (0, 0, 0)
    else:
        assert change["blk_partial_read"] == 1
        assert change["dead_bytes"] == c // 16
        # The rest is no folio of 64 KiB any more: a fault and a decompression each.
        assert states["all"].faults == (0, 15, 0)
        assert (states["all"] - read)["blk_decomp"] == 15


def test_fallback_pages_are_small_folios() -> None:
    # Written on their own they leave alone what they were: swapped out again, they are single pages.
    steps = FOLIO + "dump out\nverdict folio 64 0\nread A 5 1\npageout A 0 16\ndump again"
    states = trace(setup("64=always", blocks="4 fallback"), steps)
    new, again = states["new"], states["again"]
    assert again.blocks == {}
    sizes = [page_bytes(word, "zstd") for word in states["out"].stored[512:528].tolist()]
    assert again.counts["compr_data_size"] == header(new) + sum(sizes)


# Rewriting


@pytest.mark.parametrize(("dropped", "rewritten"), [(7, False), (8, True), (12, True)])
def test_survivors_of_a_sparse_block(dropped: int, rewritten: bool) -> None:
    states = trace(setup("64=always", blocks="4 rewrite"), FOLIO + f"dump out\ndontneed A 0 {dropped}\ndump sparse")
    new, out, sparse = states["new"], states["out"], states["sparse"]
    words = out.stored[512:528]
    c = block_bytes(words, "zstd")
    if not rewritten:
        assert sparse - out == {"pages_stored": -dropped, "dead_bytes": c * dropped // 16}
        return
    survivors = [page_bytes(word, "zstd") for word in words[dropped:].tolist()]
    assert HUGE not in survivors
    stored = [size for size in survivors if size]
    same = len(survivors) - len(stored)
    assert sparse - new == {
        "pages_stored": 16 - dropped,
        "compr_data_size": sum(stored),
        "pool_pages": pool_pages([header(new), *stored], 4) - new.counts["pool_pages"],
        "blk_decomp": 1,
        "blk_decomp_bytes": KIB_64,
        "blk_rewrite": 1,
        **({"same_pages": same} if same else {}),
    }
    assert sparse.blocks == {}
    assert sparse.stored[512:528].tolist() == [0] * dropped + words[dropped:].tolist()
    assert sparse.codec["compressed_pages"] == len(stored)


def test_without_the_option_nothing_is_rewritten() -> None:
    states = trace(setup("64=always"), FOLIO + "dump out\ndontneed A 0 12\ndump sparse")
    assert states["sparse"].counts["blk_rewrite"] == 0
    assert [live for _, live in states["sparse"].blocks.values()] == [4]


# Overwriting. With mem_limit a folio of two blocks is stored by half and stays in the swap cache with its slots; once
# there is room it is written to them again, whole or, after a split, page by page.

HALF = """map B 16 9 hugepage
write B 0 14 rand:2
write B 14 2 fill:3
pageout B 0 16
dump before
map A 32 9 hugepage
write A 0 8 rand:1
write A 8 8 fill:5
write A 16 12 rand:1
write A 28 4 fill:6
pageout A 0 32
dump half
dontneed B 0 16
dump room
read A 0 1
"""
# Blocks of 14, 8 and 12 raw pages: 57,344, 32,768 and 49,152 bytes, handles apart, in classes of 58,112 (8 blocks a
# zspage), 34,816 (8) and 50,944 (7).
B, FIRST, SECOND = (57344, 8 * 16), (32768, 8 * 16), (49152, 7 * 16)


def half_stored(more: str) -> dict[str, State]:
    """A pool with room for the header's page and the zspages of B and of A's first block."""
    config = f"cfg thp 64=always 128=always\ncfg zram 64M lz4 mem_limit={(1 + B[1] + FIRST[1]) * 4}K\ncfg blocks 4"
    states = trace(config, HALF + more)
    assert states["new"].counts["pool_pages"] == pool_pages([header(states["new"])], 4) == 1
    change = states["before"] - states["new"]
    assert change == {"pages_stored": 16, "compr_data_size": B[0], "pool_pages": B[1]}
    return states


def test_a_refused_block() -> None:
    states = half_stored("dump in")
    before, half = states["before"], states["half"]
    # The first block is stored, the second refused; nothing is tried twice.
    assert half - before == {
        "pages_stored": 16,
        "compr_data_size": FIRST[0],
        "pool_pages": FIRST[1],
        "failed_writes": 1,
    }
    first = half.pages["0", "A"][0]
    assert half.pages["0", "A"] == list(range(first, first + 32))
    assert half.in_cache == 32
    assert half.blocks[first // 16] == (FIRST[0], 16)
    assert first // 16 + 1 not in half.blocks
    # What was refused had its zspage before the limit was looked at (spec 08 §8.1, steps 4 to 6).
    assert half.counts["max_used_pages"] == 1 + B[1] + FIRST[1] + SECOND[1]
    # It is read from the swap cache: a minor fault, no decompression.
    assert states["in"].faults == (1, 0, 0)
    assert states["in"] - states["room"] == {}


def test_a_block_written_over_by_another() -> None:
    states = half_stored("dump in\npageout A 0 32\ndump again")
    half, again = states["half"], states["again"]
    first = half.pages["0", "A"][0]
    assert again.pages["0", "A"] == list(range(first, first + 32))
    # Both blocks are written; the first takes the place of itself, in the zspage that it has.
    assert again - states["in"] == {"pages_stored": 16, "compr_data_size": SECOND[0], "pool_pages": SECOND[1]}
    assert again.blocks == {first // 16: (FIRST[0], 16), first // 16 + 1: (SECOND[0], 16)}
    assert again.in_cache == 0


def test_a_page_written_over_a_slot_of_a_block() -> None:
    steps = """write A 3 1 rand:77
    dump in
    pageout A 0 8
    dump pages
    read A 3 1
    dump one
    pageout A 8 8
    dump all"""
    states = half_stored(steps)
    half, written, pages = states["half"], states["in"], states["pages"]
    first = half.pages["0", "A"][0]
    # Paging out a part splits the folio, which stays in the swap cache: 8 dirty pages go to their own slots.
    assert pages.pages["0", "A"] == [*range(first, first + 8), *"p" * 24]
    assert pages - written == {
        "compr_data_size": 8 * 4096,
        "pool_pages": 8,
        "huge_pages": 8,
        "huge_pages_since": 8,
        "dead_bytes": FIRST[0] * 8 // 16,
    }
    assert pages.blocks[first // 16] == (FIRST[0], 8)
    # The slot has the new page, which has an object of its own.
    assert pages.stored[first + 3] != half.stored[first + 3]
    assert pages.stored[first : first + 3].tolist() == half.stored[first : first + 3].tolist()
    assert states["one"] - pages == {
        "pages_stored": -1,
        "compr_data_size": -4096,
        "pool_pages": -1,
        "huge_pages": -1,
        "huge_reads": 1,
    }
    # The other half is of one word: its pages need no object, and the block goes with the last of them.
    assert states["all"] - states["one"] == {
        "same_pages": 8,
        "compr_data_size": -FIRST[0],
        "pool_pages": -FIRST[1],
        "dead_bytes": -(FIRST[0] * 8 // 16),
    }
    assert states["all"].blocks == {}


# Sharing


def test_a_block_that_two_processes_share() -> None:
    steps = """fork 1
    dontneed A 0 16
    dump parent
    @1 read A 2 1
    dump child
    @1 exit
    dump gone"""
    states = trace(setup("64=always"), FOLIO + "dump out\n" + steps)
    out = states["out"]
    # The child's entries keep all slots.
    assert states["parent"] - out == {}
    c = block_bytes(out.stored[512:528], "zstd")
    assert states["parent"].blocks == {32: (c, 16)}
    assert states["child"].pages["1", "A"] == ["p"] * 16
    assert states["gone"] - states["new"] == {"blk_decomp": 1, "blk_decomp_bytes": KIB_64, "blk_pages_read": 16}


def test_a_page_of_a_shared_block_is_read_through_the_swap_cache() -> None:
    steps = "fork 1\nread A 2 1\ndump shared\nexit\ndump one\n@1 exit\ndump gone"
    states = trace(setup("64=always"), FOLIO + "dump out\n" + steps)
    out = states["out"]
    work = {"blk_decomp": 1, "blk_decomp_bytes": KIB_64, "blk_partial_read": 1, "blk_pages_read": 1}
    assert states["shared"] - out == work
    assert states["shared"].in_cache == 1
    assert states["one"] - out == work
    assert states["gone"] - states["new"] == work
    assert states["gone"].blocks == {}


# The end


@pytest.mark.parametrize("blocks", ["4", "4 rewrite", "4 fallback", "2", "5", "0"])
def test_nothing_is_left_but_the_header_and_the_return_cache(blocks: str) -> None:
    steps = f"""map A 4096 9 hugepage
    write A 0 4096 class:{NAME}
    map B 512 9 hugepage
    write B 0 512 rand:4
    map C 512 9 nohugepage
    write C 0 512 class:media
    pageout A 0 4096
    pageout B 0 512
    pageout C 0 512
    dump out
    fork 1
    randdontneed A 3 400 class:{NAME}:1
    read A 0 1000
    @1 read A 500 700
    @1 randwrite A 16 40 class:game_native:2
    pageout A 0 4096
    @1 pageout A 0 4096
    exit
    dump child
    @1 exit
    dump gone"""
    states = trace(setup("16=always 64=always 128=always", "lz4", blocks), steps)
    new, child, gone = states["new"], states["child"], states["gone"]
    assert states["out"].counts["pages_stored"] > 4096 + 512
    assert child.counts["pages_stored"] > 2048
    assert (blocks == "0") == (child.blocks == {})
    assert gone.in_cache == 0
    left = set(gone.stored.nonzero()[0].tolist())
    assert left <= {0, *gone.parked}
    assert gone.counts["pages_stored"] == len(left)
    # Of a block whose last slots are parked all bytes are left.
    order = int(blocks[0])
    alone = [page_bytes(int(gone.stored[slot]), "lz4") for slot in left - {0} if slot >> order not in gone.blocks]
    objects = [header(new), *(size for size in alone if size), *(size for size, _ in gone.blocks.values())]
    assert gone.counts["compr_data_size"] == sum(objects)
    assert gone.counts["same_pages"] == alone.count(0)
    # Each of them may hold a zspage of its own.
    assert pool_pages(objects, order) <= gone.counts["pool_pages"] <= sum(pool_pages([one], order) for one in objects)


@numba.njit
def class_in_device(records, size):
    return class_for(records[0], size)


def test_every_size_is_in_the_smallest_class_that_holds_it() -> None:
    # An object of up to 4,096 bytes fits a page whatever its handle needs (data/compressibility, README); above that
    # the handle counts.
    compiled = compile_script(
        parse_script("cfg blocks 1\ncfg zram 4M lz4\nmap A 2 9 hugepage\nwrite A 0 2 class:media\n")
    )
    arena = Arena([(compiled.blueprint, 1)])
    arena.init()
    classes = sorted(size for size, _, _ in size_classes(1))
    found = kernel_classes.size_classes(block_order=1)
    sizes = range(1, found.huge_block_bytes)
    want = [next(c for c in classes if c >= (min(size + 8, 4096) if size <= 4096 else size + 8)) for size in sizes]
    in_device = [int(found.class_bytes[class_in_device(arena.records, size)]) for size in sizes]
    assert in_device == want
    assert found.class_bytes[class_of(found, np.array(sizes))].tolist() == want


def test_a_block_is_read_as_the_class_it_was_written_as_whichever_page_is_wanted() -> None:
    # Page 0 of this block is zero-filled and belongs to no class.
    script = (
        "cfg thp 64=always\ncfg zram 64M zstd\ncfg blocks 4\ncfg content seed=7\nmap A 16 9 hugepage\n"
        "write A 0 16 class:js_app\npageout A 0 16\nread A 0 1\n"
    )
    compiled = compile_script(parse_script(script))
    arena = Arena([(compiled.blueprint, 1)])
    arena.init()
    arena.run(compiled.program, 0, len(compiled.program))
    number = library()["classes"].tolist().index("js_app")
    names = ("compressed_blocks", "decompressed_blocks")
    assert [int(arena.counters()[0, codec_index(name, number)]) for name in names] == [1, 1]
