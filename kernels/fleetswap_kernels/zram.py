"""zram: what a swap slot stores and the columns of mm_stat and io_stat (spec 08 §8.1; drivers/block/zram)."""

import numpy as np

from .access import count, counter_value, set_word, word
from .bits import CONTENT_NONE
from .counters import (
    COMPR_DATA_SIZE, FAILED_WRITES, HUGE_PAGES, HUGE_PAGES_SINCE, NOTIFY_FREE, PAGES_STORED, POOL_PAGES, SAME_PAGES,
)  # fmt: skip
from .jit import device, rare
from .zsmalloc import note_pool_peak, zs_free, zs_malloc

HUGE_BYTES = 4096
"""Stored size of a page that did not compress below the huge threshold."""


@rare
def drop_object(dev, slot, size):
    """Free the compressed object of a slot."""
    if size == HUGE_BYTES:
        count(dev, HUGE_PAGES, -1)
    count(dev, COMPR_DATA_SIZE, -size)
    zs_free(dev, word(dev, dev.o_zhandle + slot))


@rare
def store_object(dev, slot, size):
    """Store a compressed object in a slot in place of what is there; 1 on success, 0 if the pool limit refuses it.

    The new object exists before the old one is freed, which the peak of the pool and the limit both see.
    """
    z = zs_malloc(dev, size)
    note_pool_peak(dev)
    limit = np.int64(dev.mem_limit_pages)
    if limit != 0 and counter_value(dev, POOL_PAGES) > limit:
        zs_free(dev, z)
        count(dev, FAILED_WRITES, 1)
        return 0
    zram_free(dev, slot, np.int64(1))
    if size == HUGE_BYTES:
        count(dev, HUGE_PAGES, 1)
        count(dev, HUGE_PAGES_SINCE, 1)
    count(dev, COMPR_DATA_SIZE, size)
    set_word(dev, dev.o_zhandle + slot, z)
    return 1


@device
def zram_free(dev, slot, n):
    """Drop what `n` slots store; an empty slot stores nothing (zram_free_page)."""
    # Offsets are read once: a store to the device might change them, as far as a compiler knows.
    o_stored = np.int64(dev.o_stored)
    o_bytes = np.int64(dev.o_content_bytes)
    stored = np.int64(0)
    same = np.int64(0)
    for i in range(slot, slot + n):
        content = word(dev, o_stored + i)
        if content == CONTENT_NONE:
            continue
        set_word(dev, o_stored + i, CONTENT_NONE)
        stored += 1
        size = word(dev, o_bytes + content)
        if size == 0:
            same += 1
        else:
            drop_object(dev, i, size)
    count(dev, PAGES_STORED, -stored)
    count(dev, SAME_PAGES, -same)


@device
def zram_write(dev, slot, o_content, n):
    """Store `n` pages, whose contents stand from word `o_content` on; 0 if one is refused (zram_write_page).

    The pages before a refused one stay stored, those after it are not tried.
    """
    o_stored = np.int64(dev.o_stored) + slot
    o_bytes = np.int64(dev.o_content_bytes)
    stored = np.int64(0)
    same = np.int64(0)
    while stored < n:
        content = word(dev, o_content + stored)
        size = word(dev, o_bytes + content)
        if size == 0:
            if word(dev, o_stored + stored) != CONTENT_NONE:
                zram_free(dev, slot + stored, np.int64(1))
            same += 1
        elif not store_object(dev, slot + stored, size):
            break
        set_word(dev, o_stored + stored, content)
        stored += 1
    count(dev, PAGES_STORED, stored)
    count(dev, SAME_PAGES, same)
    return 1 if stored == n else 0


@device
def zram_notify_free(dev, slot, n):
    """The swap layer frees `n` slots: counted whether or not zram stores them."""
    count(dev, NOTIFY_FREE, n)
    zram_free(dev, slot, n)
