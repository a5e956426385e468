"""What a swap slot reads back as (spec 05 §5.2 step 4; mm/page_io.c swap_read_folio)."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import BLK_PAGES_READ, CLASS_OF_TABLE, HUGE_READS, CodecWork
from ...layout.device import RUN_SLOTS
from ...layout.words import CONTENT_NONE, CONTENT_ZERO
from ..access import byte, count, half, run_half, run_word, set_word, word
from ..content.sizes import HUGE_BYTES, content_class
from ..orders import pages_of
from .blocks import IN_BLOCK, count_block_read, is_whole_block
from .codec_work import count_codec_work
from .runs import read_whole_run


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
def count_decompression(dev, slot, n):
    """Count what the codec does to read `n` slots; without a pool all are same-filled, and it does nothing."""
    if dev.n_zclasses:
        if n == 1:
            count_page_read(dev, slot)
        elif n == pages_of(dev.block_order) and is_whole_block(dev, slot):
            count(dev, BLK_PAGES_READ, n)
            count_block_read(dev, slot, True)
        elif dev.n_runs == 0 or n != RUN_SLOTS or slot % RUN_SLOTS != 0 or not read_whole_run(dev, slot):
            count_codec_reads(dev, slot, n)


@device
def count_page_read(dev, slot):
    """Count what the codec does to read one slot."""
    content = word(dev, dev.o_stored + slot)
    size = half(dev, dev.o_stored_bytes + slot)
    if content == CONTENT_NONE or size == 0:
        return
    if size == IN_BLOCK:
        count(dev, BLK_PAGES_READ, 1)
        count_block_read(dev, slot, False)
    elif size == HUGE_BYTES:
        count(dev, HUGE_READS, 1)
    else:
        count_codec_work(dev, content_class(content), CodecWork.DECOMPRESSED_PAGES, 1)


@device(cpu="call", cuda="call")
def count_codec_reads(dev, slot, n):
    """Count what the codec does to read `n` slots: pages one by one, a block whole and once (spec 08 §8.5)."""
    if dev.block_order == 0:
        if not count_run_read(dev, slot, n):
            for i in range(n):
                count_page_read(dev, slot + i)
        return
    pages = pages_of(dev.block_order)
    end = slot + n
    while slot < end:
        part = min(pages - (slot & pages - 1), end - slot)
        whole = part == pages and is_whole_block(dev, slot)
        in_block = pages if whole else pages_in_block(dev, slot, part)
        if in_block:
            count(dev, BLK_PAGES_READ, in_block)
            count_block_read(dev, slot, part == pages)
        if in_block < part:
            for i in range(slot, slot + part):
                if half(dev, dev.o_stored_bytes + i) != IN_BLOCK:
                    count_page_read(dev, i)
        slot += part


@device
def pages_in_block(dev, slot, n):
    """How many of `n` slots live in the block around them."""
    pages = np.int64(0)
    for i in range(slot, slot + n):
        pages += word(dev, dev.o_stored + i) != CONTENT_NONE and half(dev, dev.o_stored_bytes + i) == IN_BLOCK
    return pages


@device
def count_run_read(dev, slot, n):
    """Count what the codec does to read `n` slots if all are full, of one class, and none of them in a block.

    Returns
    -------
    bool
        Whether they are counted.
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
        same += size == 0
        huge += size == HUGE_BYTES
    if other or of_class == CLASS_OF_TABLE:
        return False
    count_codec_work(dev, of_class, CodecWork.DECOMPRESSED_PAGES, n - same - huge)
    count(dev, HUGE_READS, huge)
    return True
