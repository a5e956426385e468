"""Every way a swap slot is released (spec 04)."""

import numpy as np

from ...compile.decorators import device
from ...layout.device import CPU_RET, CPU_RET_NR
from ...layout.words import CLUSTER_SLOTS, FRAME_CACHED, FRAME_DIRTY, HAS_CACHE, MAP_COUNT, PTE_PAYLOAD, SWAP_BATCH
from ..access import byte, fill_bytes, number_words, set_byte, set_word, word
from ..cpus import this_cpu_at
from ..memory.buddy import frame_order, order_in
from ..memory.folio import cache_leave, cache_lookup, folio_free, folio_mapped
from ..orders import pages_of
from ..zram.free import zram_notify_free
from .clusters import cluster_give

DROP_ANYWAY, DROP_UNMAPPED_OR_FULL = range(2)


@device
def vm_swap_full(dev):
    """Less than half of all swap is free; a request in progress counts as taken (spec 01 §1.5)."""
    return 2 * np.int64(dev.nr_swap_pages) < np.int64(dev.pages)


@device
def zeromap_clear(dev, slot, n):
    """Clear the zero-page bits of `n` slots."""
    at = slot
    end = slot + n
    while at < end:
        if at & 7 == 0 and at + 8 <= end:
            set_byte(dev, dev.o_zeromap + (at >> 3), 0)
            at += 8
        else:
            o = dev.o_zeromap + (at >> 3)
            set_byte(dev, o, byte(dev, o) & ~(1 << (at & 7)))
            at += 1


