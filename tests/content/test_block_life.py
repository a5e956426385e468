"""Blocks of several pages in zram: reads, partial frees, rewriting, refusal, sharing, the end (spec 08 §8.5)."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from fleetswap.calibrate.content import class_of
from fleetswap.script.language import parse_script
from fleetswap.script.program import compile_script
from fleetswap_kernels.backend.arena import Arena
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.compile.cpu_linker import WholeProgramCompiler
from fleetswap_kernels.device.zram.zsmalloc import class_for
from fleetswap_kernels.layout import size_classes as kernel_classes
from fleetswap_kernels.layout.counters import codec_index
from tests.content.block_trace import (
    FOLIO,
    HUGE,
    KIB_64,
    NAME,
    State,
    block_bytes,
    header,
    library,
    page_bytes,
    pool_pages,
    setup,
    size_classes,
    trace,
)


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


@numba.njit(pipeline_class=WholeProgramCompiler)
def class_in_device(records, size):
    return class_for(records[0], size)


def test_every_size_is_in_the_smallest_class_that_holds_it() -> None:
    # An object of up to 4,096 bytes fits a page whatever its handle needs (data/compressibility, README); above that
    # the handle counts.
    compiled = compile_script(
        parse_script("cfg blocks 1\ncfg zram 4M lz4\nmap A 2 9 hugepage\nwrite A 0 2 class:media\n")
    )
    arena = Arena([(compiled.blueprint, 1)], ONE_THREAD)
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
    arena = Arena([(compiled.blueprint, 1)], ONE_THREAD)
    arena.init()
    arena.run(compiled.program, 0, len(compiled.program))
    number = library()["classes"].tolist().index("js_app")
    names = ("compressed_blocks", "decompressed_blocks")
    assert [int(arena.counters()[0, codec_index(name, number)]) for name in names] == [1, 1]
