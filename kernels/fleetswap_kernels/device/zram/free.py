"""What zram does when slots are freed or written anew (zram_free_page, spec 08 §8.1; drivers/block/zram)."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import COMPR_DATA_SIZE, HUGE_PAGES, NOTIFY_FREE, PAGES_STORED, SAME_PAGES
from ...layout.device import RUN_SLOTS
from ...layout.words import CONTENT_NONE
from ..access import count, fill_words, half, run_half, run_word, set_quad, set_run_half, set_word, word
from ..content.sizes import HUGE_BYTES
from ..orders import pages_of
from .blocks import IN_BLOCK, drop_block, is_whole_block, leave_block
from .runs import drop_whole_run, run_at
from .zsmalloc import packed_pool_grow, page_share_bytes, zs_free


@device
def zram_free(dev, slot, n):
    """Drop what `n` slots store; an empty slot stores nothing (zram_free_page)."""
    if dev.n_zclasses:
        free_objects(dev, slot, n)
        return
    # Without a pool every content is same-filled. The offset is read once: as far as a compiler knows, a store to the
    # device might change it.
    o_stored = np.int64(dev.o_stored)
    stored = np.int64(0)
    for i in range(slot, slot + n):
        if word(dev, o_stored + i) != CONTENT_NONE:
            set_word(dev, o_stored + i, CONTENT_NONE)
            stored += 1
    count(dev, PAGES_STORED, -stored)
    count(dev, SAME_PAGES, -stored)


@device(cpu="call", cuda="call")
def free_objects(dev, slot, n):
    """Drop what `n` slots store in a device with a pool, by blocks and runs where they are whole."""
    pages = pages_of(dev.block_order)
    if dev.n_runs == 0 and pages == 1:
        free_slots(dev, slot, n)
        return
    step = np.int64(RUN_SLOTS) if dev.n_runs else pages
    end = slot + n
    while slot < end:
        part = min(step - (slot & step - 1), end - slot)
        if pages > 1 and slot & pages - 1 == 0 and slot + pages <= end and is_whole_block(dev, slot):
            drop_block(dev, slot)
            part = pages
        elif part < RUN_SLOTS or dev.n_runs == 0 or not drop_whole_run(dev, slot):
            if dev.n_runs:
                set_quad(dev, run_at(dev, slot), 0)
            if pages == 1:
                free_run(dev, slot, part)
            else:
                free_slots(dev, slot, part)
        slot += part


@device
def free_run(dev, slot, n):
    """Drop what `n` slots of a packed pool without blocks store, which are no whole run."""
    o_stored = np.int64(dev.o_stored) + slot
    o_bytes = np.int64(dev.o_stored_bytes) + slot
    stored = np.int64(0)
    objects = np.int64(0)
    huge = np.int64(0)
    compressed = np.int64(0)
    for i in range(n):
        size = run_half(dev, o_bytes + i)
        full = run_word(dev, o_stored + i) != CONTENT_NONE
        size = size if full else np.int64(0)
        stored += full
        objects += size != 0
        huge += size == HUGE_BYTES
        compressed += size
        set_run_half(dev, o_bytes + i, size)
    taken = np.int64(0)
    for i in range(n):
        taken += page_share_bytes(dev, half(dev, o_bytes + i))
    packed_pool_grow(dev, (n - objects) * page_share_bytes(dev, np.int64(0)) - taken)
    fill_words(dev, o_stored, n, CONTENT_NONE)
    count(dev, PAGES_STORED, -stored)
    count(dev, SAME_PAGES, objects - stored)
    count(dev, COMPR_DATA_SIZE, -compressed)
    count(dev, HUGE_PAGES, -huge)


@device
def free_slots(dev, slot, n):
    """Drop what `n` slots store, each an object of its own or all in one block."""
    o_stored = np.int64(dev.o_stored)
    stored = np.int64(0)
    same = np.int64(0)
    huge = np.int64(0)
    compressed = np.int64(0)
    leaving = np.int64(0)
    for i in range(slot, slot + n):
        if word(dev, o_stored + i) == CONTENT_NONE:
            continue
        set_word(dev, o_stored + i, CONTENT_NONE)
        stored += 1
        size = half(dev, dev.o_stored_bytes + i)
        if size == 0:
            same += 1
        elif size == IN_BLOCK:
            leaving += 1
        else:
            compressed += size
            huge += size == HUGE_BYTES
            zs_free(dev, word(dev, dev.o_zhandle + i) if dev.n_zspages else np.int64(0), size)
    if leaving:
        leave_block(dev, slot, leaving)
    count(dev, PAGES_STORED, -stored)
    if same:
        count(dev, SAME_PAGES, -same)
    if compressed:
        count(dev, COMPR_DATA_SIZE, -compressed)
        count(dev, HUGE_PAGES, -huge)


@device
def zram_notify_free(dev, slot, n):
    """The swap layer frees `n` slots: counted whether or not zram stores them."""
    count(dev, NOTIFY_FREE, n)
    zram_free(dev, slot, n)