@device(cuda="call")
def range_free(dev, slot, n):
    """Free `n` slots of one cluster whose bytes are all HAS_CACHE (swap_entry_range_free, spec 04 §4.2)."""
    fill_bytes(dev, dev.o_map + slot, n, 0)
    cluster_give(dev, slot // CLUSTER_SLOTS, n)
    zeromap_clear(dev, slot, n)
    zram_notify_free(dev, slot, n)
    end = slot + n - 1
    if slot < np.int64(dev.lowest_bit):
        dev.lowest_bit = np.uint32(slot)
    if end > np.int64(dev.highest_bit):
        dev.highest_bit = np.uint32(end)
    dev.nr_swap_pages = np.uint32(np.int64(dev.nr_swap_pages) + n)
    dev.inuse = np.uint32(np.int64(dev.inuse) - n)


@device
def free_listed(dev, o, n):
    """Free the `n` slots that a slot cache lists from a word on, in its order (swapcache_free_entries).

    Slots that follow each other are freed together: one by one they would move their cluster to the same place.
    """
    end = o + n
    while o < end:
        slot = word(dev, o)
        room = min(end - o, CLUSTER_SLOTS - slot % CLUSTER_SLOTS)
        run = np.int64(1)
        while run < room and word(dev, o + run) == slot + run:
            run += 1
        range_free(dev, slot, run)
        o += run


@device(cuda="call")
def free_swap_slots(dev, slot, n):
    """Free `n` slots, or park them in this CPU's return cache; each 65th one flushes the 64 (spec 03 §3.3)."""
    if dev.cache_active == 0 or dev.cache_enabled == 0:
        while n > 0:
            part = min(n, CLUSTER_SLOTS - slot % CLUSTER_SLOTS)
            range_free(dev, slot, part)
            slot += part
            n -= part
        return
    o_cpu = this_cpu_at(dev)
    held = word(dev, o_cpu + CPU_RET_NR)
    while n > 0:
        if held == SWAP_BATCH:
            free_listed(dev, o_cpu + CPU_RET, held)
            held = np.int64(0)
        part = min(n, SWAP_BATCH - held)
        number_words(dev, o_cpu + CPU_RET + held, part, slot)
        held += part
        slot += part
        n -= part
    set_word(dev, o_cpu + CPU_RET_NR, held)


@device
def drop_references(dev, slot, n, counted, dropped):
    """Take references off the bytes of `n` slots; those with nothing left go to `free_swap_slots`.

    The kernel works in chunks of 64 slots: first all bytes of a chunk, then its slots. Run by run is the same, since
    freeing a slot reads no byte of another.

    Parameters
    ----------
    slot, n : int64
        First slot, and how many.
    counted : int64
        Bits of a byte that count.
    dropped : int64
        What is subtracted from them: 1 for the count of a PTE.

    Returns
    -------
    bool
        Whether a slot is left with nothing but HAS_CACHE.
    """
    only_cached = False
    i = np.int64(0)
    while i < n:
        run = np.int64(0)
        left = np.int64(0)
        while i + run < n and left == 0:
            o = dev.o_map + slot + i + run
            left = (byte(dev, o) & counted) - dropped
            if left == 0:
                set_byte(dev, o, HAS_CACHE)
                run += 1
            else:
                set_byte(dev, o, left)
                only_cached |= left == HAS_CACHE
        if run > 0:
            free_swap_slots(dev, slot + i, run)
        i += run
        if left != 0:
            i += 1
    return only_cached


@device
def drop_counts(dev, slot, n):
    """Drop one PTE count from each of `n` slots (swap_free_nr)."""
    return drop_references(dev, slot, n, np.int64(0xFF), np.int64(1))


@device
def drop_pins(dev, slot, n):
    """Drop HAS_CACHE from each of `n` slots, ascending (swapcache_clear, put_swap_folio)."""
    drop_references(dev, slot, n, np.int64(MAP_COUNT), np.int64(0))


@device
def all_only_cached(dev, slot, n):
    """Whether all `n` bytes are exactly HAS_CACHE."""
    for i in range(n):
        if byte(dev, dev.o_map + slot + i) != HAS_CACHE:
            return False
    return True


@device
def put_swap_folio(dev, slot, n):
    """Release the slots of a folio that left the swap cache (spec 04 §4.3)."""
    if n > 1 and all_only_cached(dev, slot, n):
        range_free(dev, slot, n)
    else:
        drop_pins(dev, slot, n)


@device
def any_counts(dev, slot, n):
    """Whether a PTE still refers to one of `n` slots."""
    for i in range(n):
        if byte(dev, dev.o_map + slot + i) & MAP_COUNT:
            return True
    return False


@device
def folio_free_swap(dev, head):
    """Drop a folio from the swap cache if no PTE refers to its slots; whether it was dropped (spec 04 §4.7)."""
    info = word(dev, dev.o_frame + head)
    slot = info & PTE_PAYLOAD
    n = pages_of(order_in(info))
    if any_counts(dev, slot, n):
        return False
    cache_leave(dev, head)
    put_swap_folio(dev, slot, n)
    return True


@device(cpu="call")
def try_drop(dev, slot, mode):
    """Try to drop the swap-cache folio of a slot (__try_to_reclaim_swap, spec 04 §4.6).

    Returns
    -------
    int64
        0 if there is no folio; else its number of pages, negative if it stays.
    """
    head = cache_lookup(dev, slot)
    if head < 0:
        return np.int64(0)
    order = frame_order(dev, head)
    n = pages_of(order)
    first = word(dev, dev.o_frame + head) & PTE_PAYLOAD
    mapped = folio_mapped(dev, head, order)
    if mode == DROP_UNMAPPED_OR_FULL and mapped > 0 and not vm_swap_full(dev):
        return -n
    if not all_only_cached(dev, first, n):
        return -n
    cache_leave(dev, head)
    if mode == DROP_ANYWAY:
        range_free(dev, first, n)
    else:
        put_swap_folio(dev, first, n)
    if mapped == 0:
        folio_free(dev, head, order)
    return n


@device
def zap_entries(dev, slot, n):
    """Release `n` consecutive slots of a run of zapped PTEs (free_swap_and_cache_nr, spec 04 §4.4-4.5)."""
    first = byte(dev, dev.o_map + slot)
    only_cache = False
    batch = n >= 2 and first & MAP_COUNT == 1 and dev.zap_single == 0
    if batch and slot // CLUSTER_SLOTS != (slot + n - 1) // CLUSTER_SLOTS:
        batch = False
    if batch:
        for i in range(1, n):
            if byte(dev, dev.o_map + slot + i) != first:
                batch = False
    if batch:
        fill_bytes(dev, dev.o_map + slot, n, HAS_CACHE)
        if first & HAS_CACHE == 0:
            range_free(dev, slot, n)
        else:
            only_cache = True
    else:
        only_cache = drop_counts(dev, slot, n)
    if only_cache:
        at = slot
        while at < slot + n:
            step = np.int64(0)
            if byte(dev, dev.o_map + at) == HAS_CACHE:
                step = abs(try_drop(dev, at, DROP_UNMAPPED_OR_FULL))
            # Advance to the folio's natural boundary, also when it stays.
            at = (at // step + 1) * step if step > 1 else at + 1


@device
def folio_release(dev, head):
    """After the last unmapping of a folio: drop it from the swap cache if possible, free it if nothing holds it.

    (mm/swap_state.c free_swap_cache, then the last folio_put)
    """
    order = frame_order(dev, head)
    if folio_mapped(dev, head, order) > 0:
        return
    cached = word(dev, dev.o_frame + head) & FRAME_CACHED != 0
    if cached and folio_free_swap(dev, head):
        cached = False
    if not cached:
        folio_free(dev, head, order)


@device
def mark_dirty(dev, head):
    """Set PG_dirty of a folio."""
    o = dev.o_frame + head
    set_word(dev, o, word(dev, o) | FRAME_DIRTY)
