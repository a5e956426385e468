"""Price of what a device counted: nanoseconds by cause, from a list of prices."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import (
    ANON_PAGES, BLK_DECOMP_BYTES, BLK_PAGES_READ, BLK_REWRITE, CODEC, CODEC_FIRST, COMPRESSED_BLOCKS,
    COMPRESSED_PAGES, COPIED_PAGES, DECOMPRESSED_BLOCKS, DECOMPRESSED_PAGES, FAULT_PAGES, FOLIO_ALLOC, HUGE_READS,
    MTHP, N_CLASSES, N_SCALAR, PGFAULT, PSWPIN, PSWPOUT, SPLIT, SWAPOUT_FOLIOS, SWPIN_ZERO, SWPOUT_ZERO,
)  # fmt: skip
from ...layout.pages import PAGE_BYTES

N_ORDERS = 10
PERMILLE = 1000

PRICES = (
    "fault", "map_page", "fill_page", "copy_page", "object_read", "object_write", "split", "swapout_folio",
    "swapout_page", "rewrite_block", "block_order", "compress_page", "decompress_page", "compress_block",
    "decompress_block",
)  # fmt: skip
"""Words of a list of prices, ns (`block_order` is the order of the device's blocks); the next ones are by order or by
content class."""
(
    PER_FAULT, PER_MAP_PAGE, PER_FILL_PAGE, PER_COPY_PAGE, PER_OBJECT_READ, PER_OBJECT_WRITE, PER_SPLIT,
    PER_SWAPOUT_FOLIO, PER_SWAPOUT_PAGE, PER_REWRITE_BLOCK, BLOCK_ORDER, PER_COMPRESS_PAGE, PER_DECOMPRESS_PAGE,
    PER_COMPRESS_BLOCK, PER_DECOMPRESS_BLOCK,
) = range(15)  # fmt: skip
PER_ALLOC = len(PRICES)
"""A folio of each order."""
COMPRESS_PERMILLE = PER_ALLOC + N_ORDERS
DECOMPRESS_PERMILLE = COMPRESS_PERMILLE + N_CLASSES
"""Contents of each class against the mix."""
PRICE_WORDS = DECOMPRESS_PERMILLE + N_CLASSES

CAUSES = (
    "fault", "map", "allocate", "fill", "copy", "zram read", "decompress",
    "unmap", "split", "zram write", "compress",
    "rewrite",
)  # fmt: skip
"""Of time: what a faulting process waits for, then what swap-out takes, then what nobody asked for."""
(
    NS_FAULT, NS_MAP, NS_ALLOCATE, NS_FILL, NS_COPY, NS_ZRAM_READ, NS_DECOMPRESS,
    NS_UNMAP, NS_SPLIT, NS_ZRAM_WRITE, NS_COMPRESS,
    NS_REWRITE,
) = range(12)  # fmt: skip
STALL_END, SWAPOUT_END = NS_UNMAP, NS_REWRITE
DECOMPRESSED_BYTES = len(CAUSES)
"""What the codec put out for faults, after the causes of time."""
PAID_WORDS = len(CAUSES) + 1


@device
def sum_of_classes(rows, o, kind):
    """Pages or blocks that went through the codec, over all content classes."""
    total = np.int64(0)
    for c in range(N_CLASSES):
        total += rows[o + CODEC_FIRST + len(CODEC) * c + kind]
    return total


@device
def codec_ns(rows, o, prices, p, pages, per_page, permille):
    """Time of one direction of the codec over all classes; places of blocks follow those of pages by two.

    Parameters
    ----------
    rows, o : int64 array and its index of the first counter
    prices, p : int64 array and its index of the list of prices
    pages : int64
        Counter of the pages of this direction among those of a class: COMPRESSED_PAGES or DECOMPRESSED_PAGES.
    per_page : int64
        Its price: PER_COMPRESS_PAGE or PER_DECOMPRESS_PAGE.
    permille : int64
        Its factors by class: COMPRESS_PERMILLE or DECOMPRESS_PERMILLE.
    """
    total = np.int64(0)
    for c in range(N_CLASSES):
        at = o + CODEC_FIRST + len(CODEC) * c + pages
        mix = rows[at] * prices[p + per_page] + rows[at + 2] * prices[p + per_page + 2]
        total += mix * prices[p + permille + c] // PERMILLE
    return total


@device
def price_row(rows, o, prices, p, paid, q):
    """Price the counters of a device.

    Parameters
    ----------
    rows, o : int64 array and its index of the first counter
    prices, p : int64 array and its index of the list of prices
    paid, q : int64 array and its index of the first of `PAID_WORDS` that are filled
    """
    read_pages = sum_of_classes(rows, o, DECOMPRESSED_PAGES)
    read_blocks = sum_of_classes(rows, o, DECOMPRESSED_BLOCKS)
    written = sum_of_classes(rows, o, COMPRESSED_PAGES) + sum_of_classes(rows, o, COMPRESSED_BLOCKS)
    huge = rows[o + HUGE_READS]
    filled = rows[o + PSWPIN] - read_pages - rows[o + BLK_PAGES_READ] - huge + rows[o + SWPIN_ZERO]
    allocate = np.int64(0)
    split = np.int64(0)
    for order in range(N_ORDERS):
        allocate += rows[o + FOLIO_ALLOC + order] * prices[p + PER_ALLOC + order]
        if order >= 2:
            split += rows[o + N_SCALAR + len(MTHP) * order + SPLIT]
    rewritten = rows[o + BLK_REWRITE]
    paid[q + NS_FAULT] = rows[o + PGFAULT] * prices[p + PER_FAULT]
    paid[q + NS_MAP] = rows[o + FAULT_PAGES] * prices[p + PER_MAP_PAGE]
    paid[q + NS_ALLOCATE] = allocate
    paid[q + NS_FILL] = (filled + rows[o + ANON_PAGES]) * prices[p + PER_FILL_PAGE]
    paid[q + NS_COPY] = (rows[o + COPIED_PAGES] + huge) * prices[p + PER_COPY_PAGE]
    paid[q + NS_ZRAM_READ] = (read_pages + read_blocks + huge) * prices[p + PER_OBJECT_READ]
    paid[q + NS_DECOMPRESS] = codec_ns(rows, o, prices, p, DECOMPRESSED_PAGES, PER_DECOMPRESS_PAGE, DECOMPRESS_PERMILLE)
    out = rows[o + PSWPOUT] + rows[o + SWPOUT_ZERO]
    paid[q + NS_UNMAP] = rows[o + SWAPOUT_FOLIOS] * prices[p + PER_SWAPOUT_FOLIO] + out * prices[p + PER_SWAPOUT_PAGE]
    paid[q + NS_SPLIT] = split * prices[p + PER_SPLIT]
    paid[q + NS_ZRAM_WRITE] = written * prices[p + PER_OBJECT_WRITE]
    paid[q + NS_COMPRESS] = codec_ns(rows, o, prices, p, COMPRESSED_PAGES, PER_COMPRESS_PAGE, COMPRESS_PERMILLE)
    paid[q + NS_REWRITE] = rewritten * prices[p + PER_REWRITE_BLOCK]
    blocks_bytes = rows[o + BLK_DECOMP_BYTES] - (rewritten * PAGE_BYTES << prices[p + BLOCK_ORDER])
    paid[q + DECOMPRESSED_BYTES] = read_pages * PAGE_BYTES + blocks_bytes
