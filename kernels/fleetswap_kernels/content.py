"""What a swap slot reads back as (spec 05 §5.2 step 4; mm/page_io.c swap_read_folio)."""

import numpy as np

from .access import byte, count, half, run_half, run_word, set_word, word
from .bits import CONTENT_NONE, CONTENT_ZERO
from .compressed import content_class
from .counters import (
    BLK_DECOMP, BLK_DECOMP_BYTES, BLK_PAGES_READ, BLK_PARTIAL_READ, CLASS_OF_TABLE, CODEC_FIRST, DECOMPRESSED_BLOCKS,
    DECOMPRESSED_PAGES, HUGE_READS,
)  # fmt: skip
from .jit import device, rare
from .layout import BLOCK_INFO, BLOCK_LIVE_SHIFT, BLOCK_WORDS

IN_BLOCK = 0xFFFF
"""Stored size of a slot that belongs to a block (`zram_block`)."""
HUGE_BYTES = 4096
"""Stored size of a page that did not compress below the huge threshold."""


@device
def zeromap_bit(dev, slot):
    """The zero-page bit of a slot."""
    return byte(dev, dev.o_zeromap + (slot >> 3)) >> (slot & 7) & 1


@device
def zeromap_mixed(dev, slot, n):
    """Whether the zero-page bits of an aligned block of at least 4 slots differ."""
    if n == 4:
        nibble = byte(dev, dev.o_zeromap + (slot >> 3)) >> (slot & 4) & 15
        return nibble != 0 and nibble != 15
    o = dev.o_zeromap + (slot >> 3)
    first = byte(dev, o)
    if first != 0 and first != 255:
        return True
    for i in range(1, n >> 3):
        if byte(dev, o + i) != first:
            return True
    return False


@device
def stored_content(dev, slot):
    """Content zram returns for a slot; an empty slot reads as zeros."""
    return max(word(dev, dev.o_stored + slot), np.int64(CONTENT_ZERO))


@device
def slot_content(dev, slot):
    """Content of a swapped-out page, from the zero-page bitmap or from zram."""
    if zeromap_bit(dev, slot):
        return CONTENT_ZERO
    return stored_content(dev, slot)


@device
def read_stored(dev, head, slot, n):
    """Read `n` slots from zram into a folio."""
    o_content = np.int64(dev.o_content) + head
    o_stored = np.int64(dev.o_stored) + slot
    for i in range(n):
        set_word(dev, o_content + i, max(word(dev, o_stored + i), np.int64(CONTENT_ZERO)))
    count_decompression(dev, slot, n)


@device
def is_whole_block(dev, slot):
    """Whether the block of pages around a slot is stored as one object, all of its slots alive."""
    if dev.n_blocks == 0:
        return False
    info = word(dev, dev.o_block + (slot >> dev.block_order) * BLOCK_WORDS + BLOCK_INFO)
    return info >> BLOCK_LIVE_SHIFT == 1 << dev.block_order


@device
def count_decompression(dev, slot, n):
    """Count what the codec does to read `n` slots; without a pool all are same-filled, and it does nothing."""
    if dev.n_zclasses:
        size = half(dev, dev.o_stored_bytes + slot)
        if n == 1 and size != IN_BLOCK:
            content = word(dev, dev.o_stored + slot)
            if content != CONTENT_NONE and size == HUGE_BYTES:
                count(dev, HUGE_READS, 1)
            elif content != CONTENT_NONE and size != 0:
                count(dev, CODEC_FIRST + 4 * content_class(content) + DECOMPRESSED_PAGES, 1)
            return
        count_codec_reads(dev, slot, n)


@device
def count_run_read(dev, slot, n):
    """Count what the codec does to read `n` slots if all are full, of one class, and none of them in a block.

    Returns
    -------
    int64
        1 if they are counted.
    """
    o_stored = np.int64(dev.o_stored) + slot
    o_bytes = np.int64(dev.o_stored_bytes) + slot
    of_class = content_class(word(dev, o_stored))
    other = np.int64(0)
    same = np.int64(0)
    huge = np.int64(0)
    for i in range(n):
        size = run_half(dev, o_bytes + i)
        other += content_class(run_word(dev, o_stored + i)) != of_class
        other += size == IN_BLOCK
        same += size == 0
        huge += size == HUGE_BYTES
    if other or of_class == CLASS_OF_TABLE:
        return 0
    count(dev, CODEC_FIRST + 4 * of_class + DECOMPRESSED_PAGES, n - same - huge)
    count(dev, HUGE_READS, huge)
    return 1


@rare
def count_codec_reads(dev, slot, n):
    """Count what the codec does to read `n` slots: pages one by one, a block whole and once (spec 08 §8.5)."""
    if dev.block_order == 0 and count_run_read(dev, slot, n):
        return
    order = np.int64(dev.block_order)
    last = np.int64(-1)
    from_blocks = np.int64(0)
    huge = np.int64(0)
    counted = np.int64(CLASS_OF_TABLE)
    work = np.int64(0)
    block_pages = np.int64(1) << order
    at = slot
    while at < slot + n:
        content = word(dev, dev.o_stored + at)
        if order > 0 and at & block_pages - 1 == 0 and at + block_pages <= slot + n and is_whole_block(dev, at):
            from_blocks += block_pages
            count_block_read(dev, at >> order, True)
            at += block_pages
            continue
        size = np.int64(0)
        if content != CONTENT_NONE:
            size = half(dev, dev.o_stored_bytes + at)
        if size == IN_BLOCK:
            from_blocks += 1
            if at >> order != last:
                last = at >> order
                count_block_read(dev, last, last << order >= slot and last + 1 << order <= slot + n)
        elif size == HUGE_BYTES:
            huge += 1
        elif size != 0:
            if content_class(content) != counted:
                count(dev, CODEC_FIRST + 4 * counted + DECOMPRESSED_PAGES, work)
                counted = content_class(content)
                work = np.int64(0)
            work += 1
        at += 1
    count(dev, CODEC_FIRST + 4 * counted + DECOMPRESSED_PAGES, work)
    count(dev, BLK_PAGES_READ, from_blocks)
    count(dev, HUGE_READS, huge)


@device
def count_block_read(dev, block, wanted_whole):
    """Count one block that is decompressed, whatever part of it is wanted."""
    order = np.int64(dev.block_order)
    # A block is of the class of its first page that is not zero-filled, here as when it was stored.
    of_class = np.int64(CLASS_OF_TABLE)
    for at in range(block << order, min(block + 1 << order, np.int64(dev.n_slots))):
        content = word(dev, dev.o_stored + at)
        if content > CONTENT_ZERO and half(dev, dev.o_stored_bytes + at) == IN_BLOCK:
            of_class = content_class(content)
            break
    count(dev, BLK_DECOMP, 1)
    count(dev, BLK_DECOMP_BYTES, HUGE_BYTES << order)
    count(dev, CODEC_FIRST + 4 * of_class + DECOMPRESSED_BLOCKS, 1)
    live = word(dev, dev.o_block + block * BLOCK_WORDS + BLOCK_INFO) >> BLOCK_LIVE_SHIFT
    if not wanted_whole or live < 1 << order:
        count(dev, BLK_PARTIAL_READ, 1)
