"""Taking pages away from a process: MADV_DONTNEED, munmap, exit (spec 04 §4.4-4.8; mm/memory.c zap_pte_range)."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import PAGE_EVENTS
from ...layout.device import PROC_USED, VMA_FLAGS, VMA_PAGES, VMA_PMD, VMA_START
from ...layout.words import (
    FRAME_CACHED, KIND_SHIFT, PMD_NONE, PMD_TABLE, PRESENT, PTE_PAYLOAD, PTE_ZAPPED, SWAP, VMA_USED,
    ZERO,
)  # fmt: skip
from ..access import byte, count, fill_bytes, fill_words, set_byte, set_word, word
from ..memory.buddy import folio_of
from ..memory.folio import folio_unmap
from ..orders import pages_of
from ..regions import PMD_PAGES, account_pages, pmd_at, pmd_end, pmd_split, present_run, proc_at, pte_at, vma_at
from ..swap.release import folio_release, zap_entries


@device
def zap_pages(dev, p, o_vma, page, pages):
    """Clear the PTEs of a range and release what they map.

    Pages in the swap cache keep their PTE, marked PTE_ZAPPED: the kernel releases them later, with the TLB batch
    (`release_zapped`).

    Parameters
    ----------
    p, o_vma : int64
        Process, and word offset of the record of its region.
    page, pages : int64
        First page of the range, counted from the region's first, and how many it has.

    Returns
    -------
    bool
        Whether PTEs are marked.
    """
    end = page + pages
    o_first = pte_at(dev, o_vma, np.int64(0))
    start = word(dev, o_vma + VMA_START)
    marked = False
    while page < end:
        stop = pmd_end(dev, o_vma, page, end)
        o_pmd = pmd_at(dev, o_vma, page)
        if byte(dev, o_pmd) > PMD_TABLE:
            if (start + page) % PMD_PAGES == 0 and stop - page == PMD_PAGES:
                set_byte(dev, o_pmd, PMD_NONE)
            else:
                pmd_split(dev, o_vma, page)
        while page < stop:
            pte = word(dev, o_first + page)
            kind = pte >> KIND_SHIFT
            n = np.int64(1)
            if kind == SWAP:
                while page + n < stop and word(dev, o_first + page + n) == pte + n:
                    n += 1
                zap_entries(dev, pte & PTE_PAYLOAD, n)
                account_pages(dev, p, 0, -n)
                fill_words(dev, o_first + page, n, 0)
                count(dev, PAGE_EVENTS, n)
            elif kind == PRESENT:
                frame = pte & PTE_PAYLOAD
                head, order = folio_of(dev, frame)
                limit = min(stop - page, pages_of(order) - (frame - head))
                n = present_run(dev, o_first + page, limit, pte)
                folio_unmap(dev, frame, n)
                account_pages(dev, p, -n, 0)
                count(dev, PAGE_EVENTS, n)
                if word(dev, dev.o_frame + head) & FRAME_CACHED:
                    marked = True
                    for i in range(n):
                        o = o_first + page + i
                        set_word(dev, o, word(dev, o) | PTE_ZAPPED)
                else:
                    fill_words(dev, o_first + page, n, 0)
                    folio_release(dev, head)
            elif kind == ZERO:
                set_word(dev, o_first + page, 0)
            page += n
    return marked


@device(cpu="call")
def release_zapped(dev, o_vma, page, pages):
    """Release the swap-cache folios whose PTEs `zap_pages` marked, in ascending order (free_pages_and_swap_cache)."""
    o_first = pte_at(dev, o_vma, np.int64(0))
    for at in range(page, page + pages):
        pte = word(dev, o_first + at)
        if pte & PTE_ZAPPED:
            set_word(dev, o_first + at, 0)
            head, _ = folio_of(dev, pte & PTE_PAYLOAD)
            # Gone already if a page before it was the last of its folio.
            if word(dev, dev.o_frame + head) & FRAME_CACHED:
                folio_release(dev, head)


@device(cpu="call", cuda="call")
def unmap_regions(dev, p, first, end):
    """Unmap the regions `first` to `end` - 1 of a process: all pages, what the TLB batch holds, then themselves."""
    for step in range(2):
        for v in range(first, end):
            o_vma = vma_at(dev, p, v)
            if word(dev, o_vma + VMA_FLAGS) & VMA_USED == 0:
                continue
            pages = word(dev, o_vma + VMA_PAGES)
            if step == 0:
                zap_pages(dev, p, o_vma, np.int64(0), pages)
            else:
                release_zapped(dev, o_vma, np.int64(0), pages)
                ranges = pmd_at(dev, o_vma, pages - 1) - pmd_at(dev, o_vma, np.int64(0)) + 1
                fill_bytes(dev, np.int64(dev.o_pmd) + word(dev, o_vma + VMA_PMD), ranges, PMD_NONE)
                set_word(dev, o_vma + VMA_FLAGS, 0)


@device
def exit_process(dev, p):
    """End a process: its regions go in ascending order of address (exit_mmap)."""
    unmap_regions(dev, p, np.int64(0), np.int64(dev.n_vmas))
    set_word(dev, proc_at(dev, p) + PROC_USED, 0)
