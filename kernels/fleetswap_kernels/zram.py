"""zram: what a swap slot stores and the columns of mm_stat and io_stat (spec 08 §8.1; drivers/block/zram)."""

import numpy as np

from .access import count, counter_value, set_word, word
from .bits import CONTENT_NONE
from .counters import (
    COMPR_DATA_SIZE, FAILED_WRITES, HUGE_PAGES, HUGE_PAGES_SINCE, NOTIFY_FREE, PAGES_STORED, POOL_PAGES, SAME_PAGES,
    WRITESTALL,
)  # fmt: skip
from .jit import device
from .zsmalloc import note_pool_peak, zs_free, zs_malloc

HUGE_BYTES = 4096
"""Stored size of a page that did not compress below the huge threshold."""


@device
def zram_free(dev, slot):
    """Drop what a slot stores; an empty slot stores nothing (zram_free_page)."""
    content = word(dev, dev.o_stored + slot)
    if content == CONTENT_NONE:
        return
    set_word(dev, dev.o_stored + slot, CONTENT_NONE)
    size = word(dev, dev.o_content_bytes + content)
    count(dev, PAGES_STORED, -1)
    if size == 0:
        count(dev, SAME_PAGES, -1)
        return
    if size == HUGE_BYTES:
        count(dev, HUGE_PAGES, -1)
    count(dev, COMPR_DATA_SIZE, -size)
    zs_free(dev, word(dev, dev.o_zhandle + slot))


@device
def zram_write(dev, slot, content):
    """Store a page; 1 on success, 0 if the pool limit refuses it (zram_write_page).

    The new object exists before the old one is freed, which the peak of the pool and the limit both see.
    """
    size = word(dev, dev.o_content_bytes + content)
    if size == 0:
        zram_free(dev, slot)
        count(dev, SAME_PAGES, 1)
    else:
        z = zs_malloc(dev, size)
        note_pool_peak(dev)
        limit = np.int64(dev.mem_limit_pages)
        if limit != 0 and counter_value(dev, POOL_PAGES) > limit:
            zs_free(dev, z)
            count(dev, FAILED_WRITES, 1)
            return 0
        zram_free(dev, slot)
        if size == HUGE_BYTES:
            count(dev, HUGE_PAGES, 1)
            count(dev, HUGE_PAGES_SINCE, 1)
        count(dev, COMPR_DATA_SIZE, size)
        set_word(dev, dev.o_zhandle + slot, z)
    count(dev, PAGES_STORED, 1)
    set_word(dev, dev.o_stored + slot, content)
    return 1


@device
def zram_notify_free(dev, slot, n):
    """The swap layer frees `n` slots: counted whether or not zram stores them."""
    count(dev, NOTIFY_FREE, n)
    for i in range(n):
        zram_free(dev, slot + i)
