"""Page frames: a binary buddy allocator and the words of a frame (spec 06 §6.3; mm/page_alloc.c).

A free block keeps its list links in the words of its first frame: the next block in the frame word, the one before
in the content word. Nothing else is stored for free memory.

The last frames of a device may be reserved for large folios of one order: they have lists of their own, never merge
beyond that order and never with the others (Android's nomerge zone, workload notes).
"""

import numpy as np

from ...compile.decorators import device
from ...compile.views import runs_short
from ...layout.counters import BROKEN_BY_FOLIOS, POOL_PAGES
from ...layout.device import CPU_FAULT, FAULT_FRAME, W_BLOCK_HEAD
from ...layout.errors import NO_FRAMES
from ...layout.words import (
    FRAME_FREE, FRAME_LINK, FRAME_NIL, FRAME_ORDER_SHIFT, FRAME_VACANT, KIND_SHIFT, MAX_BLOCK_ORDER, PRESENT,
    PTE_PAYLOAD,
)  # fmt: skip
from ..access import byte, copy_words, count, counter_value, fail, fill_bytes, fill_words, set_byte, set_word, word
from ..cpus import cpu_at
from ..orders import aligned_start, pages_of

RESERVED = MAX_BLOCK_ORDER + 1
"""How far the lists of reserved blocks stand behind the others."""
SMALLEST_COUNTED = 2
"""Smallest order of a block whose breaking is counted: that of the smallest large folio."""


@device
def order_in(info):
    """Order that a frame word holds."""
    return info >> FRAME_ORDER_SHIFT & 15


@device
def frame_order(dev, frame):
    """Order of the folio or free block a frame belongs to."""
    return order_in(word(dev, dev.o_frame + frame))


@device
def folio_of(dev, frame):
    """First frame of the folio around a frame, and its order."""
    order = frame_order(dev, frame)
    return aligned_start(frame, order), order


@device
def free_list_at(dev, frame, order):
    """Word offset of the head of the list a free block belongs to."""
    return W_BLOCK_HEAD + order + (RESERVED if frame >= np.int64(dev.reserve_start) else 0)


@device
def block_push(dev, frame, order):
    """Put a free block at the head of its list."""
    o_list = free_list_at(dev, frame, order)
    head = word(dev, o_list)
    set_word(dev, dev.o_frame + frame, FRAME_FREE | (order << FRAME_ORDER_SHIFT) | head)
    set_word(dev, dev.o_content + frame, FRAME_NIL)
    if head != FRAME_NIL:
        set_word(dev, dev.o_content + head, frame)
    set_word(dev, o_list, frame)


@device
def block_unlink(dev, frame, order):
    """Take a free block off its list."""
    after = word(dev, dev.o_frame + frame) & FRAME_LINK
    before = word(dev, dev.o_content + frame)
    if before == FRAME_NIL:
        set_word(dev, free_list_at(dev, frame, order), after)
    else:
        o = dev.o_frame + before
        set_word(dev, o, word(dev, o) & ~FRAME_LINK | after)
    if after != FRAME_NIL:
        set_word(dev, dev.o_content + after, before)


@device
def frames_setup(dev):
    """All frames free, in the largest aligned blocks, lowest address first."""
    for i in range(2 * RESERVED):
        set_word(dev, W_BLOCK_HEAD + i, FRAME_NIL)
    n = np.int64(dev.n_frames)
    start = n - np.int64(dev.reserve_frames)
    dev.reserve_start = np.uint32(start)
    dev.reserve_free = np.uint32(n - start)
    dev.frames_free = np.uint32(start)
    at = n
    order = np.int64(0)
    # From the top down, so that the block at frame 0 ends up at the head of its list.
    while at > 0:
        most = np.int64(dev.reserve_order) if at > start else np.int64(MAX_BLOCK_ORDER)
        order = np.int64(0)
        while order < most and at & ((2 << order) - 1) == 0:
            order += 1
        at -= pages_of(order)
        block_push(dev, at, order)


@device
def free_order(dev, order):
    """Order of the smallest free block that holds one of an order, reserved ones not counted; else one too large."""
    while order <= MAX_BLOCK_ORDER and word(dev, W_BLOCK_HEAD + order) == FRAME_NIL:
        order += 1
    return order


@device
def frames_take(dev, order, broken_by):
    """Allocate an aligned block of 2^order frames.

    Parameters
    ----------
    broken_by : int64
        Counter, by order, of the larger blocks that this breaks up: BROKEN_BY_FOLIOS or BROKEN_BY_POOL.

    Returns
    -------
    int64
        Its first frame, or -1.
    """
    if order > 0 and order == np.int64(dev.reserve_order) and np.int64(dev.reserve_frames) > 0:
        frame = word(dev, W_BLOCK_HEAD + RESERVED + order)
        if frame != FRAME_NIL:
            block_unlink(dev, frame, order)
            dev.reserve_free = np.uint32(np.int64(dev.reserve_free) - pages_of(order))
            return frame
    have = free_order(dev, order)
    if have > MAX_BLOCK_ORDER:
        return np.int64(-1)
    frame = word(dev, W_BLOCK_HEAD + have)
    block_unlink(dev, frame, have)
    while have > order:
        if have >= SMALLEST_COUNTED:
            count(dev, broken_by + have, 1)
        have -= 1
        block_push(dev, frame + (1 << have), have)
    dev.frames_free = np.uint32(np.int64(dev.frames_free) - pages_of(order))
    return frame


