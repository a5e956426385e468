"""zram: what a swap slot stores and the columns of mm_stat and io_stat (spec 08 §8.1, §8.5; drivers/block/zram)."""

import numpy as np

from .access import (
    copy_words, count, counter_value, fill_halves, fill_words, half, run_half, run_word, set_half, set_run_half,
    set_word, word, words_any,
)  # fmt: skip
from .bits import CONTENT_NONE, NIL
from .content_model import SCALE_SHIFT
from .compressed import block_bytes, content_class, lead_of, page_bytes, scale_factor, sizes_of_run
from .content import HUGE_BYTES, IN_BLOCK, is_whole_block
from .counters import (
    BLK_DECOMP, BLK_DECOMP_BYTES, BLK_REWRITE, CLASS_OF_TABLE, CODEC_FIRST, COMPR_DATA_SIZE, COMPRESSED_BLOCKS,
    COMPRESSED_PAGES, DEAD_BYTES, FAILED_WRITES, HUGE_PAGES, HUGE_PAGES_SINCE, NOTIFY_FREE, PAGES_STORED, POOL_PAGES,
    SAME_PAGES,
)  # fmt: skip
from .jit import device, rare, runs_short
from .layout import BLOCK_BYTES, BLOCK_HANDLE, BLOCK_INFO, BLOCK_LIVE_SHIFT, BLOCK_NEXT, BLOCK_WORDS
from .zsmalloc import packed_pool_grow, page_share_bytes, zs_free, zs_malloc


MOST_ZSPAGE_PAGES = 16
"""A zspage of single pages has at most so many (`size_classes.MAX_CHAIN_PAGES`)."""


@device
def block_at(dev, slot):
    """Word offset of the record of the block around a slot."""
    return np.int64(dev.o_block) + (slot >> np.int64(dev.block_order)) * BLOCK_WORDS


@device
def dead_bytes(dev, info):
    """Share of a block's compressed bytes that belongs to slots freed since."""
    pages = np.int64(1) << dev.block_order
    live = info >> BLOCK_LIVE_SHIFT
    return (info & BLOCK_BYTES) * (pages - live) >> dev.block_order if live > 0 else np.int64(0)


@rare
def leave_block(dev, slot, n):
    """Take `n` slots out of their block, which stays as long as another slot lives in it (spec 08 §8.5)."""
    o = block_at(dev, slot)
    info = word(dev, o + BLOCK_INFO)
    left = info - (n << BLOCK_LIVE_SHIFT)
    if left >> BLOCK_LIVE_SHIFT == 0:
        zs_free(dev, word(dev, o + BLOCK_HANDLE), info & BLOCK_BYTES)
        count(dev, COMPR_DATA_SIZE, -(info & BLOCK_BYTES))
        left = np.int64(0)
    elif dev.block_rewrite and left >> BLOCK_LIVE_SHIFT <= 1 << dev.block_order >> 1:
        if word(dev, o + BLOCK_NEXT) == 0:
            first = np.int64(dev.sparse_blocks)
            set_word(dev, o + BLOCK_NEXT, NIL if first == 0 else first)
            dev.sparse_blocks = np.uint32((slot >> dev.block_order) + 1)
    set_word(dev, o + BLOCK_INFO, left)
    count(dev, DEAD_BYTES, dead_bytes(dev, left) - dead_bytes(dev, info))


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
def store_page(dev, slot, size):
    """Store a compressed page in a slot in place of what is there; 1 on success, 0 if the pool is full."""
    z = new_object(dev, size)
    if z == NIL:
        return 0
    if word(dev, dev.o_stored + slot) != CONTENT_NONE:
        zram_free(dev, slot, np.int64(1))
    if size == HUGE_BYTES:
        count(dev, HUGE_PAGES, 1)
        count(dev, HUGE_PAGES_SINCE, 1)
    count(dev, COMPR_DATA_SIZE, size)
    if dev.n_zspages:
        set_word(dev, dev.o_zhandle + slot, z)
    set_half(dev, dev.o_stored_bytes + slot, size)
    return 1


