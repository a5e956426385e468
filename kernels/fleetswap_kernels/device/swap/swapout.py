"""Swap-out: MADV_PAGEOUT and the reclaim of a folio (spec 03; mm/madvise.c, mm/vmscan.c, mm/page_io.c)."""

import numpy as np

from ...compile.decorators import device
from ...compile.views import runs_short
from ...layout.counters import (
    NR_VMSCAN_WRITE, PAGE_EVENTS, PGACTIVATE, PSWPOUT, SWAPOUT_FOLIOS, SWPOUT_ZERO, THP_SWPOUT, THP_SWPOUT_FALLBACK,
    Mthp,
)  # fmt: skip
from ...layout.device import VMA_START
from ...layout.words import (
    CONTENT_ZERO, FRAME_CACHED, FRAME_DIRTY, HAS_CACHE, KIND_SHIFT, MAX_ORDER, PRESENT, PTE_DIRTY,
    PTE_EXCLUSIVE, PTE_PAYLOAD, PTE_SWAP,
)  # fmt: skip
from ..access import byte, count, fill_bytes, set_byte, word
from ..memory.buddy import folio_of, frame_order
from ..memory.folio import cache_enter, cache_leave, count_mthp, folio_free, folio_mapped
from ..memory.workingset import note_eviction
from ..orders import pages_of
from ..regions import account_pages, any_maps_huge, pmd_end, pmd_split, present_run, pte_at
from ..zram.write import zram_write
from .allocator import reclaim_worker
from .reasons import count_refused_swapout
from .release import drop_pins, mark_dirty, zeromap_clear
from .slot_cache import folio_alloc_swap
from .split import split_folio


@device
def all_zero(dev, head, n):
    """Whether every page of a folio is filled with zeros (is_folio_zero_filled)."""
    o = np.int64(dev.o_content) + head
    for i in range(n):
        if word(dev, o + i) != CONTENT_ZERO:
            return False
    return True


@device
def zeromap_set(dev, slot, n):
    """Set the zero-page bits of `n` slots."""
    for at in range(slot, slot + n):
        o = dev.o_zeromap + (at >> 3)
        set_byte(dev, o, byte(dev, o) | (1 << (at & 7)))


@device
def write_out(dev, model, head, order, slot):
    """Write a folio to its slots (swap_writepage, spec 03 §3.8); whether zram took all its pages.

    Parameters
    ----------
    head, order : int64
        First frame of the folio, and its order.
    slot : int64
        Slot of its first page.
    """
    n = pages_of(order)
    count(dev, NR_VMSCAN_WRITE, n)
    if runs_short(dev):
        note_eviction(dev, slot, n)
    if dev.zeromap_off == 0 and all_zero(dev, head, n):
        zeromap_set(dev, slot, n)
        count(dev, SWPOUT_ZERO, n)
        return True
    if order == MAX_ORDER:
        count(dev, THP_SWPOUT, 1)
    count_mthp(dev, order, Mthp.SWPOUT, 1)
    count(dev, PSWPOUT, n)
    return zram_write(dev, model, slot, np.int64(dev.o_content) + head, n)


@device
def unmap_to_swap(dev, p, o_pte, slot, n):
    """Replace `n` PTEs of a folio by swap entries; whether one of them was dirty (try_to_unmap_one, spec 03 §3.6).

    Parameters
    ----------
    p : int64
        Process.
    o_pte : int64
        Word offset of the first PTE.
    slot : int64
        Slot of the first page.
    n : int64
        PTEs.
    """
    seen = np.uint32(0)
    for i in range(n):
        o = np.uint64(o_pte + i)
        pte = dev.w[o]
        seen = np.uint32(seen | pte)
        dev.w[o] = np.uint32(PTE_SWAP) | (pte & np.uint32(PTE_EXCLUSIVE)) | np.uint32(slot + i)
    account_pages(dev, p, -n, n)
    return np.int64(seen) & PTE_DIRTY != 0


@device(cuda="call")
def swap_out(dev, model, p, o_pte, head, order):
    """Give a folio slots, unmap it, write it and free it (spec 03 §3.5, steps 3-6).

    Parameters
    ----------
    p : int64
        Process.
    o_pte : int64
        Word offset of the folio's first PTE; all its PTEs are there. -1 for a page that a split left unmapped.
    head, order : int64
        First frame of the folio, and its order.

    Returns
    -------
    bool
        Whether slots could be had; if not, nothing has changed.
    """
    n = pages_of(order)
    info = word(dev, dev.o_frame + head)
    cached = info & FRAME_CACHED
    slot = info & PTE_PAYLOAD
    if not cached:
        slot = folio_alloc_swap(dev, order)
        if slot == 0:
            return False
    if o_pte < 0:
        # Zero-filled, so the split mapped the shared zero page instead: writing it finds no user and drops the slot.
        count(dev, NR_VMSCAN_WRITE, 1)
        drop_pins(dev, slot, n)
        folio_free(dev, head, order)
        return True
    dirty = unmap_to_swap(dev, p, o_pte, slot, n)
    fill_bytes(dev, dev.o_mapcount + head, n, 0)
    count(dev, PAGE_EVENTS, n)
    count(dev, SWAPOUT_FOLIOS, 1)
    written = True
    if cached:
        for i in range(n):
            o = dev.o_map + slot + i
            set_byte(dev, o, byte(dev, o) + 1)
        if dirty or info & FRAME_DIRTY:
            # Bits of a slot that was free are clear already.
            zeromap_clear(dev, slot, n)
            written = write_out(dev, model, head, order, slot)
            if not written:
                mark_dirty(dev, head)
        if written:
            cache_leave(dev, head)
            drop_pins(dev, slot, n)
            folio_free(dev, head, order)
        return True
    if write_out(dev, model, head, order, slot):
        fill_bytes(dev, dev.o_map + slot, n, 1)
        folio_free(dev, head, order)
    else:
        fill_bytes(dev, dev.o_map + slot, n, HAS_CACHE | 1)
        cache_enter(dev, head, slot, n)
        mark_dirty(dev, head)
    return True


