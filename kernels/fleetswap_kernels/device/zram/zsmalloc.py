"""zsmalloc: size classes, zspages and fullness groups (spec 08 §8.2-8.3; mm/zsmalloc.c).

Only what decides the number of pool pages is kept: which zspage an object lives in and how full the zspage is. The
place of an object inside its zspage matters to nothing before a compaction. A device without zspage records keeps less:
the bytes that its objects take of full zspages, as in a pool that is compacted at all times and too large for the last
zspage of each class to matter.
"""

import numpy as np

from ...compile.decorators import device
from ...compile.views import runs_short
from ...layout.counters import MAX_USED_PAGES, POOL_BYTES, POOL_PAGES
from ...layout.device import (
    Q_COUNTER, ZCLASS_INFO, ZCLASS_RECIPROCAL, ZCLASS_WORDS, ZGROUPS, ZSHARE_STEPS, ZSPAGE_INFO, ZSPAGE_NEXT,
    ZSPAGE_PREV, ZSPAGE_WORDS,
)  # fmt: skip
from ...layout.errors import NO_ZSPAGES
from ...layout.pages import PAGE_BYTES
from ...layout.size_classes import HANDLE_BYTES
from ...layout.words import NIL
from ..access import byte, counter_value, fail, set_word, word
from .pool_frames import pool_frames_change

# Zspage word: objects in use, class above.


@device
def fullness(used, objects, reciprocal):
    """Fullness group of a zspage: 0 empty, 1..10 partly used, 11 full."""
    if used == 0:
        return 0
    if used == objects:
        return 11
    return (10 * used * reciprocal >> 32) + 1


@device
def pool_grow(dev, pages):
    """Account pages that the pool takes, and its peak (zram's mem_used_max); negative ones it gives back."""
    o = np.uint32(Q_COUNTER + POOL_PAGES)
    pool = np.int64(dev.q[o]) + pages
    if runs_short(dev) and pages != 0:
        pool_frames_change(dev, pool - pages, pages)
    dev.q[o] = np.uint64(pool)
    o = np.uint32(Q_COUNTER + MAX_USED_PAGES)
    dev.q[o] = np.uint64(max(np.int64(dev.q[o]), pool))


@device
def packed_pool_grow(dev, size_bytes):
    """Account bytes that a packed pool takes; negative ones it gives back."""
    o = np.uint32(Q_COUNTER + POOL_BYTES)
    pool = np.int64(dev.q[o]) + size_bytes
    dev.q[o] = np.uint64(pool)
    pool_grow(dev, (pool + PAGE_BYTES - 1 >> 12) - counter_value(dev, POOL_PAGES))


@device
def share_bytes(dev, size_bytes):
    """What an object takes of a full zspage: the zspage's bytes over its objects."""
    return word(dev, dev.o_zshare + share_index(np.int64(dev.block_order), size_bytes))


@device
def page_share_bytes(dev, size_bytes):
    """The same for an object of at most a page."""
    return word(dev, dev.o_zshare + page_share_index(size_bytes))


@device
def share_index(block_order, size_bytes):
    """Where the table of shares (`size_classes.SizeClasses.shares`) has that of an object."""
    if size_bytes <= PAGE_BYTES:
        return page_share_index(size_bytes)
    return ZSHARE_STEPS + block_steps(block_order, size_bytes)


@device
def page_share_index(size_bytes):
    """The same for an object of at most a page."""
    return size_bytes + 7 >> 4


@device
def block_steps(block_order, size_bytes):
    """Steps of classes above a page, which are 1/256 of a block apart (spec 08 §8.5)."""
    steps = (size_bytes + HANDLE_BYTES - PAGE_BYTES + (16 << block_order) - 1) >> (4 + block_order)
    return min(steps, np.int64(256))


@device
def class_for(dev, size_bytes):
    """Size class of an object."""
    if size_bytes <= PAGE_BYTES:
        return byte(dev, dev.o_zraw + size_bytes)
    return byte(dev, dev.o_zstep + block_steps(np.int64(dev.block_order), size_bytes))


@device
def zspage_unlink(dev, group, o):
    """Take the zspage whose record is at word `o` off its group; `group` is the word offset of the group's head."""
    after = word(dev, o + ZSPAGE_NEXT)
    before = word(dev, o + ZSPAGE_PREV)
    if before == NIL:
        set_word(dev, group, after)
    else:
        set_word(dev, dev.o_zspage + before * ZSPAGE_WORDS + ZSPAGE_NEXT, after)
    if after != NIL:
        set_word(dev, dev.o_zspage + after * ZSPAGE_WORDS + ZSPAGE_PREV, before)