@rare
def store_block(dev, model, slot, o_content):
    """Store an aligned block of pages as one object in place of what its slots hold.

    Returns
    -------
    int64
        Pages stored. 0 if the pool is full; -1 if the block does not compress and is left to be stored page by page.
    """
    order = np.int64(dev.block_order)
    pages = np.int64(1) << order
    size = block_bytes(dev, model, o_content, order, 1)
    z = np.int64(NIL)
    if size != 0:
        lead = word(dev, o_content + lead_of(dev, o_content, pages))
        count(dev, CODEC_FIRST + 4 * content_class(lead) + COMPRESSED_BLOCKS, 1)
        if size >= np.int64(dev.huge_block_bytes):
            return np.int64(-1)
        z = new_object(dev, size)
        if z == NIL:
            return np.int64(0)
    if words_any(dev, dev.o_stored + slot, pages):
        zram_free(dev, slot, pages)
    copy_words(dev, dev.o_stored + slot, o_content, pages)
    fill_halves(dev, dev.o_stored_bytes + slot, pages, IN_BLOCK if size != 0 else 0)
    if size == 0:
        count(dev, SAME_PAGES, pages)
        return pages
    o = block_at(dev, slot)
    set_word(dev, o + BLOCK_HANDLE, z)
    set_word(dev, o + BLOCK_INFO, size | pages << BLOCK_LIVE_SHIFT)
    count(dev, COMPR_DATA_SIZE, size)
    return pages


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


@device
def free_run(dev, slot, n):
    """Drop what `n` slots store if the pool is packed and none of them is in a block.

    Returns
    -------
    int64
        1 if they are dropped.
    """
    o_stored = np.int64(dev.o_stored) + slot
    o_bytes = np.int64(dev.o_stored_bytes) + slot
    stored = np.int64(0)
    objects = np.int64(0)
    huge = np.int64(0)
    in_block = np.int64(0)
    compressed = np.int64(0)
    for i in range(n):
        size = run_half(dev, o_bytes + i)
        full = run_word(dev, o_stored + i) != CONTENT_NONE
        size = size if full else np.int64(0)
        stored += full
        objects += size != 0
        huge += size == HUGE_BYTES
        in_block += size == IN_BLOCK
        compressed += size
        set_run_half(dev, o_bytes + i, size)
    if in_block:
        return 0
    taken = np.int64(0)
    for i in range(n):
        taken += page_share_bytes(dev, half(dev, o_bytes + i))
    packed_pool_grow(dev, (n - objects) * page_share_bytes(dev, np.int64(0)) - taken)
    fill_words(dev, o_stored, n, CONTENT_NONE)
    count(dev, PAGES_STORED, -stored)
    count(dev, SAME_PAGES, objects - stored)
    count(dev, COMPR_DATA_SIZE, -compressed)
    count(dev, HUGE_PAGES, -huge)
    return 1


