"""zsmalloc: size classes, zspages and fullness groups (spec 08 §8.2-8.3; mm/zsmalloc.c).

Only what decides the number of pool pages is kept: which zspage an object lives in and how full the zspage is. The
place of an object inside its zspage matters to nothing before a compaction.
"""

import numpy as np

from .access import byte, counter_value, fail, set_word, word
from .bits import NIL
from .counters import MAX_USED_PAGES, POOL_PAGES
from .errors import NO_ZSPAGES
from .jit import device
from .layout import Q_COUNTER, ZGROUPS, ZSPAGE_INFO, ZSPAGE_NEXT, ZSPAGE_PREV, ZSPAGE_WORDS
from .size_classes import HANDLE_BYTES, PAGE_BYTES

# Class word: objects per zspage in the low 16 bits, pages above. Zspage word: objects in use, class above.


@device
def fullness(used, objects):
    """Fullness group of a zspage: 0 empty, 1..10 partly used, 11 full."""
    if used == 0:
        return 0
    if used == objects:
        return 11
    return 100 * used // objects // 10 + 1


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
    for i in range(np.int64(dev.n_zclasses) * ZGROUPS):
        set_word(dev, dev.o_zgroup + i, NIL)
    n = np.int64(dev.n_zspages)
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
        The zspage it went to, NIL if the device has no zspage record left (error word set).
    """
    if size_bytes == PAGE_BYTES or size_bytes + HANDLE_BYTES <= PAGE_BYTES:
        z_class = byte(dev, dev.o_zraw + size_bytes)
    else:
        # Classes above a page are 1/256 of a block apart (spec 08 §8.5).
        steps = (size_bytes + HANDLE_BYTES - PAGE_BYTES + (16 << dev.block_order) - 1) >> (4 + dev.block_order)
        z_class = byte(dev, dev.o_zstep + min(steps, np.int64(256)))
    info = word(dev, dev.o_zclass + z_class)
    objects = info & 0xFFFF
    base = dev.o_zgroup + z_class * ZGROUPS
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
        o = dev.o_zspage + z * ZSPAGE_WORDS
        dev.zspage_unused = np.uint32(word(dev, o + ZSPAGE_NEXT))
        pool = counter_value(dev, POOL_PAGES) + (info >> 16)
        dev.q[np.uint32(Q_COUNTER + POOL_PAGES)] = np.uint64(pool)
        zspage_link(dev, base + fullness(1, objects), z, o)
    else:
        o = dev.o_zspage + z * ZSPAGE_WORDS
        used = word(dev, o + ZSPAGE_INFO) & 0xFFFF
        old = fullness(used, objects)
        new = fullness(used + 1, objects)
        if old != new:
            zspage_unlink(dev, base + old, o)
            zspage_link(dev, base + new, z, o)
    set_word(dev, o + ZSPAGE_INFO, (used + 1) | (z_class << 16))
    return z


@device
def zs_free(dev, z):
    """Free one object of zspage `z`; an empty zspage gives its pages back at once."""
    o = dev.o_zspage + z * ZSPAGE_WORDS
    packed = word(dev, o + ZSPAGE_INFO)
    z_class = packed >> 16
    used = packed & 0xFFFF
    info = word(dev, dev.o_zclass + z_class)
    objects = info & 0xFFFF
    base = dev.o_zgroup + z_class * ZGROUPS
    old = fullness(used, objects)
    new = fullness(used - 1, objects)
    set_word(dev, o + ZSPAGE_INFO, packed - 1)
    if old == new:
        return
    zspage_unlink(dev, base + old, o)
    if new == 0:
        set_word(dev, o + ZSPAGE_NEXT, np.int64(dev.zspage_unused))
        dev.zspage_unused = np.uint32(z)
        pool = counter_value(dev, POOL_PAGES) - (info >> 16)
        dev.q[np.uint32(Q_COUNTER + POOL_PAGES)] = np.uint64(pool)
    else:
        zspage_link(dev, base + new, z, o)


@device
def note_pool_peak(dev):
    """Keep the largest number of pool pages seen (zram's mem_used_max)."""
    pool = dev.q[np.uint32(Q_COUNTER + POOL_PAGES)]
    o = np.uint32(Q_COUNTER + MAX_USED_PAGES)
    dev.q[o] = max(dev.q[o], pool)
