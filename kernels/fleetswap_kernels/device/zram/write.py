"""zram: what a swap slot stores and the columns of mm_stat and io_stat (spec 08 §8.1, §8.5; drivers/block/zram)."""

from enum import IntEnum, unique

import numpy as np

from ...compile.decorators import device
from ...compile.views import runs_short
from ...layout.content_model import SCALE_SHIFT
from ...layout.counters import (
    CLASS_OF_TABLE, COMPR_DATA_SIZE, FAILED_WRITES, HUGE_PAGES, HUGE_PAGES_SINCE, PAGES_STORED, POOL_PAGES, SAME_PAGES,
    CodecWork,
)  # fmt: skip
from ...layout.device import BLOCK_CLASS, BLOCK_HANDLE, BLOCK_INFO, BLOCK_LIVE_SHIFT, RUN_SLOTS
from ...layout.words import CONTENT_NONE, NIL
from ..access import (
    copy_words, count, counter_value, fill_halves, half, or_words, run_half, set_half, set_run_half, set_word, word,
)  # fmt: skip
from ..content.sizes import HUGE_BYTES, block_bytes, content_class, lead_of, page_bytes, scale_factor, sizes_of_run
from ..orders import pages_of
from .blocks import IN_BLOCK, block_at
from .codec_work import count_codec_work
from .free import zram_free
from .runs import store_raw_run, store_whole_run
from .zsmalloc import packed_pool_grow, page_share_bytes, zs_free, zs_malloc

MOST_ZSPAGE_PAGES = 16
"""A zspage of single pages has at most so many (`size_classes.MAX_CHAIN_PAGES`)."""


@unique
class NotStored(IntEnum):
    """Why a block of pages was not stored, in place of the number of pages that were."""

    INCOMPRESSIBLE = -1
    """It takes as much memory as its pages do, and is left to be stored page by page."""
    REFUSED = 0
    """The pool is full."""


@device
def new_object(dev, size):
    """Object of the pool for some bytes; NIL if the pool's limit refuses it.

    It exists before what it replaces is freed, which the peak of the pool and the limit both see.
    """
    z = zs_malloc(dev, size)
    limit = np.int64(dev.mem_limit_pages)
    if z != NIL and limit != 0 and counter_value(dev, POOL_PAGES) > limit:
        zs_free(dev, z, size)
        z = np.int64(NIL)
    return z


@device
def free_stored(dev, slot):
    """Drop what a slot stores, if it stores anything."""
    if word(dev, dev.o_stored + slot) != CONTENT_NONE:
        zram_free(dev, slot, np.int64(1))


@device
def store_page(dev, slot, size):
    """Store a compressed page in a slot in place of what is there; whether the pool took it."""
    z = new_object(dev, size)
    if z == NIL:
        return False
    free_stored(dev, slot)
    if size == HUGE_BYTES:
        count(dev, HUGE_PAGES, 1)
        count(dev, HUGE_PAGES_SINCE, 1)
    count(dev, COMPR_DATA_SIZE, size)
    if dev.n_zspages:
        set_word(dev, dev.o_zhandle + slot, z)
    set_half(dev, dev.o_stored_bytes + slot, size)
    return True