@device
def reclaim_folio(dev, model, p, o_vma, page, head, order):
    """Swap out a folio that a process maps completely from `page` on; without slots it is split first.

    Parameters
    ----------
    p, o_vma : int64
        Process, and word offset of the record of its region.
    page : int64
        Page of the region that is the folio's first.
    head, order : int64
        First frame of the folio, and its order.
    """
    n = pages_of(order)
    o_pte = pte_at(dev, o_vma, page)
    piece = order
    done = np.int64(0)
    while done < n:
        o = o_pte + done
        if word(dev, o) & ~(PTE_EXCLUSIVE | PTE_DIRTY) != (PRESENT << KIND_SHIFT) | (head + done):
            o = np.int64(-1)
        if swap_out(dev, model, p, o, head + done, piece):
            if piece == MAX_ORDER:
                pmd_split(dev, o_vma, page)
            done += pages_of(piece)
        elif piece > 0:
            if runs_short(dev):
                count_refused_swapout(dev, order)
            split_folio(dev, word(dev, o_vma + VMA_START) + page, head, order, True)
            if order == MAX_ORDER:
                count(dev, THP_SWPOUT_FALLBACK, 1)
            count_mthp(dev, order, Mthp.SWPOUT_FALLBACK, 1)
            piece = 0
        else:
            count(dev, PGACTIVATE, 1)
            if o < 0:
                folio_free(dev, head + done, 0)
            done += 1
        # Before the next folio reclaim lets others run (cond_resched), first of all the worker it has just woken.
        if dev.reclaim_pending:
            reclaim_worker(dev)


@device
def likely_shared(dev, vpn, head, order):
    """The kernel's guess whether several processes map a folio (folio_likely_mapped_shared, include/linux/mm.h)."""
    n = pages_of(order)
    mapped = folio_mapped(dev, head, order)
    if any_maps_huge(dev, vpn, head, order):
        return mapped > n
    return mapped > n or (mapped > 1 and byte(dev, dev.o_mapcount + head) > 1)


@device(cpu="call")
def split_partial(dev, o_vma, page, end):
    """Split the large folios of a range that are not mapped completely in it; those likely shared stay."""
    start = word(dev, o_vma + VMA_START)
    o_first = pte_at(dev, o_vma, np.int64(0))
    while page < end:
        pte = word(dev, o_first + page)
        run = np.int64(1)
        if pte >> KIND_SHIFT == PRESENT:
            frame = pte & PTE_PAYLOAD
            head, order = folio_of(dev, frame)
            if order > 0:
                n = pages_of(order)
                run = present_run(dev, o_first + page, min(end - page, n - (frame - head)), pte)
                vpn = start + page - (frame - head)
                if run < n and not likely_shared(dev, vpn, head, order):
                    split_folio(dev, vpn, head, order, False)
        page += run


@device
def reclaim_range(dev, model, p, o_vma, page, end):
    """Reclaim the folios of a range that only this process maps, each page once, in ascending order.

    Parameters
    ----------
    p, o_vma : int64
        Process, and word offset of the record of its region.
    page, end : int64
        First page of the range, counted from the region's first, and the one behind its last.
    """
    o_first = pte_at(dev, o_vma, np.int64(0))
    while page < end:
        pte = word(dev, o_first + page)
        run = np.int64(1)
        if pte >> KIND_SHIFT == PRESENT:
            frame = pte & PTE_PAYLOAD
            head, order = folio_of(dev, frame)
            n = pages_of(order)
            if order > 0:
                run = present_run(dev, o_first + page, min(end - page, n - (frame - head)), pte)
            if run < n:
                split_partial(dev, o_vma, page, page + run)
                if frame_order(dev, frame) != order or word(dev, o_first + page) != pte:
                    run = np.int64(0)
            elif folio_mapped(dev, head, order) == n:
                reclaim_folio(dev, model, p, o_vma, page, head, order)
        page += run


@device
def madvise_pageout(dev, model, p, o_vma, page, pages):
    """MADV_PAGEOUT of a range of a region (madvise_cold_or_pageout_pte_range, spec 03 §3.4).

    The kernel walks every 2 MiB range to its end, splitting folios, before it reclaims what it found. That order can
    only be seen when a folio in the swap cache is split, which may free slots.

    Parameters
    ----------
    p, o_vma : int64
        Process, and word offset of the record of its region.
    page, pages : int64
        First page of the range, counted from the region's first, and how many it has.
    """
    end = page + pages
    while page < end:
        stop = pmd_end(dev, o_vma, page, end)
        if dev.swap_cache_pages != 0:
            split_partial(dev, o_vma, page, stop)
        reclaim_range(dev, model, p, o_vma, page, stop)
        page = stop