@rare
def free_objects(dev, slot, n):
    """Drop what `n` slots store in a device with a pool."""
    if dev.n_zspages == 0 and dev.block_order == 0 and free_run(dev, slot, n):
        return
    o_stored = np.int64(dev.o_stored)
    order = np.int64(dev.block_order)
    pages = np.int64(1) << order
    stored = np.int64(0)
    same = np.int64(0)
    huge = np.int64(0)
    compressed = np.int64(0)
    leaving = np.int64(0)
    i = slot - 1
    while i + 1 < slot + n:
        i += 1
        if order > 0 and i & pages - 1 == 0 and i + pages <= slot + n and is_whole_block(dev, i):
            fill_words(dev, o_stored + i, pages, CONTENT_NONE)
            leave_block(dev, i, pages)
            stored += pages
            i += pages - 1
            continue
        if word(dev, o_stored + i) == CONTENT_NONE:
            continue
        set_word(dev, o_stored + i, CONTENT_NONE)
        stored += 1
        size = half(dev, dev.o_stored_bytes + i)
        if size == 0:
            same += 1
        elif size == IN_BLOCK:
            # Of neighbours that leave the same block the last one takes all of them out.
            leaving += 1
            beside = i + 1 < slot + n and i + 1 & pages - 1 != 0
            if not beside or half(dev, dev.o_stored_bytes + i + 1) != IN_BLOCK or word(dev, o_stored + i + 1) == 0:
                leave_block(dev, i, leaving)
                leaving = np.int64(0)
        else:
            compressed += size
            if size == HUGE_BYTES:
                huge += 1
            zs_free(dev, word(dev, dev.o_zhandle + i) if dev.n_zspages else np.int64(0), size)
    count(dev, PAGES_STORED, -stored)
    count(dev, SAME_PAGES, -same)
    if compressed > 0:
        count(dev, COMPR_DATA_SIZE, -compressed)
        count(dev, HUGE_PAGES, -huge)


@rare
def store_run(dev, model, slot, o_content, n):
    """Store up to 16 pages that stand side by side in a prototype, if the slots are empty and nothing can be refused.

    Returns
    -------
    int64
        1 if they are stored.
    """
    if dev.n_zspages and runs_short(dev) and np.int64(dev.frames_free) < n * MOST_ZSPAGE_PAGES:
        return 0
    if dev.mem_limit_pages != 0 or words_any(dev, dev.o_stored + slot, n):
        return 0
    o_sizes = sizes_of_run(dev, model, o_content, n)
    if o_sizes < 0:
        return 0
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
    count(dev, CODEC_FIRST + 4 * content_class(word(dev, o_content)) + COMPRESSED_PAGES, n)
    count(dev, COMPR_DATA_SIZE, total)
    count(dev, HUGE_PAGES, huge)
    count(dev, HUGE_PAGES_SINCE, huge)
    count(dev, PAGES_STORED, n)
    return 1


@rare
def store_compressed(dev, model, slot, o_content, n):
    """Store pages of which some need an object of the pool; the number that was stored (zram_write_page)."""
    pages = np.int64(1) << dev.block_order
    raw_until = np.int64(0)
    done = np.int64(0)
    same = np.int64(0)
    alone = np.int64(0)
    codec_work = np.int64(0)
    counted = CLASS_OF_TABLE
    while done < n:
        at = slot + done
        if pages > 1 and n - done >= pages and done >= raw_until:
            stored = store_block(dev, model, at, o_content + done)
            if stored == 0:
                break
            if stored < 0:
                # It takes as much memory as its pages do: stored page by page, each of them raw.
                raw_until = done + pages
            else:
                count(dev, PAGES_STORED, pages)
                done += pages
            continue
        run = min(n - done, np.int64(16))
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
                count(dev, CODEC_FIRST + 4 * counted + COMPRESSED_PAGES, codec_work)
                counted = of_class
                codec_work = np.int64(0)
            codec_work += 1
        if size == 0:
            if word(dev, dev.o_stored + at) != CONTENT_NONE:
                zram_free(dev, at, np.int64(1))
            set_half(dev, dev.o_stored_bytes + at, 0)
            same += 1
        elif not store_page(dev, at, size):
            break
        set_word(dev, dev.o_stored + at, content)
        alone += 1
        done += 1
    count(dev, CODEC_FIRST + 4 * counted + COMPRESSED_PAGES, codec_work)
    count(dev, SAME_PAGES, same)
    count(dev, PAGES_STORED, alone)
    if done < n:
        count(dev, FAILED_WRITES, 1)
    return done


