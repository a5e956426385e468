"""Splitting a folio to order 0 (spec 03 §3.7; mm/huge_memory.c split_huge_page_to_list_to_order)."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import THP_DEFERRED_SPLIT_PAGE, THP_SPLIT_PAGE, Mthp
from ...layout.device import VMA_START
from ...layout.words import (
    CONTENT_ZERO, FRAME_CACHED, FRAME_DIRTY, FRAME_PARTIAL, KIND_SHIFT, MAX_ORDER, PRESENT, PTE_DIRTY, PTE_PAYLOAD,
    PTE_ZERO,
)  # fmt: skip
from ..access import byte, count, set_byte, set_word, word
from ..memory.folio import count_mthp, folio_free
from ..orders import pages_of
from ..regions import account_pages, any_maps_huge, pmd_split, pte_at, vma_find
from .release import folio_release


@device
def mapped_pages(dev, head, order):
    """Number of pages of a folio that some process maps."""
    pages = np.int64(0)
    for i in range(pages_of(order)):
        if byte(dev, dev.o_mapcount + head + i):
            pages += 1
    return pages


@device
def remap_pages(dev, vpn, head, n):
    """Remap every PTE of a folio after its split; zero-filled pages get the shared zero page (remap_page).

    Returns
    -------
    bool
        Whether one of the PTEs was dirty, which makes all pages dirty.
    """
    dirty = False
    for p in range(np.int64(dev.n_procs)):
        # A folio was allocated in one region, which is never cut.
        o_vma = vma_find(dev, p, vpn)
        if o_vma < 0:
            continue
        for i in range(n):
            page = vpn + i - word(dev, o_vma + VMA_START)
            o = pte_at(dev, o_vma, page)
            pte = word(dev, o)
            if pte >> KIND_SHIFT != PRESENT or pte & PTE_PAYLOAD != head + i:
                continue
            if pte & PTE_DIRTY:
                dirty = True
            pmd_split(dev, o_vma, page)
            if word(dev, dev.o_content + head + i) == CONTENT_ZERO:
                set_word(dev, o, PTE_ZERO)
                account_pages(dev, p, -1, 0)
                o_mapcount = dev.o_mapcount + head + i
                set_byte(dev, o_mapcount, byte(dev, o_mapcount) - 1)
    return dirty


@device(cpu="call", cuda="call")
def split_folio(dev, vpn, head, order, keep_tails):
    """Split a folio to order 0.

    Parameters
    ----------
    vpn : int64
        Virtual page of the folio's first page in every process that maps it.
    head, order : int64
        First frame of the folio, and its order.
    keep_tails : bool
        Whether reclaim holds the pages and will go on with them, mapped or not; else those nobody holds are freed.
    """
    n = pages_of(order)
    info = word(dev, dev.o_frame + head)
    if info & (FRAME_PARTIAL | FRAME_CACHED) == 0:
        # Unmapping the first of several PTEs makes the folio look partially mapped; a PMD goes in one step.
        if mapped_pages(dev, head, order) > 1 and not any_maps_huge(dev, vpn, head, order):
            count_mthp(dev, order, Mthp.SPLIT_DEFERRED, 1)
            if order == MAX_ORDER:
                count(dev, THP_DEFERRED_SPLIT_PAGE, 1)
    elif info & FRAME_PARTIAL:
        count_mthp(dev, order, Mthp.NR_ANON_PARTIALLY_MAPPED, -1)
    count_mthp(dev, order, Mthp.NR_ANON, -1)
    count_mthp(dev, order, Mthp.SPLIT, 1)
    if order == MAX_ORDER:
        count(dev, THP_SPLIT_PAGE, 1)

    dirty = remap_pages(dev, vpn, head, n)
    flags = info & (FRAME_DIRTY | FRAME_CACHED)
    if dirty:
        flags |= FRAME_DIRTY
    slot = info & PTE_PAYLOAD
    for i in range(n):
        if info & FRAME_CACHED:
            set_word(dev, dev.o_frame + head + i, flags | (slot + i))
            set_word(dev, dev.o_cache + slot + i, head + i + 1)
        else:
            set_word(dev, dev.o_frame + head + i, flags)
    if keep_tails:
        return
    for i in range(1, n):
        folio_release(dev, head + i)
    # The first page is dropped by its caller, which does not look for a swap entry to free.
    if byte(dev, dev.o_mapcount + head) == 0 and info & FRAME_CACHED == 0:
        folio_free(dev, head, 0)
