"""The cluster allocator: where a swap entry is put (spec 02; mm/swapfile.c)."""

from enum import IntEnum, unique

import numpy as np

from ...compile.decorators import device
from ...layout.device import W_FRAG_NR
from ...layout.errors import LOOP_BOUND
from ...layout.words import (
    CLUSTER_COUNT, CLUSTER_SLOTS, FLAG_FRAG, HAS_CACHE, LIST_FRAG, LIST_FREE, LIST_FULL, LIST_NONFULL, MAX_ORDER,
    NIL, SWAP_BATCH,
)  # fmt: skip
from ..access import any_byte, byte, fail, fill_bytes, set_byte, set_word, word
from ..cpus import this_cpu_at
from ..orders import pages_of
from .clusters import cluster_set, cluster_take, list_append, list_head, list_remove
from .release import DROP_ANYWAY, try_drop, vm_swap_full


@unique
class Stage(IntEnum):
    """Where `alloc_entry` looks next for a cluster (spec 02 §2.1, steps 1 to 5)."""

    CURRENT = 0
    """The cluster in which this CPU goes on."""
    FREE = 1
    RECLAIM = 2
    """Nowhere: if swap is nearly full, folios are dropped from the swap cache first."""
    NONFULL = 3
    FRAGMENTED = 4
    OTHER_ORDERS = 5
    """For single slots only."""


@device
def reclaim_full_cluster(dev):
    """Rotate the full list by one and drop the swap-cache folios of that cluster (spec 02 §2.6)."""
    c = list_head(dev, LIST_FULL)
    if c == NIL:
        return
    list_remove(dev, LIST_FULL, c)
    list_append(dev, LIST_FULL, c)
    if dev.swap_cache_pages == 0:
        return
    slot = c * CLUSTER_SLOTS
    end = min(np.int64(dev.n_slots), slot + CLUSTER_SLOTS)
    while slot < end:
        step = np.int64(0)
        if byte(dev, dev.o_map + slot) == HAS_CACHE:
            step = abs(try_drop(dev, slot, DROP_ANYWAY))
        slot += max(step, np.int64(1))


