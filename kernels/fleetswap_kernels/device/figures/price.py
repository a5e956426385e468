"""Price of what a device counted: nanoseconds by cause, from a list of prices."""

from enum import IntEnum, auto, unique

import numpy as np

from ...compile.decorators import device
from ...layout.counters import (
    ANON_PAGES, BLK_DECOMP_BYTES, BLK_PAGES_READ, BLK_REWRITE, CODEC, CODEC_FIRST, COPIED_PAGES, FAULT_PAGES,
    FOLIO_ALLOC, HUGE_READS, MTHP, N_CLASSES, N_SCALAR, PGFAULT, PSWPIN, PSWPOUT, SWAPOUT_FOLIOS, SWPIN_ZERO,
    SWPOUT_ZERO, CodecWork, Mthp,
)  # fmt: skip
from ...layout.pages import PAGE_BYTES
from ...layout.words import N_ORDERS

PERMILLE = 1000


@unique
class PriceWord(IntEnum):
    """Words of a list of prices, ns; behind them stand those by order and by content class."""

    FAULT = 0
    MAP_PAGE = auto()
    FILL_PAGE = auto()
    COPY_PAGE = auto()
    OBJECT_READ = auto()
    OBJECT_WRITE = auto()
    SPLIT = auto()
    SWAPOUT_FOLIO = auto()
    SWAPOUT_PAGE = auto()
    REWRITE_BLOCK = auto()
    BLOCK_ORDER = auto()
    """Order of the device's blocks: no price."""
    COMPRESS_PAGE = auto()
    DECOMPRESS_PAGE = auto()
    COMPRESS_BLOCK = auto()
    DECOMPRESS_BLOCK = auto()


PRICES = tuple(word.name.lower() for word in PriceWord)
PER_ALLOC = len(PRICES)
"""A folio of each order."""
COMPRESS_PERMILLE = PER_ALLOC + N_ORDERS
DECOMPRESS_PERMILLE = COMPRESS_PERMILLE + N_CLASSES
"""Contents of each class against the mix."""
PRICE_WORDS = DECOMPRESS_PERMILLE + N_CLASSES


@unique
class Cause(IntEnum):
    """Causes of time: what a faulting process waits for, then what swap-out takes, then what nobody asked for."""

    FAULT = 0
    MAP = auto()
    ALLOCATE = auto()
    FILL = auto()
    COPY = auto()
    ZRAM_READ = auto()
    DECOMPRESS = auto()
    UNMAP = auto()
    SPLIT = auto()
    ZRAM_WRITE = auto()
    COMPRESS = auto()
    REWRITE = auto()


CAUSES = tuple(cause.name.lower().replace("_", " ") for cause in Cause)
STALL_END, SWAPOUT_END = Cause.UNMAP, Cause.REWRITE
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
        Its price: PriceWord.COMPRESS_PAGE or PriceWord.DECOMPRESS_PAGE.
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
    read_pages = sum_of_classes(rows, o, CodecWork.DECOMPRESSED_PAGES)
    read_blocks = sum_of_classes(rows, o, CodecWork.DECOMPRESSED_BLOCKS)
    written = sum_of_classes(rows, o, CodecWork.COMPRESSED_PAGES) + sum_of_classes(rows, o, CodecWork.COMPRESSED_BLOCKS)
    huge = rows[o + HUGE_READS]
    filled = rows[o + PSWPIN] - read_pages - rows[o + BLK_PAGES_READ] - huge + rows[o + SWPIN_ZERO]
    allocate = np.int64(0)
    split = np.int64(0)
    for order in range(N_ORDERS):
        allocate += rows[o + FOLIO_ALLOC + order] * prices[p + PER_ALLOC + order]
        if order >= 2:
            split += rows[o + N_SCALAR + len(MTHP) * order + Mthp.SPLIT]
    rewritten = rows[o + BLK_REWRITE]
    paid[q + Cause.FAULT] = rows[o + PGFAULT] * prices[p + PriceWord.FAULT]
    paid[q + Cause.MAP] = rows[o + FAULT_PAGES] * prices[p + PriceWord.MAP_PAGE]
    paid[q + Cause.ALLOCATE] = allocate
    paid[q + Cause.FILL] = (filled + rows[o + ANON_PAGES]) * prices[p + PriceWord.FILL_PAGE]
    paid[q + Cause.COPY] = (rows[o + COPIED_PAGES] + huge) * prices[p + PriceWord.COPY_PAGE]
    paid[q + Cause.ZRAM_READ] = (read_pages + read_blocks + huge) * prices[p + PriceWord.OBJECT_READ]
    paid[q + Cause.DECOMPRESS] = codec_ns(
        rows, o, prices, p, CodecWork.DECOMPRESSED_PAGES, PriceWord.DECOMPRESS_PAGE, DECOMPRESS_PERMILLE
    )
    out = rows[o + PSWPOUT] + rows[o + SWPOUT_ZERO]
    paid[q + Cause.UNMAP] = (
        rows[o + SWAPOUT_FOLIOS] * prices[p + PriceWord.SWAPOUT_FOLIO] + out * prices[p + PriceWord.SWAPOUT_PAGE]
    )
    paid[q + Cause.SPLIT] = split * prices[p + PriceWord.SPLIT]
    paid[q + Cause.ZRAM_WRITE] = written * prices[p + PriceWord.OBJECT_WRITE]
    paid[q + Cause.COMPRESS] = codec_ns(
        rows, o, prices, p, CodecWork.COMPRESSED_PAGES, PriceWord.COMPRESS_PAGE, COMPRESS_PERMILLE
    )
    paid[q + Cause.REWRITE] = rewritten * prices[p + PriceWord.REWRITE_BLOCK]
    blocks_bytes = rows[o + BLK_DECOMP_BYTES] - (rewritten * PAGE_BYTES << prices[p + PriceWord.BLOCK_ORDER])
    paid[q + DECOMPRESSED_BYTES] = read_pages * PAGE_BYTES + blocks_bytes
