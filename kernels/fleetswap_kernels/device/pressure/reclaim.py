"""Reclaim of the oldest pages of a device, whoever maps them (spec 03 §3.5; mm/vmscan.c evict_folios).

The hand goes around all blocks of PTEs. When it has been around, the oldest generation is empty, and what only the swap
cache holds has its turn. Where the hand stands and what it has found is in the header, not in variables: nothing has to
be kept while a folio is evicted, so that a GPU's thread needs no stack for it.
"""

from enum import IntEnum, unique

import numpy as np

from ...compile.decorators import device
from ...layout.counters import PAGE_EVENTS, SWAPOUT_FOLIOS
from ...layout.device import GEN_PTES, PROC_USED, VMA_FLAGS, VMA_PAGES, VMA_PTE, VMA_START
from ...layout.words import FRAME_CACHED, FRAME_DIRTY, KIND_SHIFT, PRESENT, PTE_DIRTY, PTE_PAYLOAD, PTE_SWAP, VMA_USED
from ..access import byte, count, set_byte, set_word, word
from ..memory.buddy import folio_of, frame_order
from ..memory.folio import cache_enter, cache_leave, cache_slot, folio_free, folio_mapped
from ..memory.generation import age_of, clear_block, oldest_age, promote_block, retire_oldest
from ..memory.workingset import resident_pages
from ..orders import pages_of
from ..regions import account_pages, present_run, proc_at, pte_at, vma_at, vma_find
from ..swap.release import drop_pins, mark_dirty, zeromap_clear
from ..swap.slot_cache import folio_alloc_swap
from ..swap.split import split_folio
from ..swap.swapout import reclaim_folio, write_out

ROUNDS = 4
"""Rounds of the hand without a page after which none can go: by then every generation has been the oldest one."""


@unique
class Victim(IntEnum):
    """What the hand has found."""

    NOTHING = 0
    OWN = 1
    """A folio that one process maps completely."""
    SHARED = 2
    """A page that several processes map since a fork."""
    PARTIAL = 3
    """A folio that has to be split first."""
    UNMAPPED = 4
    """A folio that only the swap cache holds."""


@device(cpu="call")
def unmap_everywhere(dev, vpn, frame, slot):
    """Replace every PTE that maps a page by a swap entry (try_to_unmap); number of PTEs, and whether one was dirty."""
    mappings = np.int64(0)
    dirty = False
    for p in range(np.int64(dev.n_procs)):
        o_vma = vma_find(dev, p, vpn)
        if o_vma < 0:
            continue
        o_pte = pte_at(dev, o_vma, vpn - word(dev, o_vma + VMA_START))
        pte = word(dev, o_pte)
        if pte >> KIND_SHIFT != PRESENT or pte & PTE_PAYLOAD != frame:
            continue
        set_word(dev, o_pte, PTE_SWAP | slot)
        account_pages(dev, p, -1, 1)
        mappings += 1
        if pte & PTE_DIRTY:
            dirty = True
    return mappings, dirty


@device(cpu="call", cuda="call")
def evict_unmapped(dev, model, head):
    """Write a folio of the swap cache that no PTE maps, if it is dirty, and free it (spec 03 §3.5, steps 5 and 6).

    If zram refuses it, it stays as it is, with its slots.
    """
    order = frame_order(dev, head)
    n = pages_of(order)
    slot = cache_slot(dev, head)
    if word(dev, dev.o_frame + head) & FRAME_DIRTY:
        zeromap_clear(dev, slot, n)
        if not write_out(dev, model, head, order, slot):
            return
    cache_leave(dev, head)
    drop_pins(dev, slot, n)
    folio_free(dev, head, order)


@device(cpu="call", cuda="call")
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


@device
def begin_reclaim(dev, goal):
    """Ask for the eviction of so many pages of the oldest generations; the last block is finished."""
    dev.reclaim_goal = np.uint32(goal)
    dev.reclaim_evicted = np.uint32(0)
    dev.reclaim_left = np.uint32(ROUNDS * np.int64(dev.n_gens))


