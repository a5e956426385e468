"""Faults that go through the swap cache: hits, readahead (spec 05 §5.5-5.6; mm/swap_state.c)."""

import numpy as np

from ...compile.decorators import device
from ...compile.views import runs_short
from ...layout.counters import PSWPIN, SWAP_RA, SWAP_RA_HIT, SWPIN_ZERO
from ...layout.device import VMA_PAGES, VMA_RA_HITS, VMA_RA_PAGE, VMA_RA_WIN, VMA_START
from ...layout.words import (
    CONTENT_ZERO, FRAME_CACHED, FRAME_READAHEAD, HAS_CACHE, KIND_SHIFT, PTE_DIRTY, PTE_EXCLUSIVE,
    PTE_PAYLOAD, PTE_PRESENT, SWAP,
)  # fmt: skip
from ..access import byte, count, set_byte, set_word, word, words_differ
from ..memory.buddy import frame_order
from ..memory.folio import cache_enter, cache_lookup, count_mapped, folio_mapped, folio_new
from ..memory.workingset import note_refault
from ..orders import pages_of
from ..regions import PMD_PAGES, pmd_end, pte_at
from ..zram.read import read_stored, zeromap_bit
from .outcomes import SwapRead
from .release import drop_counts, folio_free_swap, vm_swap_full

RA_BIAS = 2
"""Readahead state holds page + 2: then 0, no fault yet, is next to no page."""
RA_HITS_MAX = 63
RA_HITS_INITIAL = 4


@device
def note_hit(dev, o_vma, page, head):
    """Readahead bookkeeping of a swap-cache hit on a small folio (swap_cache_get_folio)."""
    o = dev.o_frame + head
    info = word(dev, o)
    if info & FRAME_READAHEAD:
        set_word(dev, o, info & ~FRAME_READAHEAD)
        set_word(dev, o_vma + VMA_RA_HITS, min(word(dev, o_vma + VMA_RA_HITS) + 1, np.int64(RA_HITS_MAX)))
        count(dev, SWAP_RA_HIT, 1)
    set_word(dev, o_vma + VMA_RA_PAGE, page + RA_BIAS)