@rare
def store_alone(dev, model, slot, content):
    """Store one page, the most common request of all without large folios; 0 if it is refused."""
    size = page_bytes(dev, model, content)
    if size == 0:
        if word(dev, dev.o_stored + slot) != CONTENT_NONE:
            zram_free(dev, slot, np.int64(1))
        set_half(dev, dev.o_stored_bytes + slot, 0)
        count(dev, SAME_PAGES, 1)
    else:
        count(dev, CODEC_FIRST + 4 * content_class(content) + COMPRESSED_PAGES, 1)
        if not store_page(dev, slot, size):
            count(dev, FAILED_WRITES, 1)
            return 0
    set_word(dev, dev.o_stored + slot, content)
    count(dev, PAGES_STORED, 1)
    return 1


@device
def zram_write(dev, model, slot, o_content, n):
    """Store `n` pages, whose contents stand from word `o_content` on; 0 if one is refused (zram_write_page).

    The pages before a refused one stay stored, those after it are not tried.
    """
    if runs_short(dev) and np.int64(dev.frames_free) <= n:
        # Not even the reserves have pages for the pool.
        count(dev, FAILED_WRITES, 1)
        return 0
    if dev.n_zclasses and n == 1:
        return store_alone(dev, model, slot, word(dev, o_content))
    if dev.n_zclasses:
        if dev.block_order == 0 and n <= 16 and store_run(dev, model, slot, o_content, n):
            return 1
        return 1 if store_compressed(dev, model, slot, o_content, n) == n else 0
    # Without a pool every content is same-filled.
    o_stored = np.int64(dev.o_stored) + slot
    for i in range(n):
        if word(dev, o_stored + i) != CONTENT_NONE:
            zram_free(dev, slot + i, np.int64(1))
        set_word(dev, o_stored + i, word(dev, o_content + i))
    count(dev, PAGES_STORED, n)
    count(dev, SAME_PAGES, n)
    return 1


@device
def zram_notify_free(dev, slot, n):
    """The swap layer frees `n` slots: counted whether or not zram stores them."""
    count(dev, NOTIFY_FREE, n)
    zram_free(dev, slot, n)


@rare
def rewrite_block(dev, model, block):
    """Store the pages that live in a sparse block one by one and free the block; stops when the pool is full."""
    pages = np.int64(1) << dev.block_order
    slot = block * pages
    o = block_at(dev, slot)
    read = False
    for at in range(slot, min(slot + pages, np.int64(dev.n_slots))):
        if word(dev, o + BLOCK_INFO) == 0:
            break
        content = word(dev, dev.o_stored + at)
        if content == CONTENT_NONE or half(dev, dev.o_stored_bytes + at) != IN_BLOCK:
            continue
        if not read:
            read = True
            count(dev, BLK_REWRITE, 1)
            count(dev, BLK_DECOMP, 1)
            count(dev, BLK_DECOMP_BYTES, pages * HUGE_BYTES)
        size = page_bytes(dev, model, content)
        if size == 0:
            leave_block(dev, at, np.int64(1))
            set_half(dev, dev.o_stored_bytes + at, 0)
            count(dev, SAME_PAGES, 1)
            continue
        count(dev, CODEC_FIRST + 4 * content_class(content) + COMPRESSED_PAGES, 1)
        if not store_page(dev, at, size):
            break
        # The page was stored before and is again.
        set_word(dev, dev.o_stored + at, content)
        count(dev, PAGES_STORED, 1)


@rare
def rewrite_sparse_blocks(dev, model):
    """The worker that rewrites blocks of which at most half still lives (spec 08 §8.5, option "rewrite")."""
    for _ in range(np.int64(dev.n_blocks) + 1):
        block = np.int64(dev.sparse_blocks) - 1
        if block < 0:
            break
        o = np.int64(dev.o_block) + block * BLOCK_WORDS
        after = word(dev, o + BLOCK_NEXT)
        dev.sparse_blocks = np.uint32(0 if after == NIL else after)
        live = word(dev, o + BLOCK_INFO) >> BLOCK_LIVE_SHIFT
        if 0 < live <= 1 << dev.block_order >> 1:
            rewrite_block(dev, model, block)
        # Only now: what it freed itself must not queue it again.
        set_word(dev, o + BLOCK_NEXT, 0)
