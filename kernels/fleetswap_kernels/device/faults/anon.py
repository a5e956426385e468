"""Faults on pages never touched, and copy-on-write (spec 06 §6.1, 05 §5.7; mm/memory.c, mm/huge_memory.c)."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import (
    ANON_PAGES, COPIED_PAGES, FAULT_PAGES, THP_FAULT_ALLOC, THP_FAULT_FALLBACK, Mthp,
)  # fmt: skip
from ...layout.device import VERDICT_CHARGE, VERDICT_FOLIO, VMA_FLAGS
from ...layout.words import (
    CONTENT_ZERO, FAULT_ORDERS, FRAME_CACHED, KIND_SHIFT, MAX_ORDER, PMD_HUGE, PMD_HUGE_ZERO, PMD_NONE, PMD_TABLE,
    PTE_DIRTY, PTE_EXCLUSIVE, PTE_PAYLOAD, PTE_PRESENT, PTE_ZERO, VMA_ANON, VMA_UFFD, ZERO,
)  # fmt: skip
from ..access import byte, count, fill_bytes, fill_words, number_words, or_words, set_byte, set_word, word
from ..memory.buddy import folio_of
from ..memory.folio import count_mapped, count_mthp, folio_mapped, folio_new, folio_unmap
from ..memory.policy import allowed_orders, block_start
from ..orders import pages_of
from ..regions import PMD_PAGES, account_pages, pmd_at, pmd_split, pte_at
from ..swap.release import folio_free_swap, folio_release
from ..swap.slot_cache import request_granted

WRITABLE = PTE_PRESENT | PTE_EXCLUSIVE | PTE_DIRTY


@device
def has_anon_pages(dev, o_vma):
    """Note that a region has an anon_vma from now on: fork will copy its page tables."""
    set_word(dev, o_vma + VMA_FLAGS, word(dev, o_vma + VMA_FLAGS) | VMA_ANON)


@device
def folio_granted(dev, order):
    """Whether a large folio of this order can be allocated and charged; the counters of a refusal (spec 06 §6.1)."""
    if request_granted(dev, VERDICT_FOLIO, order):
        if request_granted(dev, VERDICT_CHARGE, order):
            return True
        count_mthp(dev, order, Mthp.ANON_FAULT_FALLBACK_CHARGE, 1)
    count_mthp(dev, order, Mthp.ANON_FAULT_FALLBACK, 1)
    if order == MAX_ORDER:
        count(dev, THP_FAULT_FALLBACK, 1)
    return False


@device
def anon_order(dev, o_vma, page):
    """Order of the folio a write to an empty PTE gets (alloc_anon_folio)."""
    if word(dev, o_vma + VMA_FLAGS) & VMA_UFFD:
        return np.int64(0)
    orders = allowed_orders(dev, o_vma) & FAULT_ORDERS
    order = np.int64(8)
    while order >= 2:
        if orders >> order & 1:
            first = block_start(dev, o_vma, page, order)
            if first >= 0 and or_words(dev, pte_at(dev, o_vma, first), pages_of(order)) == 0:
                break
        order -= 1
    while order >= 2:
        if orders >> order & 1 and folio_granted(dev, order):
            return order
        order -= 1
    return np.int64(0)


@device
def anon_fault(dev, p, o_vma, page, write):
    """First touch of a page (do_huge_pmd_anonymous_page, do_anonymous_page).

    Parameters
    ----------
    p, o_vma : int64
        Process, and word offset of the record of its region.
    page : int64
        Page of the region, counted from its first.
    write : bool
        Whether the access writes.
    """
    o_pmd = pmd_at(dev, o_vma, page)
    order = np.int64(-1)
    if byte(dev, o_pmd) == PMD_NONE:
        if allowed_orders(dev, o_vma) >> MAX_ORDER & 1 and block_start(dev, o_vma, page, MAX_ORDER) >= 0:
            has_anon_pages(dev, o_vma)
            if not write:
                first = block_start(dev, o_vma, page, MAX_ORDER)
                fill_words(dev, pte_at(dev, o_vma, first), PMD_PAGES, PTE_ZERO)
                set_byte(dev, o_pmd, PMD_HUGE_ZERO)
                return
            if folio_granted(dev, MAX_ORDER):
                order = np.int64(MAX_ORDER)
                count(dev, THP_FAULT_ALLOC, 1)
        set_byte(dev, o_pmd, PMD_HUGE if order == MAX_ORDER else PMD_TABLE)
    if not write:
        set_word(dev, pte_at(dev, o_vma, page), PTE_ZERO)
        return
    has_anon_pages(dev, o_vma)
    if order < 0:
        order = anon_order(dev, o_vma, page)
    head = folio_new(dev, order)
    if head < 0:
        return
    n = pages_of(order)
    first = page
    if order > 0:
        first = block_start(dev, o_vma, page, order)
    fill_words(dev, dev.o_content + head, n, CONTENT_ZERO)
    fill_bytes(dev, dev.o_mapcount + head, n, 1)
    number_words(dev, pte_at(dev, o_vma, first), n, WRITABLE | head)
    count_mapped(dev, p, n, 0)
    count(dev, ANON_PAGES, n)
    count_mthp(dev, order, Mthp.ANON_FAULT_ALLOC, 1)
    count_mthp(dev, order, Mthp.NR_ANON, 1)


@device
def can_reuse(dev, head, order):
    """Whether a write may go to a page that is not exclusive, dropping its swap cache (wp_can_reuse_anon_folio)."""
    if order > 0 or folio_mapped(dev, head, order) > 1:
        return False
    if word(dev, dev.o_frame + head) & FRAME_CACHED:
        return folio_free_swap(dev, head)
    return True


@device(cpu="call")
def write_protect_fault(dev, p, o_vma, page):
    """Write to the shared zero page or to a page that is mapped read-only (do_wp_page, spec 05 §5.7)."""
    has_anon_pages(dev, o_vma)
    o_pte = pte_at(dev, o_vma, page)
    pte = word(dev, o_pte)
    zero = pte >> KIND_SHIFT == ZERO
    if not zero:
        head, order = folio_of(dev, pte & PTE_PAYLOAD)
        if byte(dev, pmd_at(dev, o_vma, page)) == PMD_HUGE and folio_mapped(dev, head, order) == PMD_PAGES:
            first = block_start(dev, o_vma, page, MAX_ORDER)
            number_words(dev, pte_at(dev, o_vma, first), PMD_PAGES, WRITABLE | head)
            return
        if can_reuse(dev, head, order):
            set_word(dev, o_pte, pte | PTE_EXCLUSIVE | PTE_DIRTY)
            return
    pmd_split(dev, o_vma, page)
    copy = folio_new(dev, np.int64(0))
    if copy < 0:
        return
    # Making room may have moved the old page.
    old = word(dev, o_pte) & PTE_PAYLOAD
    content = np.int64(CONTENT_ZERO)
    if not zero:
        content = word(dev, dev.o_content + old)
    set_word(dev, dev.o_content + copy, content)
    set_byte(dev, dev.o_mapcount + copy, 1)
    set_word(dev, o_pte, WRITABLE | copy)
    count(dev, FAULT_PAGES, 1)
    count(dev, ANON_PAGES if zero else COPIED_PAGES, 1)
    if zero:
        account_pages(dev, p, 1, 0)
    else:
        folio_unmap(dev, old, np.int64(1))
        head, _ = folio_of(dev, old)
        folio_release(dev, head)
