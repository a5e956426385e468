"""Folios: allocation, mapping counts, partial mapping, membership in the swap cache (spec 01 §1.2, 04 §4.8)."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import (
    FAULT_PAGES, FOLIO_ALLOC, MTHP, N_SCALAR, PAGE_EVENTS, THP_DEFERRED_SPLIT_PAGE, Mthp,
)  # fmt: skip
from ...layout.errors import NO_SWAP_CACHE
from ...layout.words import (
    FRAME_CACHED, FRAME_DIRTY, FRAME_ORDER_SHIFT, FRAME_PARTIAL, HAS_CACHE, MAX_ORDER, PTE_PAYLOAD,
)  # fmt: skip
from ..access import byte, count, fail, fill_words, set_byte, set_word, word
from ..orders import aligned_start, pages_of
from ..regions import account_pages
from .buddy import frame_order, frames_give, frames_take_always, order_in


@device
def count_mthp(dev, order, which, n):
    """Add to a per-size counter; order-0 folios are not counted anywhere (spec 09)."""
    if order > 0:
        count(dev, N_SCALAR + len(MTHP) * order + which, n)


@device
def count_mapped(dev, p, n, swapped):
    """Count pages that a fault mapped for a process, of which so many were swapped out."""
    account_pages(dev, p, n, -swapped)
    count(dev, PAGE_EVENTS, n)
    count(dev, FAULT_PAGES, n)


@device
def folio_new(dev, order):
    """Allocate a folio, unmapped and clean; its head frame, or -1 with the error word set."""
    head = frames_take_always(dev, order)
    if head >= 0:
        fill_words(dev, dev.o_frame + head, pages_of(order), order << FRAME_ORDER_SHIFT)
        count(dev, FOLIO_ALLOC + order, 1)
    return head


@device
def folio_mapped(dev, head, order):
    """Number of page mappings of a folio, over all processes."""
    o = np.int64(dev.o_mapcount) + head
    if order == 0:
        return byte(dev, o)
    # Four bytes at a time, as two sums of 16 bits: 512 counts of at most 62 fit.
    sums = np.int64(0)
    for i in range(pages_of(order - 2)):
        four = word(dev, (o >> 2) + i)
        sums += (four & 0x00FF00FF) + (four >> 8 & 0x00FF00FF)
    return (sums & 0xFFFF) + (sums >> 16)


@device
def folio_free(dev, head, order):
    """Give back the frames of a folio that is neither mapped nor in the swap cache."""
    count_mthp(dev, order, Mthp.NR_ANON, -1)
    if order > 0 and word(dev, dev.o_frame + head) & FRAME_PARTIAL:
        count_mthp(dev, order, Mthp.NR_ANON_PARTIALLY_MAPPED, -1)
    frames_give(dev, head, order)


@device(cpu="call")
def note_partially_mapped(dev, head, order):
    """Queue a folio for deferred splitting, once (mm/huge_memory.c deferred_split_folio)."""
    info = word(dev, dev.o_frame + head)
    if info & (FRAME_CACHED | FRAME_PARTIAL):
        return
    set_word(dev, dev.o_frame + head, info | FRAME_PARTIAL)
    if order == MAX_ORDER:
        count(dev, THP_DEFERRED_SPLIT_PAGE, 1)
    count_mthp(dev, order, Mthp.SPLIT_DEFERRED, 1)
    count_mthp(dev, order, Mthp.NR_ANON_PARTIALLY_MAPPED, 1)


@device
def folio_unmap(dev, frame, n):
    """Remove one mapping from each of `n` consecutive frames of one folio (mm/rmap.c folio_remove_rmap_ptes).

    The folio itself is not freed: `folio_release` does that, when the kernel would drop its last reference.
    """
    o = np.int64(dev.o_mapcount) + frame
    gone = np.int64(0)
    for i in range(n):
        mapped = byte(dev, o + i) - 1
        set_byte(dev, o + i, mapped)
        if mapped == 0:
            gone += 1
    order = frame_order(dev, frame)
    if gone > 0 and gone < pages_of(order):
        head = aligned_start(frame, order)
        if folio_mapped(dev, head, order) > 0:
            note_partially_mapped(dev, head, order)


@device
def cache_lookup(dev, slot):
    """Head frame of the swap-cache folio that holds a slot, or -1 (filemap_get_folio on the swap address space)."""
    if dev.swap_cache_pages == 0 or byte(dev, dev.o_map + slot) & HAS_CACHE == 0:
        return np.int64(-1)
    return word(dev, dev.o_cache + slot) - 1


@device
def cache_slot(dev, head):
    """First slot of a folio in the swap cache."""
    return word(dev, dev.o_frame + head) & PTE_PAYLOAD


@device(cpu="call")
def cache_enter(dev, head, slot, n):
    """Put a folio into the swap cache at `n` slots, whose HAS_CACHE bits the caller has set."""
    if np.int64(dev.n_cache) == 0:
        fail(dev, NO_SWAP_CACHE, slot)
        return
    o = dev.o_frame + head
    set_word(dev, o, (word(dev, o) & ~PTE_PAYLOAD) | slot | FRAME_CACHED)
    dev.swap_cache_pages = np.uint32(np.int64(dev.swap_cache_pages) + n)
    fill_words(dev, dev.o_cache + slot, n, head + 1)


@device(cpu="call")
def cache_leave(dev, head):
    """Take a folio out of the swap cache; it is dirty from now on (mm/swap_state.c delete_from_swap_cache)."""
    o = dev.o_frame + head
    info = word(dev, o)
    order = order_in(info)
    slot = info & PTE_PAYLOAD
    n = pages_of(order)
    dev.swap_cache_pages = np.uint32(np.int64(dev.swap_cache_pages) - n)
    fill_words(dev, dev.o_cache + slot, n, 0)
    flags = info & ~PTE_PAYLOAD & ~FRAME_CACHED
    if order == 0:
        # The bit means "partially mapped" for a large folio and must stay there.
        flags = flags & ~FRAME_PARTIAL
    set_word(dev, o, flags | FRAME_DIRTY)