@device(cuda="call")
def store_block(dev, model, slot, o_content):
    """Store an aligned block of pages as one object in place of what its slots hold.

    Returns
    -------
    int64
        Pages stored, or one of `NotStored`.
    """
    order = np.int64(dev.block_order)
    pages = pages_of(order)
    size = block_bytes(dev, model, o_content, order, 1)
    z = np.int64(NIL)
    of_class = np.int64(CLASS_OF_TABLE)
    if size != 0:
        of_class = content_class(word(dev, o_content + lead_of(dev, o_content, pages)))
        count_codec_work(dev, of_class, CodecWork.COMPRESSED_BLOCKS, 1)
        if size >= np.int64(dev.huge_block_bytes):
            # It takes as much memory as its pages do: stored page by page, each of them raw.
            if pages == RUN_SLOTS and store_raw_run(dev, slot, o_content):
                return pages
            return np.int64(NotStored.INCOMPRESSIBLE)
        z = new_object(dev, size)
        if z == NIL:
            return np.int64(NotStored.REFUSED)
    if or_words(dev, dev.o_stored + slot, pages):
        zram_free(dev, slot, pages)
    copy_words(dev, dev.o_stored + slot, o_content, pages)
    fill_halves(dev, dev.o_stored_bytes + slot, pages, IN_BLOCK if size != 0 else 0)
    if size == 0:
        count(dev, SAME_PAGES, pages)
        count(dev, PAGES_STORED, pages)
        return pages
    o = block_at(dev, slot)
    set_word(dev, o + BLOCK_HANDLE, z)
    set_word(dev, o + BLOCK_CLASS, of_class)
    set_word(dev, o + BLOCK_INFO, size | pages << BLOCK_LIVE_SHIFT)
    count(dev, COMPR_DATA_SIZE, size)
    count(dev, PAGES_STORED, pages)
    return pages


@device(cpu="call", cuda="call")
def store_run(dev, model, slot, o_content, n):
    """Store up to 16 pages that stand side by side in a prototype, if the slots are empty and nothing can be refused.

    Parameters
    ----------
    slot, n : int64
        First slot, and how many.
    o_content : int64
        Word offset of the content of the first page; the others follow.

    Returns
    -------
    bool
        Whether they are stored.
    """
    if dev.n_zspages and runs_short(dev) and np.int64(dev.frames_free) < n * MOST_ZSPAGE_PAGES:
        return False
    if n == RUN_SLOTS and store_whole_run(dev, model, slot, o_content):
        return True
    if dev.mem_limit_pages != 0 or or_words(dev, dev.o_stored + slot, n):
        return False
    o_sizes = sizes_of_run(dev, model, o_content, n)
    if o_sizes < 0:
        return False
    o_bytes = np.int64(dev.o_stored_bytes) + slot
    least_raw = np.int64(dev.huge_bytes)
    factor = scale_factor(model, word(dev, o_content))
    total = np.int64(0)
    huge = np.int64(0)
    for i in range(n):
        size = max(min(run_half(model, o_sizes + i) * factor >> SCALE_SHIFT, np.int64(HUGE_BYTES)), np.int64(1))
        raw = size >= least_raw
        size = np.int64(HUGE_BYTES) if raw else size
        huge += raw
        total += size
        set_run_half(dev, o_bytes + i, size)
    if dev.n_zspages:
        for i in range(n):
            set_word(dev, dev.o_zhandle + slot + i, zs_malloc(dev, half(dev, o_bytes + i)))
    else:
        taken = np.int64(0)
        for i in range(n):
            taken += page_share_bytes(dev, half(dev, o_bytes + i))
        packed_pool_grow(dev, taken)
    copy_words(dev, dev.o_stored + slot, o_content, n)
    count_codec_work(dev, content_class(word(dev, o_content)), CodecWork.COMPRESSED_PAGES, n)
    count(dev, COMPR_DATA_SIZE, total)
    count(dev, HUGE_PAGES, huge)
    count(dev, HUGE_PAGES_SINCE, huge)
    count(dev, PAGES_STORED, n)
    return True