@device
def used_since(dev, pte, n, age):
    """Whether a part of a folio that is larger than a block of PTEs is younger than the oldest generation."""
    for block in range(pte // GEN_PTES, (pte + n - 1) // GEN_PTES + 1):
        if 0 <= age_of(dev, block) < age:
            return True
    return False


@device(cuda="call")
def next_block(dev):
    """Lead the hand to the next block of the oldest generation, or to the swap cache, and let it in.

    Returns
    -------
    bool
        Whether there is one; not if what was asked for is evicted, or nothing more can be.
    """
    blocks = np.int64(dev.n_gens)
    while True:
        block = np.int64(dev.hand)
        if block < blocks:
            # A new generation may begin here, which all that is used from now on joins.
            age = oldest_age(dev)
            if np.int64(dev.reclaim_evicted) >= np.int64(dev.reclaim_goal) or dev.nr_swap_pages == 0:
                return False
            end = min(block + np.int64(dev.reclaim_left), blocks)
            passed = block
            while passed < end and age_of(dev, passed) < age:
                passed += 1
            dev.hand = np.uint32(passed)
            dev.reclaim_left = np.uint32(np.int64(dev.reclaim_left) - (passed - block))
            if passed == blocks:
                retire_oldest(dev)
            elif passed == end:
                return False
            else:
                dev.hand_pages = np.uint32(resident_pages(dev))
                break
        elif dev.swap_cache_pages != 0:
            dev.hand_pages = dev.swap_cache_pages
            break
        else:
            dev.hand = np.uint32(0)
    dev.hand_at = np.uint32(0)
    dev.hand_vma = np.uint32(0)
    dev.hand_stayed = np.uint32(0)
    dev.hand_inside = np.uint32(1)
    return True


@device
def leave_block(dev):
    """Let the hand leave its block for the next one, and count what was evicted there."""
    block = np.int64(dev.hand)
    blocks = np.int64(dev.n_gens)
    dev.hand_inside = np.uint32(0)
    got = np.int64(dev.hand_pages)
    if block == blocks:
        got -= np.int64(dev.swap_cache_pages)
    else:
        got -= resident_pages(dev)
        if dev.hand_stayed:
            promote_block(dev, block)
        else:
            clear_block(dev, block)
    if got > 0:
        dev.reclaim_evicted = np.uint32(np.int64(dev.reclaim_evicted) + got)
        dev.reclaim_left = np.uint32(ROUNDS * blocks)
    if block == blocks:
        dev.hand = np.uint32(0)
        return
    dev.reclaim_left = np.uint32(np.int64(dev.reclaim_left) - 1)
    dev.hand = np.uint32(block + 1)
    if block + 1 == blocks:
        retire_oldest(dev)


@device
def proc_of(dev, block):
    """The process whose PTEs a block holds."""
    return block * GEN_PTES // (np.int64(dev.n_ptes) // np.int64(dev.n_procs))


@device
def note_victim(dev, victim, head, order):
    """What `evict_victim` will do with which folio."""
    dev.victim = np.uint32(victim)
    dev.victim_head = np.uint32(head)
    dev.victim_order = np.uint32(order)


@device
def pass_victim(dev, o_vma):
    """Let the hand go on behind the folio it found last, and note whether pages of it are there still."""
    victim = np.int64(dev.victim)
    dev.victim = np.uint32(Victim.NOTHING)
    if victim != Victim.OWN and victim != Victim.SHARED:
        return
    n = pages_of(np.int64(dev.victim_order))
    at = np.int64(dev.hand_at)
    o_pte = pte_at(dev, o_vma, at - word(dev, o_vma + VMA_PTE))
    # Split for want of slots, some of its pages may be there still.
    for i in range(n):
        if word(dev, o_pte + i) >> KIND_SHIFT == PRESENT:
            dev.hand_stayed = np.uint32(1)
    dev.hand_at = np.uint32(at + n)


@device
def maps_whole(dev, o_pte, n, head):
    """Whether `n` PTEs map a folio from its first page on.

    That there are as many mappings as pages does not say it: another process may map one in place of this.
    """
    first = word(dev, o_pte)
    if first >> KIND_SHIFT != PRESENT or first & PTE_PAYLOAD != head:
        return False
    return present_run(dev, o_pte, n, first) == n


@device
def victim_in_block(dev):
    """Find the next folio of the hand's block of PTEs, from the hand on; whether there is one."""
    age = oldest_age(dev)
    first = np.int64(dev.hand) * GEN_PTES
    p = proc_of(dev, np.int64(dev.hand))
    if word(dev, proc_at(dev, p) + PROC_USED) == 0:
        return False
    for v in range(np.int64(dev.hand_vma), np.int64(dev.n_vmas)):
        o_vma = vma_at(dev, p, v)
        if v != np.int64(dev.hand_vma):
            dev.hand_vma = np.uint32(v)
            dev.hand_at = np.uint32(0)
        if word(dev, o_vma + VMA_FLAGS) & VMA_USED == 0:
            continue
        if dev.victim != Victim.NOTHING:
            pass_victim(dev, o_vma)
        vma_pte = word(dev, o_vma + VMA_PTE)
        page = max(max(np.int64(dev.hand_at), first) - vma_pte, np.int64(0))
        end = min(first + GEN_PTES - vma_pte, word(dev, o_vma + VMA_PAGES))
        o_first = pte_at(dev, o_vma, np.int64(0))
        while page < end:
            pte = word(dev, o_first + page)
            if pte >> KIND_SHIFT != PRESENT:
                page += 1
                continue
            frame = pte & PTE_PAYLOAD
            head, order = folio_of(dev, frame)
            n = pages_of(order)
            at = page - (frame - head)
            if n > GEN_PTES and at >= 0 and used_since(dev, vma_pte + at, n, age):
                dev.hand_stayed = np.uint32(1)
                page = at + n
                continue
            mapped = folio_mapped(dev, head, order)
            victim = Victim.OWN
            if order == 0:
                if mapped != 1:
                    victim = Victim.SHARED
            elif at < 0 or mapped != n or not maps_whole(dev, o_first + at, n, head):
                victim = Victim.PARTIAL
                at = page
            note_victim(dev, victim, head, order)
            dev.hand_at = np.uint32(vma_pte + at)
            return True
    return False


@device
def victim_in_cache(dev):
    """Find the next folio of the swap cache that no PTE maps, from the hand on; whether there is one.

    One that zram refused, or that was read ahead. The kernel has them on its lists like all others, but no block of
    PTEs leads to them here. One that zram refuses again is offered at the next round (mm/page_io.c
    __end_swap_bio_write, mm/vmscan.c evict_folios).
    """
    dev.victim = np.uint32(Victim.NOTHING)
    for slot in range(np.int64(dev.hand_at), np.int64(dev.n_cache)):
        if dev.swap_cache_pages == 0:
            break
        head = word(dev, dev.o_cache + slot) - 1
        if head >= 0 and cache_slot(dev, head) == slot and folio_mapped(dev, head, frame_order(dev, head)) == 0:
            note_victim(dev, Victim.UNMAPPED, head, 0)
            dev.hand_at = np.uint32(slot + 1)
            return True
    return False


@device
def find_victim(dev):
    """Lead the hand to the next folio to evict.

    Returns
    -------
    bool
        Whether there is one; not if what was asked for is evicted, or nothing more can be.
    """
    while dev.hand_inside or next_block(dev):
        if np.int64(dev.hand) == np.int64(dev.n_gens):
            has_victim = victim_in_cache(dev)
        else:
            has_victim = victim_in_block(dev)
        if has_victim:
            return True
        leave_block(dev)
    return False


@device(cpu="call", cuda="call")
def evict_own(dev, model, p, o_vma, page, head, order):
    """Swap out a folio that one process maps completely.

    Parameters
    ----------
    p, o_vma : int64
        Process, and word offset of the record of its region.
    page : int64
        Page of the region that is the folio's first.
    head, order : int64
        First frame of the folio, and its order.
    """
    reclaim_folio(dev, model, p, o_vma, page, head, order)


@device
def evict_victim(dev, model):
    """Evict the folio that the hand has found; it may stay, for want of a slot."""
    victim = np.int64(dev.victim)
    head = np.int64(dev.victim_head)
    order = np.int64(dev.victim_order)
    if victim == Victim.UNMAPPED:
        evict_unmapped(dev, model, head)
        return
    p = proc_of(dev, np.int64(dev.hand))
    o_vma = vma_at(dev, p, np.int64(dev.hand_vma))
    page = np.int64(dev.hand_at) - word(dev, o_vma + VMA_PTE)
    if victim == Victim.OWN:
        evict_own(dev, model, p, o_vma, page, head, order)
    elif victim == Victim.SHARED:
        evict_shared(dev, model, word(dev, o_vma + VMA_START) + page, head)
    else:
        # Partly unmapped, or shared since a fork: split, then page by page (spec 03 §3.5 row 2).
        frame = word(dev, pte_at(dev, o_vma, page)) & PTE_PAYLOAD
        split_folio(dev, word(dev, o_vma + VMA_START) + page - (frame - head), head, order, False)
