"""Page-table words and what they refer to; the twin of ``cuda/pagemap.cuh``."""

import numpy as np

from ...compile.decorators import device
from ..words import HAS_CACHE, MAX_SWAPFILES, NO_ENTRY, PM_SLOT_SHIFT, PM_SWAP_SHIFT, SLOT_BITS, SLOT_MASK, TYPE_MASK

PLAIN_SLOT = 0
"""State of a slot with data in zram, and of every slot if nothing is known about slots."""
ZERO_SLOT = 1
CACHED_SLOT = 2
NO_SLOT = 3
"""No swap area has it."""


@device
def row_of(offsets, rows, item):
    """The row that holds an item, of rows that follow each other: row r has the items offsets[r] to offsets[r + 1]."""
    low = np.int64(0)
    high = rows
    while high - low > 1:
        middle = (low + high) >> 1
        if np.int64(offsets[middle]) <= item:
            low = middle
        else:
            high = middle
    return low


@device
def swap_entry(word):
    """Swap type and slot of a page-table word as one number; NO_ENTRY if the page is not swapped out."""
    if word >> PM_SWAP_SHIFT != 1 or word & TYPE_MASK >= MAX_SWAPFILES:
        return np.int64(NO_ENTRY)
    return (word & TYPE_MASK) << SLOT_BITS | (word >> PM_SLOT_SHIFT & SLOT_MASK)


@device
def slot_place(entry, first_area, areas, area_offset, area_slots):
    """Where the arrays of slots have an entry's slot; -1 if no area does."""
    area = first_area + (entry >> SLOT_BITS)
    slot = entry & SLOT_MASK
    if area >= areas or slot >= np.int64(area_slots[area]):
        return np.int64(-1)
    return np.int64(area_offset[area]) + slot


@device
def slot_state(entry, first_area, areas, area_offset, area_slots, swap_map, zeromap):
    """What decides whether a slot can be read together with its neighbours (spec 05 §5.3, filter 7 c and d)."""
    if areas == 0:
        return np.int64(PLAIN_SLOT)
    place = slot_place(entry, first_area, areas, area_offset, area_slots)
    if place < 0:
        return np.int64(NO_SLOT)
    if np.int64(swap_map[place]) & HAS_CACHE:
        return np.int64(CACHED_SLOT)
    return np.int64(zeromap[place >> 3]) >> (place & 7) & 1