@device(cpu="call", cuda="call")
def store_compressed(dev, model, slot, o_content, n, raw_until):
    """Store pages of which some need an object of the pool; the number that was stored (zram_write_page).

    Parameters
    ----------
    slot, n : int64
        First slot, and how many.
    o_content : int64
        Word offset of the content of the first page; the others follow.
    raw_until : int64
        How many of the first pages are a block that does not compress.
    """
    pages = pages_of(dev.block_order)
    done = np.int64(0)
    same = np.int64(0)
    alone = np.int64(0)
    codec_work = np.int64(0)
    counted = CLASS_OF_TABLE
    while done < n:
        at = slot + done
        if pages > 1 and n - done >= pages and done >= raw_until:
            stored = store_block(dev, model, at, o_content + done)
            if stored == NotStored.REFUSED:
                break
            if stored == NotStored.INCOMPRESSIBLE:
                raw_until = done + pages
            else:
                done += pages
            continue
        if raw_until - done >= RUN_SLOTS and store_raw_run(dev, at, o_content + done):
            done += RUN_SLOTS
            continue
        run = min(n - done, np.int64(RUN_SLOTS))
        if run >= 4 and done >= raw_until and store_run(dev, model, at, o_content + done, run):
            done += run
            continue
        content = word(dev, o_content + done)
        size = page_bytes(dev, model, content)
        if done < raw_until:
            size = np.int64(HUGE_BYTES)
        elif size != 0:
            of_class = content_class(content)
            if of_class != counted:
                count_codec_work(dev, counted, CodecWork.COMPRESSED_PAGES, codec_work)
                counted = of_class
                codec_work = np.int64(0)
            codec_work += 1
        if size == 0:
            free_stored(dev, at)
            set_half(dev, dev.o_stored_bytes + at, 0)
            same += 1
        elif not store_page(dev, at, size):
            break
        set_word(dev, dev.o_stored + at, content)
        alone += 1
        done += 1
    count_codec_work(dev, counted, CodecWork.COMPRESSED_PAGES, codec_work)
    count(dev, SAME_PAGES, same)
    count(dev, PAGES_STORED, alone)
    if done < n:
        count(dev, FAILED_WRITES, 1)
    return done


@device(cpu="call")
def store_alone(dev, model, slot, content):
    """Store one page, the most common request of all without large folios; whether the pool took it."""
    size = page_bytes(dev, model, content)
    if size == 0:
        free_stored(dev, slot)
        set_half(dev, dev.o_stored_bytes + slot, 0)
        count(dev, SAME_PAGES, 1)
    else:
        count_codec_work(dev, content_class(content), CodecWork.COMPRESSED_PAGES, 1)
        if not store_page(dev, slot, size):
            count(dev, FAILED_WRITES, 1)
            return False
    set_word(dev, dev.o_stored + slot, content)
    count(dev, PAGES_STORED, 1)
    return True


@device
def zram_write(dev, model, slot, o_content, n):
    """Store `n` pages; whether none is refused (zram_write_page).

    The pages before a refused one stay stored, those after it are not tried.

    Parameters
    ----------
    slot, n : int64
        First slot, and how many.
    o_content : int64
        Word offset of the content of the first page; the others follow.
    """
    if runs_short(dev) and np.int64(dev.frames_free) <= n:
        # Not even the reserves have pages for the pool.
        count(dev, FAILED_WRITES, 1)
        return False
    if dev.n_zclasses and n == 1:
        return store_alone(dev, model, slot, word(dev, o_content))
    if dev.n_zclasses:
        raw_until = np.int64(0)
        if dev.block_order == 0:
            if n <= RUN_SLOTS and store_run(dev, model, slot, o_content, n):
                return True
        elif n == pages_of(dev.block_order):
            stored = store_block(dev, model, slot, o_content)
            if stored == NotStored.REFUSED:
                count(dev, FAILED_WRITES, 1)
                return False
            if stored != NotStored.INCOMPRESSIBLE:
                return True
            raw_until = n
        return store_compressed(dev, model, slot, o_content, n, raw_until) == n
    # Without a pool every content is same-filled.
    o_stored = np.int64(dev.o_stored) + slot
    for i in range(n):
        if word(dev, o_stored + i) != CONTENT_NONE:
            zram_free(dev, slot + i, np.int64(1))
        set_word(dev, o_stored + i, word(dev, o_content + i))
    count(dev, PAGES_STORED, n)
    count(dev, SAME_PAGES, n)
    return True
