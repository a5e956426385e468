"""Reclaim of the oldest pages of a device, whoever maps them (spec 03 §3.5; mm/vmscan.c evict_folios)."""

import numpy as np

from .access import byte, count, set_byte, set_word, word
from .bits import FRAME_CACHED, FRAME_DIRTY, KIND_SHIFT, PRESENT, PTE_DIRTY, PTE_PAYLOAD, PTE_SWAP, VMA_USED
from .counters import PAGE_EVENTS, SWAPOUT_FOLIOS
from .folio import cache_enter, cache_leave, cache_slot, folio_free, folio_mapped
from .generation import age_of, forget, keep, oldest_age, oldest_done
from .jit import device, rare
from .layout import GEN_PTES, PROC_USED, VMA_FLAGS, VMA_PAGES, VMA_PTE, VMA_START
from .physical import frame_order
from .region import account, present_run, proc_at, pte_at, vma_at, vma_find
from .release import drop_pins, mark_dirty, zeromap_clear
from .slot_cache import folio_alloc_swap
from .split import split_folio
from .swapout import reclaim_folio, write_out
from .workingset import resident_pages

ROUNDS = 4
"""Rounds of the hand without a page after which none can go: by then every generation has been the oldest one."""


@rare
def unmap_everywhere(dev, vpn, frame, slot):
    """Replace every PTE that maps a page by a swap entry (try_to_unmap); number of PTEs, and 1 if one was dirty."""
    mappings = np.int64(0)
    dirty = np.int64(0)
    for p in range(np.int64(dev.n_procs)):
        o_vma = vma_find(dev, p, vpn)
        if o_vma < 0:
            continue
        o_pte = pte_at(dev, o_vma, vpn - word(dev, o_vma + VMA_START))
        pte = word(dev, o_pte)
        if pte >> KIND_SHIFT != PRESENT or pte & PTE_PAYLOAD != frame:
            continue
        set_word(dev, o_pte, PTE_SWAP | slot)
        account(dev, p, -1, 1)
        mappings += 1
        if pte & PTE_DIRTY:
            dirty = np.int64(1)
    return mappings, dirty


@rare
def evict_unmapped(dev, model, head):
    """Write a folio of the swap cache that no PTE maps, if it is dirty, and free it (spec 03 §3.5, steps 5 and 6).

    If zram refuses it, it stays as it is, with its slots.
    """
    order = frame_order(dev, head)
    n = np.int64(1) << order
    slot = cache_slot(dev, head)
    if word(dev, dev.o_frame + head) & FRAME_DIRTY:
        zeromap_clear(dev, slot, n)
        if not write_out(dev, model, head, order, slot):
            return
    cache_leave(dev, head)
    drop_pins(dev, slot, n)
    folio_free(dev, head, order)


@rare
def evict_shared(dev, model, vpn, frame):
    """Swap out a small folio that several processes map since a fork, if it gets a slot (spec 03 §3.5-3.6)."""
    if word(dev, dev.o_frame + frame) & FRAME_CACHED == 0:
        slot = folio_alloc_swap(dev, np.int64(0))
        if slot == 0:
            return
        cache_enter(dev, frame, slot, 1)
        mark_dirty(dev, frame)
    slot = cache_slot(dev, frame)
    mappings, dirty = unmap_everywhere(dev, vpn, frame, slot)
    set_byte(dev, dev.o_map + slot, byte(dev, dev.o_map + slot) + mappings)
    set_byte(dev, dev.o_mapcount + frame, 0)
    count(dev, PAGE_EVENTS, 1)
    count(dev, SWAPOUT_FOLIOS, 1)
    if dirty:
        mark_dirty(dev, frame)
    evict_unmapped(dev, model, frame)


@rare
def evict_own(dev, model, p, o_vma, page, head, order):
    """Swap out a folio that one process maps completely."""
    reclaim_folio(dev, model, p, o_vma, page, head, order)