@device
def zspage_link(dev, group, z, o):
    """Put zspage `z` at the head of a group."""
    head = word(dev, group)
    set_word(dev, o + ZSPAGE_NEXT, head)
    set_word(dev, o + ZSPAGE_PREV, NIL)
    if head != NIL:
        set_word(dev, dev.o_zspage + head * ZSPAGE_WORDS + ZSPAGE_PREV, z)
    set_word(dev, group, z)


@device
def pool_setup(dev):
    """Empty pool: unused zspage records form a chain that starts in the record of number 0."""
    n = np.int64(dev.n_zspages)
    for i in range(np.int64(dev.n_zclasses) * ZGROUPS if n > 0 else np.int64(0)):
        set_word(dev, dev.o_zgroup + i, NIL)
    for z in range(n):
        set_word(dev, dev.o_zspage + z * ZSPAGE_WORDS + ZSPAGE_NEXT, z + 1 if z + 1 < n else NIL)
        set_word(dev, dev.o_zspage + z * ZSPAGE_WORDS + ZSPAGE_INFO, 0)
    dev.zspage_unused = np.uint32(0 if n > 0 else NIL)


@device
def zs_malloc(dev, size_bytes):
    """Store an object.

    Returns
    -------
    int64
        The zspage it went to, 0 if the pool is packed; NIL if there is no memory for a new one, or the device has no
        zspage record left (error word set).
    """
    if dev.n_zspages == 0:
        packed_pool_grow(dev, share_bytes(dev, size_bytes))
        return np.int64(0)
    return zspage_malloc(dev, size_bytes)


@device
def zs_free(dev, z, size_bytes):
    """Free an object of zspage `z`."""
    if dev.n_zspages == 0:
        packed_pool_grow(dev, -share_bytes(dev, size_bytes))
    else:
        zspage_free(dev, z, size_bytes)


@device(cpu="call", cuda="call")
def zspage_malloc(dev, size_bytes):
    """Store an object in the fullest zspage of its class that has room (`zs_malloc`)."""
    z_class = class_for(dev, size_bytes)
    o_class = dev.o_zclass + z_class * ZCLASS_WORDS
    info = word(dev, o_class + ZCLASS_INFO)
    objects = info & 0xFFFF
    base = dev.o_zgroup + z_class * ZGROUPS
    reciprocal = word(dev, o_class + ZCLASS_RECIPROCAL)
    z = np.int64(NIL)
    group = 10
    while group >= 0 and z == NIL:
        z = word(dev, base + group)
        group -= 1
    used = np.int64(0)
    if z == NIL:
        z = np.int64(dev.zspage_unused)
        if z == NIL:
            fail(dev, NO_ZSPAGES, 0)
            return z
        if runs_short(dev) and np.int64(dev.frames_free) < info >> 16:
            return np.int64(NIL)
        o = dev.o_zspage + z * ZSPAGE_WORDS
        dev.zspage_unused = np.uint32(word(dev, o + ZSPAGE_NEXT))
        pool_grow(dev, info >> 16)
        zspage_link(dev, base + fullness(1, objects, reciprocal), z, o)
    else:
        o = dev.o_zspage + z * ZSPAGE_WORDS
        used = word(dev, o + ZSPAGE_INFO) & 0xFFFF
        new = fullness(used + 1, objects, reciprocal)
        if group + 1 != new:
            zspage_unlink(dev, base + group + 1, o)
            zspage_link(dev, base + new, z, o)
    set_word(dev, o + ZSPAGE_INFO, (used + 1) | (z_class << 16))
    return z


@device(cpu="call", cuda="call")
def zspage_free(dev, z, size_bytes):
    """Free an object of zspage `z`, which gives its pages back once it is empty."""
    z_class = class_for(dev, size_bytes)
    o_class = dev.o_zclass + z_class * ZCLASS_WORDS
    info = word(dev, o_class + ZCLASS_INFO)
    objects = info & 0xFFFF
    base = dev.o_zgroup + z_class * ZGROUPS
    reciprocal = word(dev, o_class + ZCLASS_RECIPROCAL)
    o = dev.o_zspage + z * ZSPAGE_WORDS
    packed = word(dev, o + ZSPAGE_INFO)
    used = packed & 0xFFFF
    old = fullness(used, objects, reciprocal)
    new = fullness(used - 1, objects, reciprocal)
    set_word(dev, o + ZSPAGE_INFO, packed - 1)
    if old == new:
        return
    zspage_unlink(dev, base + old, o)
    if new == 0:
        set_word(dev, o + ZSPAGE_NEXT, np.int64(dev.zspage_unused))
        dev.zspage_unused = np.uint32(z)
        pool_grow(dev, -(info >> 16))
    else:
        zspage_link(dev, base + new, z, o)