@device
def readahead_window(dev, o_vma, page):
    """Pages to bring in around a fault: first page and one past the last (swap_vma_ra_win)."""
    most = pages_of(min(np.int64(dev.page_cluster), np.int64(5)))
    if most == 1:
        return page, page
    before = word(dev, o_vma + VMA_RA_PAGE) - RA_BIAS
    hits = word(dev, o_vma + VMA_RA_HITS)
    pages = np.int64(4)
    if hits == 0:
        pages = np.int64(2) if page == before + 1 or page == before - 1 else np.int64(1)
    else:
        while pages < hits + 2:
            pages <<= 1
    pages = max(min(pages, most), word(dev, o_vma + VMA_RA_WIN) // 2)
    set_word(dev, o_vma + VMA_RA_PAGE, page + RA_BIAS)
    set_word(dev, o_vma + VMA_RA_WIN, pages)
    set_word(dev, o_vma + VMA_RA_HITS, 0)
    if pages == 1:
        return page, page
    left = page - (pages - 1) // 2
    if page == before + 1:
        left = page
    elif page == before - 1:
        left = page - pages + 1
    right = left + pages
    start = word(dev, o_vma + VMA_START)
    left = max(left, np.int64(0), (start + page) // PMD_PAGES * PMD_PAGES - start)
    right = pmd_end(dev, o_vma, page, min(right, word(dev, o_vma + VMA_PAGES)))
    return left, right


@device
def read_into_cache(dev, slot):
    """Read one slot into the swap cache (__read_swap_cache_async).

    Returns
    -------
    SwapRead
        One above SMALL_FOLIOS.
    """
    if cache_lookup(dev, slot) >= 0:
        return SwapRead.WAS_CACHED
    o_map = dev.o_map + slot
    if byte(dev, o_map) & HAS_CACHE:
        return SwapRead.SLOTS_HELD
    head = folio_new(dev, np.int64(0))
    if head < 0:
        return SwapRead.FAILED
    set_byte(dev, o_map, byte(dev, o_map) | HAS_CACHE)
    cache_enter(dev, head, slot, 1)
    if dev.error != 0:
        return SwapRead.FAILED
    if runs_short(dev):
        note_refault(dev, slot, np.int64(1))
    if zeromap_bit(dev, slot):
        set_word(dev, dev.o_content + head, CONTENT_ZERO)
        count(dev, SWPIN_ZERO, 1)
    else:
        read_stored(dev, head, slot, np.int64(1))
        count(dev, PSWPIN, 1)
    return SwapRead.READ


@device(cpu="call")
def readahead(dev, o_vma, page, slot):
    """Bring a shared swap entry and its neighbours into the swap cache (swap_vma_readahead).

    Returns
    -------
    int64
        Head frame of the target, or SLOTS_HELD or FAILED of `SwapRead`.
    """
    first, end = readahead_window(dev, o_vma, page)
    at = first
    outcome = SwapRead.WAS_CACHED
    while at <= end:
        # One step past the window: the target itself, which is cached by now unless the window was empty.
        target = at == end
        pte = word(dev, pte_at(dev, o_vma, page if target else at))
        if pte >> KIND_SHIFT == SWAP:
            outcome = read_into_cache(dev, pte & PTE_PAYLOAD)
            if outcome == SwapRead.READ and not target and at != page:
                o = dev.o_frame + cache_lookup(dev, pte & PTE_PAYLOAD)
                set_word(dev, o, word(dev, o) | FRAME_READAHEAD)
                count(dev, SWAP_RA, 1)
        at += 1
    if outcome < 0:
        return np.int64(outcome)
    return cache_lookup(dev, slot)


@device(cpu="call")
def map_cached(dev, p, o_vma, page, pte, head, write):
    """Map a swap-cache folio at a fault (do_swap_page from `check_folio` on).

    Parameters
    ----------
    p, o_vma : int64
        Process, and word offset of the record of its region.
    page : int64
        Page of the region, counted from its first.
    pte : int64
        PTE of the page.
    head : int64
        First frame of the folio.
    write : bool
        Whether the access writes.

    Returns
    -------
    bool
        Whether the PTE is present but read-only after a write fault, so that do_wp_page must follow.
    """
    order = frame_order(dev, head)
    n = pages_of(order)
    slot = pte & PTE_PAYLOAD
    index = slot - (word(dev, dev.o_frame + head) & PTE_PAYLOAD)
    first = page
    pages = np.int64(1)
    if order > 0:
        start = page - index
        whole = start >= 0 and pmd_end(dev, o_vma, max(start, np.int64(0)), start + n) == start + n
        if whole and start + n <= word(dev, o_vma + VMA_PAGES):
            if not words_differ(dev, pte_at(dev, o_vma, start), n, pte - index):
                first = start
                pages = n
                slot -= index
                index = np.int64(0)
    drop_counts(dev, slot, pages)
    unmapped = folio_mapped(dev, head, order) == 0
    if vm_swap_full(dev) or (write and unmapped):
        folio_free_swap(dev, head)
    sole = unmapped and word(dev, dev.o_frame + head) & FRAME_CACHED == 0
    flags = np.int64(PTE_PRESENT)
    if pte & PTE_EXCLUSIVE or sole:
        flags |= PTE_EXCLUSIVE
        if write:
            flags |= PTE_DIRTY
    for i in range(pages):
        frame = head + index + i
        set_word(dev, pte_at(dev, o_vma, first) + i, flags | frame)
        set_byte(dev, dev.o_mapcount + frame, byte(dev, dev.o_mapcount + frame) + 1)
    count_mapped(dev, p, pages, pages)
    return write != 0 and flags & PTE_EXCLUSIVE == 0