@device
def used_since(dev, pte, n, age):
    """Whether a part of a folio that is larger than a block of PTEs is younger than the oldest generation."""
    for block in range(pte // GEN_PTES, (pte + n - 1) // GEN_PTES + 1):
        if 0 <= age_of(dev, block) < age:
            return True
    return False


@device
def evict_block(dev, model, p, o_vma, page, end, age):
    """Evict the folios of a block of pages of a region; 1 if some stayed."""
    o_first = pte_at(dev, o_vma, np.int64(0))
    start = word(dev, o_vma + VMA_START)
    stayed = 0
    # A folio that has to be split is met twice.
    for _ in range(2 * GEN_PTES):
        if page >= end:
            break
        pte = word(dev, o_first + page)
        if pte >> KIND_SHIFT != PRESENT:
            page += 1
            continue
        frame = pte & PTE_PAYLOAD
        order = frame_order(dev, frame)
        n = np.int64(1) << order
        head = frame >> order << order
        first = page - (frame - head)
        mapped = folio_mapped(dev, head, order)
        if n > GEN_PTES and first >= 0 and used_since(dev, word(dev, o_vma + VMA_PTE) + first, n, age):
            stayed = 1
            page = first + n
            continue
        if order > 0 and first >= 0 and mapped == n:
            if present_run(dev, o_first + first, n, (pte & ~PTE_PAYLOAD) | head) == n:
                evict_own(dev, model, p, o_vma, first, head, order)
                # Split for want of slots, some of its pages may be there still.
                for i in range(n):
                    stayed |= word(dev, o_first + first + i) >> KIND_SHIFT == PRESENT
                page = first + n
                continue
        if order > 0:
            # Partly unmapped, or shared since a fork: split, then page by page (spec 03 §3.5 row 2).
            split_folio(dev, start + first, head, order, 0)
            continue
        if mapped == 1:
            evict_own(dev, model, p, o_vma, page, frame, order)
        else:
            evict_shared(dev, model, start + page, frame)
        stayed |= word(dev, o_first + page) >> KIND_SHIFT == PRESENT
        page += 1
    return stayed


@rare
def evict_generation_block(dev, model, block, age):
    """Evict what a block of 16 PTEs maps; the number of pages that are free then."""
    first = block * GEN_PTES
    p = first // (np.int64(dev.n_ptes) // np.int64(dev.n_procs))
    if word(dev, proc_at(dev, p) + PROC_USED) == 0:
        forget(dev, block)
        return np.int64(0)
    before = resident_pages(dev)
    stayed = 0
    for v in range(np.int64(dev.n_vmas)):
        o_vma = vma_at(dev, p, v)
        if word(dev, o_vma + VMA_FLAGS) & VMA_USED == 0:
            continue
        page = max(first - word(dev, o_vma + VMA_PTE), np.int64(0))
        end = min(first + GEN_PTES - word(dev, o_vma + VMA_PTE), word(dev, o_vma + VMA_PAGES))
        if page < end:
            stayed |= evict_block(dev, model, p, o_vma, page, end, age)
    if stayed:
        keep(dev, block)
    else:
        forget(dev, block)
    return before - resident_pages(dev)


@rare
def evict_cached(dev, model):
    """Evict the folios of the swap cache that no PTE maps: those that zram refused, or that were read ahead.

    The kernel has them on its lists like all others, but no block of PTEs leads to them here. One that zram refuses
    again is offered at the next round (mm/page_io.c __end_swap_bio_write, mm/vmscan.c evict_folios).

    Returns
    -------
    int64
        Pages evicted.
    """
    before = np.int64(dev.swap_cache_pages)
    for slot in range(np.int64(dev.n_cache)):
        if np.int64(dev.swap_cache_pages) == 0:
            break
        head = word(dev, dev.o_cache + slot) - 1
        if head >= 0 and cache_slot(dev, head) == slot and folio_mapped(dev, head, frame_order(dev, head)) == 0:
            evict_unmapped(dev, model, head)
    return before - np.int64(dev.swap_cache_pages)


@rare
def reclaim(dev, model, goal):
    """Evict pages of the oldest generations; how many.

    The hand goes around all blocks of PTEs. When it has been around, the oldest generation is empty, and what only the
    swap cache holds has its turn.

    Parameters
    ----------
    goal : int64
        Pages after which it stops; the last block is finished.
    """
    blocks = np.int64(dev.n_gens)
    evicted = np.int64(0)
    age = oldest_age(dev)
    left = ROUNDS * blocks
    while evicted < goal and left > 0 and np.int64(dev.nr_swap_pages) > 0:
        block = np.int64(dev.hand)
        if age_of(dev, block) >= age:
            got = evict_generation_block(dev, model, block, age)
            if got > 0:
                evicted += got
                left = ROUNDS * blocks
        left -= 1
        block += 1
        if block == blocks:
            block = np.int64(0)
            oldest_done(dev)
            age = oldest_age(dev)
            if dev.swap_cache_pages != 0:
                got = evict_cached(dev, model)
                if got > 0:
                    evicted += got
                    left = ROUNDS * blocks
        dev.hand = np.uint32(block)
    return evicted