@device(cuda="call")
def frames_give(dev, frame, order):
    """Free a block and merge it with its buddies."""
    n = np.int64(dev.reserve_start)
    most = np.int64(MAX_BLOCK_ORDER)
    if frame >= n:
        dev.reserve_free = np.uint32(np.int64(dev.reserve_free) + pages_of(order))
        n = np.int64(dev.n_frames)
        most = np.int64(dev.reserve_order)
    else:
        dev.frames_free = np.uint32(np.int64(dev.frames_free) + pages_of(order))
    while order < most:
        buddy = frame ^ pages_of(order)
        if buddy + pages_of(order) > n:
            break
        info = word(dev, dev.o_frame + buddy)
        if info < FRAME_FREE or order_in(info) != order:
            break
        block_unlink(dev, buddy, order)
        frame = min(frame, buddy)
        order += 1
    block_push(dev, frame, order)


@device
def block_move(dev, source, to, n):
    """Move the frames of a block; each old frame remembers in its content word where it went."""
    copy_words(dev, dev.o_frame + to, dev.o_frame + source, n)
    copy_words(dev, dev.o_content + to, dev.o_content + source, n)
    for i in range(n):
        set_byte(dev, dev.o_mapcount + to + i, byte(dev, dev.o_mapcount + source + i))
        set_word(dev, dev.o_content + source + i, to + i)
    fill_bytes(dev, dev.o_mapcount + source, n, 0)
    fill_words(dev, dev.o_frame + source, n, FRAME_VACANT)


@device
def follow_move(dev, o, frame):
    """Point a word that names a frame at the frame's new place, if `block_move` moved it; a negative one is none."""
    if frame >= 0 and word(dev, dev.o_frame + frame) == FRAME_VACANT:
        set_word(dev, o, word(dev, o) - frame + word(dev, dev.o_content + frame))


@device
def follow_moves(dev):
    """Point all that names frames at their new places: PTEs, the swap cache, halted faults, the pool."""
    for o in range(np.int64(dev.o_pte), np.int64(dev.o_pte) + np.int64(dev.n_ptes)):
        pte = word(dev, o)
        if pte >> KIND_SHIFT == PRESENT:
            follow_move(dev, o, pte & PTE_PAYLOAD)
    for o in range(np.int64(dev.o_cache), np.int64(dev.o_cache) + np.int64(dev.n_cache)):
        follow_move(dev, o, word(dev, o) - 1)
    for cpu in range(np.int64(dev.n_cpus)):
        o = cpu_at(dev, cpu) + CPU_FAULT + FAULT_FRAME
        follow_move(dev, o, word(dev, o) - 1)
    pool_pages = counter_value(dev, POOL_PAGES) if runs_short(dev) else np.int64(0)
    for o in range(np.int64(dev.o_pool_frame), np.int64(dev.o_pool_frame) + pool_pages):
        follow_move(dev, o, word(dev, o))


@device(cpu="call", cuda="call")
def compact_memory(dev):
    """Gather free memory into large blocks, like the kernel's compaction but always complete.

    Level by level, every aligned block of 2^level frames is made wholly free or wholly used: of two blocks with one
    free half each, one gives its used half to the other. At most one such block stays behind on a level, so less than
    2^10 frames in all remain unusable for large folios. Placement is not observable in any counter or PTE of a dump.
    """
    n = np.int64(dev.reserve_start)
    # Spread the mark of a free block from its first frame to all of them.
    frame = np.int64(0)
    while frame < n:
        info = word(dev, dev.o_frame + frame)
        size = pages_of(order_in(info))
        if info >= FRAME_FREE:
            fill_words(dev, dev.o_frame + frame, size, FRAME_VACANT)
        frame += size
    for level in range(MAX_BLOCK_ORDER):
        half = pages_of(level)
        waiting = np.int64(-1)
        moved = 0
        for block in range(n >> (level + 1)):
            low = np.int64(block) << (level + 1)
            low_free = word(dev, dev.o_frame + low) == FRAME_VACANT
            if low_free == (word(dev, dev.o_frame + low + half) == FRAME_VACANT):
                continue
            used = low + half if low_free else low
            if waiting < 0:
                waiting = used
            else:
                block_move(dev, used, waiting ^ half, half)
                waiting = np.int64(-1)
                moved += 1
        if waiting >= 0 and waiting & half != 0:
            # Its first frame says what a block is: on the levels above this one must look used.
            block_move(dev, waiting, waiting ^ half, half)
            moved += 1
        if moved > 0:
            follow_moves(dev)
    for order in range(MAX_BLOCK_ORDER + 1):
        set_word(dev, W_BLOCK_HEAD + order, FRAME_NIL)
    dev.frames_free = np.uint32(0)
    frame = n - 1
    while frame >= 0:
        if word(dev, dev.o_frame + frame) == FRAME_VACANT:
            frames_give(dev, frame, 0)
        frame -= 1


@device
def frames_take_always(dev, order):
    """Allocate a block as if memory were never fragmented; -1 with the error word set if there is too little."""
    by = np.int64(BROKEN_BY_FOLIOS)
    frame = frames_take(dev, order, by)
    if frame < 0 and not runs_short(dev) and np.int64(dev.frames_free) >= pages_of(order):
        compact_memory(dev)
        frame = frames_take(dev, order, by)
    if frame < 0:
        fail(dev, NO_FRAMES, order)
    return frame
