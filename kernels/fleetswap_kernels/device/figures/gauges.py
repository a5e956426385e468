"""What a look at a device finds: free blocks and how fragmented they are, pages, contiguity (spec 06 §6.3)."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import (
    GAUGE_BLOCKS, GAUGE_CENSUS, GAUGE_EXTFRAG, GAUGE_FREE_FRAMES, GAUGE_FREE_SLOTS, GAUGE_PROCESSES, GAUGE_RESERVED,
    GAUGE_RESIDENT, GAUGE_SWAPPED, GAUGE_UNUSABLE,
)  # fmt: skip
from ...layout.device import PROC_SWAPENTS, PROC_USED, Q_COUNTER, W_BLOCK_HEAD
from ...layout.words import FRAME_LINK, FRAME_NIL, MAX_BLOCK_ORDER, MAX_ORDER
from ..access import counter_value, set_quad, word
from ..memory.workingset import resident_pages
from ..regions import proc_at
from ..swap.census import take_census


@device
def set_gauge(dev, gauge, value):
    """Store the value of a gauge, which stands among the counters."""
    set_quad(dev, Q_COUNTER + gauge, value)


@device
def free_blocks(dev, order):
    """Length of a list of free blocks of page frames, reserved ones not counted."""
    n = np.int64(0)
    frame = word(dev, W_BLOCK_HEAD + order)
    for _ in range(np.int64(dev.n_frames)):
        if frame == FRAME_NIL:
            break
        n += 1
        frame = word(dev, dev.o_frame + frame) & FRAME_LINK
    return n


@device
def set_fragmentation(dev):
    """Store the kernel's two indices of free memory, by folio order, from the free blocks just stored.

    The unusable free space index is the share of free pages in blocks that are too small for an order, in permille.
    The fragmentation index says why a request of that order fails: towards 0 for want of memory, towards 1000 for
    fragmentation; -1000 if it does not fail (mm/vmstat.c unusable_free_index, __fragmentation_index; spec 06 §6.3).
    """
    free = np.int64(0)
    blocks = np.int64(0)
    for order in range(MAX_BLOCK_ORDER + 1):
        n = counter_value(dev, GAUGE_BLOCKS + order)
        blocks += n
        free += n << order
    small = np.int64(0)
    for order in range(MAX_ORDER + 1):
        unusable = np.int64(1000)
        if free > 0:
            unusable = small * 1000 // free
        index = np.int64(-1000)
        if blocks == 0:
            index = np.int64(0)
        elif small == free:
            index = 1000 - (1000 + (free * 1000 >> order)) // blocks
        set_gauge(dev, GAUGE_UNUSABLE + order, unusable)
        set_gauge(dev, GAUGE_EXTFRAG + order, index)
        small += counter_value(dev, GAUGE_BLOCKS + order) << order


@device(cpu="call", cuda="call")
def take_gauges(dev, orders):
    """Look at a device and store what is found among its counters; without a mask of orders no contiguity."""
    swapped = np.int64(0)
    processes = np.int64(0)
    for p in range(np.int64(dev.n_procs)):
        o = proc_at(dev, p)
        if word(dev, o + PROC_USED):
            processes += 1
            swapped += word(dev, o + PROC_SWAPENTS)
    set_gauge(dev, GAUGE_FREE_FRAMES, np.int64(dev.frames_free))
    set_gauge(dev, GAUGE_RESERVED, np.int64(dev.reserve_free))
    set_gauge(dev, GAUGE_RESIDENT, resident_pages(dev))
    set_gauge(dev, GAUGE_SWAPPED, swapped)
    set_gauge(dev, GAUGE_FREE_SLOTS, np.int64(dev.nr_swap_pages))
    set_gauge(dev, GAUGE_PROCESSES, processes)
    for order in range(MAX_BLOCK_ORDER + 1):
        set_gauge(dev, GAUGE_BLOCKS + order, free_blocks(dev, order))
    set_fragmentation(dev)
    if orders:
        take_census(dev, orders, np.int64(Q_COUNTER + GAUGE_CENSUS))
