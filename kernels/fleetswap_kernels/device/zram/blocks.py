"""Blocks of pages that zram stores as one object: which slots live in one, and reads of it (spec 08 §8.5)."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import (
    BLK_DECOMP, BLK_DECOMP_BYTES, BLK_PARTIAL_READ, COMPR_DATA_SIZE, DEAD_BYTES, PAGES_STORED, CodecWork,
)  # fmt: skip
from ...layout.device import (
    BLOCK_BYTES, BLOCK_CLASS, BLOCK_HANDLE, BLOCK_INFO, BLOCK_LIVE_SHIFT, BLOCK_NEXT, BLOCK_WORDS,
)  # fmt: skip
from ...layout.pages import PAGE_BYTES
from ...layout.words import CONTENT_NONE, NIL
from ..access import count, fill_words, set_word, word
from ..orders import pages_of
from .codec_work import count_codec_work
from .zsmalloc import zs_free

IN_BLOCK = 0xFFFF
"""Stored size of a slot that belongs to a block."""


@device
def block_at(dev, slot):
    """Word offset of the record of the block around a slot."""
    return np.int64(dev.o_block) + (slot >> np.int64(dev.block_order)) * BLOCK_WORDS


@device
def is_whole_block(dev, slot):
    """Whether the block of pages around a slot is stored as one object, all of its slots alive."""
    if dev.n_blocks == 0:
        return False
    info = word(dev, block_at(dev, slot) + BLOCK_INFO)
    return info >> BLOCK_LIVE_SHIFT == pages_of(dev.block_order)


@device
def dead_bytes(dev, info):
    """Share of a block's compressed bytes that belongs to slots freed since."""
    pages = pages_of(dev.block_order)
    live = info >> BLOCK_LIVE_SHIFT
    return (info & BLOCK_BYTES) * (pages - live) >> dev.block_order if live > 0 else np.int64(0)


@device
def free_block(dev, o):
    """Free the object of the block whose record is at word `o`."""
    size = word(dev, o + BLOCK_INFO) & BLOCK_BYTES
    zs_free(dev, word(dev, o + BLOCK_HANDLE), size)
    count(dev, COMPR_DATA_SIZE, -size)


@device
def leave_block(dev, slot, n):
    """Take `n` slots out of their block, which stays as long as another slot lives in it (spec 08 §8.5)."""
    o = block_at(dev, slot)
    info = word(dev, o + BLOCK_INFO)
    left = info - (n << BLOCK_LIVE_SHIFT)
    if left >> BLOCK_LIVE_SHIFT == 0:
        free_block(dev, o)
        left = np.int64(0)
    elif dev.block_rewrite and left >> BLOCK_LIVE_SHIFT <= pages_of(dev.block_order) >> 1:
        if word(dev, o + BLOCK_NEXT) == 0:
            first = np.int64(dev.sparse_blocks)
            set_word(dev, o + BLOCK_NEXT, NIL if first == 0 else first)
            dev.sparse_blocks = np.uint32((slot >> dev.block_order) + 1)
    set_word(dev, o + BLOCK_INFO, left)
    count(dev, DEAD_BYTES, dead_bytes(dev, left) - dead_bytes(dev, info))


@device
def drop_block(dev, slot):
    """Drop a block all of whose slots live: it has no dead bytes and does not wait to be rewritten."""
    pages = pages_of(dev.block_order)
    fill_words(dev, dev.o_stored + slot, pages, CONTENT_NONE)
    free_block(dev, block_at(dev, slot))
    set_word(dev, block_at(dev, slot) + BLOCK_INFO, 0)
    count(dev, PAGES_STORED, -pages)


@device
def count_block_read(dev, slot, wanted_whole):
    """Count that the block around a slot is decompressed, whatever part of it is wanted."""
    order = np.int64(dev.block_order)
    o = block_at(dev, slot)
    count(dev, BLK_DECOMP, 1)
    count(dev, BLK_DECOMP_BYTES, PAGE_BYTES << order)
    count_codec_work(dev, word(dev, o + BLOCK_CLASS), CodecWork.DECOMPRESSED_BLOCKS, 1)
    live = word(dev, o + BLOCK_INFO) >> BLOCK_LIVE_SHIFT
    if not wanted_whole or live < pages_of(order):
        count(dev, BLK_PARTIAL_READ, 1)
