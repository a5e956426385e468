"""Processes and their regions: where a page's PTE is, what its 2 MiB range maps (spec 01 §1.2)."""

import numpy as np

from ..compile.decorators import device
from ..layout.device import (
    PROC_ANONPAGES, PROC_SWAPENTS, PROC_USED, PROC_WORDS, VMA_FLAGS, VMA_PAGES, VMA_PMD, VMA_PTE, VMA_START, VMA_WORDS,
)  # fmt: skip
from ..layout.words import (
    FRAME_DIRTY, KIND_SHIFT, MAX_ORDER, PMD_HUGE, PMD_TABLE, PRESENT, PTE_DIRTY, PTE_PAYLOAD, VMA_USED,
)  # fmt: skip
from .access import byte, set_byte, set_word, word
from .orders import pages_of

PMD_PAGES = 512
KIND_AND_PAYLOAD = (3 << KIND_SHIFT) | PTE_PAYLOAD


@device
def proc_at(dev, p):
    """Word offset of a process record."""
    return np.int64(dev.o_proc) + p * PROC_WORDS


@device
def vma_at(dev, p, v):
    """Word offset of a region record."""
    return np.int64(dev.o_vma) + (p * np.int64(dev.n_vmas) + v) * VMA_WORDS


@device
def pte_at(dev, o_vma, page):
    """Word offset of the PTE of a region's page."""
    return np.int64(dev.o_pte) + word(dev, o_vma + VMA_PTE) + page


@device
def pmd_at(dev, o_vma, page):
    """Byte offset of the state of the 2 MiB range around a region's page."""
    start = word(dev, o_vma + VMA_START)
    return np.int64(dev.o_pmd) + word(dev, o_vma + VMA_PMD) + (start + page) // PMD_PAGES - start // PMD_PAGES


@device
def pmd_end(dev, o_vma, page, end):
    """First page behind the 2 MiB range around `page`, at most `end`."""
    start = word(dev, o_vma + VMA_START)
    return min(end, ((start + page) // PMD_PAGES + 1) * PMD_PAGES - start)


@device
def aligned_page(dev, o_vma, page, order):
    """First page of the aligned block of an order around a region's page; negative if that is not in the region."""
    return page - (word(dev, o_vma + VMA_START) + page & (pages_of(order) - 1))


@device
def account_pages(dev, p, anon_pages, swap_entries):
    """Change a process's MM_ANONPAGES and MM_SWAPENTS."""
    o = proc_at(dev, p)
    set_word(dev, o + PROC_ANONPAGES, word(dev, o + PROC_ANONPAGES) + anon_pages)
    set_word(dev, o + PROC_SWAPENTS, word(dev, o + PROC_SWAPENTS) + swap_entries)


@device
def vma_find(dev, p, vpn):
    """Word offset of the region of a process that holds a virtual page, or -1."""
    if word(dev, proc_at(dev, p) + PROC_USED) == 0:
        return np.int64(-1)
    for v in range(np.int64(dev.n_vmas)):
        o = vma_at(dev, p, v)
        if word(dev, o + VMA_FLAGS) & VMA_USED:
            start = word(dev, o + VMA_START)
            if start <= vpn < start + word(dev, o + VMA_PAGES):
                return o
    return np.int64(-1)


@device
def maps_huge(dev, p, vpn, head):
    """Whether a process maps a folio, whose first page is at virtual page `vpn`, by a PMD."""
    o = vma_find(dev, p, vpn)
    if o < 0:
        return False
    page = vpn - word(dev, o + VMA_START)
    if byte(dev, pmd_at(dev, o, page)) != PMD_HUGE:
        return False
    return word(dev, pte_at(dev, o, page)) & PTE_PAYLOAD == head


@device
def any_maps_huge(dev, vpn, head, order):
    """Whether any process maps a folio by a PMD."""
    if order == MAX_ORDER:
        for p in range(np.int64(dev.n_procs)):
            if maps_huge(dev, p, vpn, head):
                return True
    return False


@device
def pmd_split(dev, o_vma, page):
    """Replace a PMD mapping by 512 PTEs, which the device keeps at all times anyway.

    A dirty PMD makes the folio dirty (mm/huge_memory.c __split_huge_pmd_locked).
    """
    o = pmd_at(dev, o_vma, page)
    state = byte(dev, o)
    if state > PMD_TABLE:
        set_byte(dev, o, PMD_TABLE)
    if state == PMD_HUGE:
        pte = word(dev, pte_at(dev, o_vma, page))
        if pte & PTE_DIRTY:
            o_head = dev.o_frame + (pte & PTE_PAYLOAD) // PMD_PAGES * PMD_PAGES
            set_word(dev, o_head, word(dev, o_head) | FRAME_DIRTY)


@device
def present_run(dev, o_pte, n, pte):
    """Length of the run of at most `n` PTEs that map consecutive frames, starting with `pte` (folio_pte_batch)."""
    # Mostly the whole folio is mapped, and one comparison without a branch inside finds that.
    same = np.uint32(KIND_AND_PAYLOAD)
    diff = np.uint32(0)
    for i in range(n):
        diff = np.uint32(diff | ((dev.w[np.uint64(o_pte + i)] ^ np.uint32(pte + i)) & same))
    if diff == np.uint32(0):
        return n
    length = np.int64(1)
    while length < n:
        other = word(dev, o_pte + length)
        if other >> KIND_SHIFT != PRESENT or other & PTE_PAYLOAD != (pte & PTE_PAYLOAD) + length:
            break
        length += 1
    return length
