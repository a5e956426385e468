"""Page-table words and what they refer to: those of /proc/PID/pagemap (fs/proc/task_mmu.c), one uint64 a page.

A swapped-out page has bit 62, not bit 63, its swap type in bits 0-4 and its slot in bits 5-54. Pages can come back as
one folio only if their words are consecutive, so bits 55-61 take part: soft-dirty (55), uffd-wp (57). The kernel does
not show the exclusive bit of a swap entry; who knows it, as a simulated device does, sets bit 56.
"""

from typing import NamedTuple

import numpy as np

from ...layout.words import HAS_CACHE
from ...compile.decorators import device
from ...layout.batch_work import Array

PM_SWAP_SHIFT = 62
PM_SLOT_SHIFT = 5
TYPE_MASK = 31
SLOT_BITS = 50
SLOT_MASK = (1 << SLOT_BITS) - 1
MAX_SWAPFILES = 23
"""Larger types are no swap devices: migration, hardware poison, markers (include/linux/swap.h)."""
NO_ENTRY = -2
"""A page that is not swapped out; so that its successor is no entry either."""
PLAIN_SLOT = 0
"""State of a slot with data in zram, and of every slot if nothing is known about slots."""
ZERO_SLOT = 1
CACHED_SLOT = 2
NO_SLOT = 3
"""No swap area has it."""


class Slots(NamedTuple):
    """Slots of swap areas: those before each area and of all, those of each, and the kernel's state of each slot."""

    area_offset: Array
    area_slots: Array
    swap_map: Array
    zeromap: Array


@device
def row_of(offsets, item):
    """The row that holds an item, of rows that follow each other: row r has the items offsets[r] to offsets[r + 1]."""
    low = np.int64(0)
    high = np.int64(offsets.size - 1)
    while high - low > 1:
        middle = (low + high) >> 1
        if np.int64(offsets[middle]) <= item:
            low = middle
        else:
            high = middle
    return low


@device
def bit_of(bitmap, place):
    """A bit of a bitmap, lowest first."""
    return np.int64(bitmap[place >> 3]) >> (place & 7) & 1


@device
def swap_entry(word):
    """Swap type and slot of a page-table word as one number; NO_ENTRY if the page is not swapped out."""
    if word >> PM_SWAP_SHIFT != 1 or word & TYPE_MASK >= MAX_SWAPFILES:
        return np.int64(NO_ENTRY)
    return (word & TYPE_MASK) << SLOT_BITS | (word >> PM_SLOT_SHIFT & SLOT_MASK)


@device
def slot_place(slots, first_area, entry):
    """Where the arrays of slots have an entry's slot; -1 if no area does."""
    area = first_area + (entry >> SLOT_BITS)
    slot = entry & SLOT_MASK
    if area >= slots.area_slots.size or slot >= np.int64(slots.area_slots[area]):
        return np.int64(-1)
    return np.int64(slots.area_offset[area]) + slot


@device
def slot_state(slots, first_area, entry):
    """What decides whether a slot can be read together with its neighbours (spec 05 §5.3, filter 7 c and d)."""
    if slots.area_slots.size == 0:
        return np.int64(PLAIN_SLOT)
    place = slot_place(slots, first_area, entry)
    if place < 0:
        return np.int64(NO_SLOT)
    if np.int64(slots.swap_map[place]) & HAS_CACHE:
        return np.int64(CACHED_SLOT)
    return bit_of(slots.zeromap, place)
