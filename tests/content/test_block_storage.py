"""Blocks of several pages in zram: what is stored (spec 08 §8.5), worked out from the rules and the measured tables."""

from __future__ import annotations

import pytest

from fleetswap_kernels.layout.words import CONTENT_ZERO
from tests.content.block_trace import (
    CODECS,
    FOLIO,
    HUGE,
    KIB_64,
    NAME,
    block_bytes,
    header,
    page_bytes,
    pool_pages,
    setup,
    trace,
)


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