@device(cpu="call")
def reclaim_worker(dev):
    """The pass over full clusters that a device queues when it fills up completely (spec 02 §2.6)."""
    dev.reclaim_pending = np.uint32(0)
    passes = max(np.int64(1), np.int64(dev.inuse) // CLUSTER_SLOTS)
    for _ in range(passes):
        reclaim_full_cluster(dev)


@device
def reclaim_window(dev, slot, n):
    """Try to empty a window of free and cache-only slots; whether it is free now (cluster_reclaim_range)."""
    for i in range(n):
        value = byte(dev, dev.o_map + slot + i)
        if value == 0:
            continue
        if value != HAS_CACHE or try_drop(dev, slot + i, DROP_ANYWAY) <= 0:
            return False
    return True


@device
def window_ok(dev, slot, n):
    """Whether `n` slots may be handed out together (spec 02 §2.3; cluster_scan_range)."""
    o = dev.o_map + slot
    if not any_byte(dev, o, n):
        return True
    # With an empty swap cache such a slot sits in a per-CPU cache, from which nothing can be taken.
    if dev.swap_cache_pages == 0 or not vm_swap_full(dev):
        return False
    for i in range(n):
        if byte(dev, o + i) & ~HAS_CACHE:
            return False
    return reclaim_window(dev, slot, n)


@device
def skip_used(dev, slot, last, n):
    """First window from `slot` on whose first byte, or first eight if it has as many, are all zero."""
    if n < 8:
        o = np.int64(dev.o_map) + slot
        while slot <= last and dev.by[np.uint32(o)] != np.uint8(0):
            slot += n
            o += n
    else:
        o = (np.int64(dev.o_map) + slot) >> 3
        while slot <= last and dev.q[np.uint32(o)] != np.uint64(0):
            slot += n
            o += n >> 3
    return slot


@device
def scan_cluster(dev, c, start, order):
    """Find and take 2^order slots in a cluster from slot `start` on; the first of them, or 0 (spec 02 §2.2)."""
    n = pages_of(order)
    if (word(dev, dev.o_cluster + c) & CLUSTER_COUNT) + n > CLUSTER_SLOTS:
        return np.int64(0)
    last = min(c * CLUSTER_SLOTS + CLUSTER_SLOTS, np.int64(dev.n_slots)) - n
    slot = start
    while slot <= last:
        if dev.swap_cache_pages == 0:
            # Nothing can be dropped: pass quickly over windows that begin with a used slot.
            slot = skip_used(dev, slot, last, n)
            if slot > last:
                break
        if window_ok(dev, slot, n):
            take_slots(dev, c, slot, n, order)
            return slot
        slot += n
    return np.int64(0)


@device
def take_slots(dev, c, slot, n, order):
    """Mark `n` slots as taken (spec 02 §2.4; cluster_alloc_range, swap_range_alloc).

    Parameters
    ----------
    c : int64
        Cluster.
    slot, n : int64
        First slot, and how many.
    order : int64
        Order of the entry.
    """
    fill_bytes(dev, dev.o_map + slot, n, HAS_CACHE)
    cluster_take(dev, c, n, order)
    if slot == np.int64(dev.lowest_bit):
        dev.lowest_bit = np.uint32(slot + n)
    if slot + n - 1 == np.int64(dev.highest_bit):
        dev.highest_bit = np.uint32(np.int64(dev.highest_bit) - n)
    count_taken(dev, n)


@device
def count_taken(dev, n):
    """Account `n` slots as in use; the last ones of a device queue the pass over its full clusters."""
    inuse = np.int64(dev.inuse) + n
    dev.inuse = np.uint32(inuse)
    if inuse == np.int64(dev.pages):
        dev.lowest_bit = dev.n_slots
        dev.highest_bit = np.uint32(0)
        if vm_swap_full(dev):
            dev.reclaim_pending = np.uint32(1)


@device
def alloc_entry(dev, order):
    """Allocate 2^order slots; the first of them, or 0 (spec 02 §2.1; cluster_alloc_swap_entry).

    The search is a sequence of candidate clusters: this CPU's current one, a free one, then the nonfull and the
    fragmented clusters of the order, and for single slots those of every other order. They are stages
    of one loop, so that `scan_cluster` is compiled once.
    """
    n = pages_of(order)
    o_next = this_cpu_at(dev) + order
    at = word(dev, o_next)
    slot = np.int64(0)
    tried = np.int64(0)
    stage = Stage.CURRENT
    victim_order = np.int64(1)
    candidate = np.int64(NIL)
    ended = False
    # Every list is looked at once; a cluster comes back only if a folio was dropped from the swap cache meanwhile.
    for _ in range(2 * np.int64(dev.n_clusters) + np.int64(dev.n_cache) + 32):
        candidate = np.int64(NIL)
        if stage == Stage.CURRENT:
            stage = Stage.FREE
            if at != 0:
                candidate = at // CLUSTER_SLOTS
        elif stage == Stage.FREE:
            stage = Stage.RECLAIM
            candidate = list_head(dev, LIST_FREE)
        elif stage == Stage.RECLAIM:
            if vm_swap_full(dev):
                reclaim_full_cluster(dev)
            stage = Stage.NONFULL if order < MAX_ORDER else Stage.OTHER_ORDERS
        elif stage == Stage.NONFULL:
            candidate = list_head(dev, LIST_NONFULL + order)
            if candidate == NIL:
                stage = Stage.FRAGMENTED
            else:
                tried += 1
                count = word(dev, dev.o_cluster + candidate) & CLUSTER_COUNT
                cluster_set(dev, candidate, count, order, FLAG_FRAG)
        elif stage == Stage.FRAGMENTED:
            if tried < word(dev, W_FRAG_NR + order):
                tried += 1
                candidate = list_head(dev, LIST_FRAG + order)
                list_remove(dev, LIST_FRAG + order, candidate)
                list_append(dev, LIST_FRAG + order, candidate)
            else:
                stage = Stage.OTHER_ORDERS
        elif order > 0 or victim_order > MAX_ORDER:
            ended = True
            break
        else:
            candidate = list_head(dev, LIST_FRAG + victim_order)
            if candidate == NIL:
                candidate = list_head(dev, LIST_NONFULL + victim_order)
            if candidate == NIL:
                victim_order += 1
        if candidate != NIL:
            start = candidate * CLUSTER_SLOTS
            if stage == Stage.FREE and at != 0:
                start = at
            slot = scan_cluster(dev, candidate, start, order)
            at = np.int64(0)
            if slot != 0:
                break
    if slot == 0:
        set_word(dev, o_next, 0)
        if not ended:
            fail(dev, LOOP_BOUND, order)
        return slot
    keep_next_slot(dev, o_next, slot // CLUSTER_SLOTS, slot + n, n)
    return slot


@device
def keep_next_slot(dev, o_next, c, next_slot, n):
    """Keep the slot from which this CPU goes on in a cluster, unless it is full or has no room for `n` behind it.

    Parameters
    ----------
    o_next : int64
        Word offset of the slot from which this CPU goes on.
    c : int64
        Cluster.
    next_slot : int64
        Slot behind the last one taken.
    n : int64
        Slots of an entry.
    """
    end = min(c * CLUSTER_SLOTS + CLUSTER_SLOTS, np.int64(dev.n_slots))
    if word(dev, dev.o_cluster + c) & CLUSTER_COUNT == CLUSTER_SLOTS or next_slot > end - n:
        next_slot = np.int64(0)
    set_word(dev, o_next, next_slot)


@device
def take_more_slots(dev, o_slots, goal):
    """Take up to `goal` further slots where this CPU's cluster for single ones stands; their number.

    Leaves what as many calls of `alloc_entry` would, which look there first. With folios in the swap cache it takes
    none, since those calls might drop some.
    """
    o_next = this_cpu_at(dev)
    at = word(dev, o_next)
    got = np.int64(0)
    if at == 0 or dev.swap_cache_pages != 0:
        return got
    c = at // CLUSTER_SLOTS
    end = min(c * CLUSTER_SLOTS + CLUSTER_SLOTS, np.int64(dev.n_slots))
    lowest = np.int64(dev.lowest_bit)
    highest = np.int64(dev.highest_bit)
    next_slot = at
    while at < end and got < goal:
        if byte(dev, dev.o_map + at) == 0:
            set_byte(dev, dev.o_map + at, HAS_CACHE)
            set_word(dev, o_slots + got, at)
            got += 1
            next_slot = at + 1
            if at == lowest:
                lowest = next_slot
            if at == highest:
                highest -= 1
        at += 1
    if got > 0:
        dev.lowest_bit = np.uint32(lowest)
        dev.highest_bit = np.uint32(highest)
        cluster_take(dev, c, got, 0)
        count_taken(dev, got)
        keep_next_slot(dev, o_next, c, next_slot, 1)
    return got


@device
def get_swap_pages(dev, goal, order, o_slots):
    """Allocate up to `goal` entries of 2^order slots and store their slots from word `o_slots` on.

    (spec 02 §2.5; the request in progress is subtracted from nr_swap_pages first, which vm_swap_full() sees)

    Returns
    -------
    int64
        The number of entries allocated.
    """
    available = np.int64(dev.nr_swap_pages) >> order
    if available == 0:
        return np.int64(0)
    goal = min(goal, np.int64(SWAP_BATCH), available)
    dev.nr_swap_pages = np.uint32(np.int64(dev.nr_swap_pages) - (goal << order))
    got = np.int64(0)
    if dev.highest_bit != 0:
        while got < goal:
            slot = alloc_entry(dev, order)
            if slot == 0:
                break
            set_word(dev, o_slots + got, slot)
            got += 1
            if order == 0 and got < goal:
                got += take_more_slots(dev, o_slots + got, goal - got)
    dev.nr_swap_pages = np.uint32(np.int64(dev.nr_swap_pages) + ((goal - got) << order))
    return got
