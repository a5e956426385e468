"""Direct swap-in: choice of the order, read, mapping (spec 05 §5.2-5.4; mm/memory.c do_swap_page)."""

import numpy as np

from ...compile.decorators import device
from ...compile.views import runs_short
from ...layout.counters import (
    PGMAJFAULT, PSWPIN, SILENT_MIXED_ZEROMAP, STALE_READS, SWPIN_ZERO, WARN_MIXED_ZEROMAP,
    Mthp,
)  # fmt: skip
from ...layout.device import VERDICT_CHARGE, VERDICT_FOLIO, VMA_FLAGS, VMA_START
from ...layout.words import (
    CONTENT_ZERO, FAULT_ORDERS, HAS_CACHE, MAP_COUNT, PTE_DIRTY, PTE_EXCLUSIVE, PTE_PAYLOAD, PTE_PRESENT, VMA_UFFD,
)  # fmt: skip
from ..access import byte, count, fill_bytes, fill_words, number_words, or_words, set_byte, set_word, word, words_differ
from ..memory.folio import cache_lookup, cache_slot, count_mapped, count_mthp, folio_free, folio_new
from ..memory.generation import stamp_pages
from ..memory.large_folio import has_margin
from ..memory.policy import allowed_orders, block_start
from ..memory.workingset import note_refault
from ..orders import aligned_start, pages_of
from ..regions import aligned_page, pte_at
from ..zram.blocks import is_whole_block
from ..zram.read import count_decompression, read_stored, slot_content, stored_content, zeromap_bit, zeromap_mixed
from .outcomes import SwapRead
from .reasons import block_ok, count_smaller_swapin
from .release import drop_pins, drop_references, free_swap_slots
from .slot_cache import request_granted


@device
def swapin_order(dev, o_vma, page, pte):
    """Order of the folio a fault on a swap entry with count 1 brings in (alloc_swap_folio, spec 05 §5.3).

    Returns
    -------
    int64, bool
        The order, and whether as many small folios are to be mapped because no folio as large as a compressed block
        could be had (option `block_fallback`, spec 08 §8.5).
    """
    if dev.zswap_ever or word(dev, o_vma + VMA_FLAGS) & VMA_UFFD:
        return np.int64(0), False
    orders = allowed_orders(dev, o_vma) & FAULT_ORDERS & ~np.int64(dev.swapin_denied)
    slot = pte & PTE_PAYLOAD
    differing = (word(dev, o_vma + VMA_START) + page) ^ slot
    order = np.int64(8)
    while order >= 2:
        if orders >> order & 1 and differing & (pages_of(order) - 1) == 0:
            first = block_start(dev, o_vma, page, order)
            if first >= 0 and block_ok(dev, pte_at(dev, o_vma, first), pte - (page - first), pages_of(order)):
                break
        order -= 1
    # From the winner downwards: allocate and charge; a refusal is not counted anywhere (6.14 counts it).
    block = np.int64(dev.block_order)
    small = dev.block_fallback != 0 and block >= 2 and order >= block and is_whole_block(dev, slot)
    while order >= 2 and not (small and order < block):
        if orders >> order & 1 and (dev.margin_rule == 0 or has_margin(dev, order)):
            if request_granted(dev, VERDICT_FOLIO, order) and request_granted(dev, VERDICT_CHARGE, order):
                return order, False
        order -= 1
    if small and (not runs_short(dev) or np.int64(dev.frames_free) > 2 << block):
        return block, True
    return np.int64(0), False


@device
def swapin_read(dev, head, slot, order):
    """Read a folio from its slots (spec 05 §5.2 step 4); whether it stayed not up to date, which ends in SIGBUS."""
    n = pages_of(order)
    if runs_short(dev):
        note_refault(dev, slot, n)
    zero = zeromap_bit(dev, slot)
    if order > 0 and zeromap_mixed(dev, slot, n):
        if zero:
            count(dev, WARN_MIXED_ZEROMAP, 1)
            return True
        count(dev, SILENT_MIXED_ZEROMAP, 1)
    elif zero:
        fill_words(dev, dev.o_content + head, n, CONTENT_ZERO)
        count(dev, SWPIN_ZERO, n)
        return False
    read_stored(dev, head, slot, n)
    count(dev, PSWPIN, n)
    return False


@device
def swapin_begin(dev, o_vma, page, pte, whole):
    """First half of a direct swap-in: allocate, pin the slots, read.

    Parameters
    ----------
    o_vma : int64
        Word offset of the region's record.
    page : int64
        Page of the region, counted from its first.
    pte : int64
        PTE of the page.
    whole : bool
        Whether the fault runs to its end; only then can it be served with several folios.

    Returns
    -------
    int64, int64, bool
        Head frame, or one of `SwapRead` below 0; order; whether the folio is not up to date.
    """
    order, small = swapin_order(dev, o_vma, page, pte)
    slot = aligned_start(pte & PTE_PAYLOAD, order)
    if dev.pin_swapin and byte(dev, dev.o_map + (pte & PTE_PAYLOAD)) & HAS_CACHE:
        return np.int64(SwapRead.SLOTS_HELD), order, False
    if runs_short(dev):
        count_smaller_swapin(dev, o_vma, page, pte, np.int64(0) if small else order)
    if small:
        if whole:
            return np.int64(SwapRead.SMALL_FOLIOS), order, False
        order = np.int64(0)
        slot = pte & PTE_PAYLOAD
    head = folio_new(dev, order)
    if head < 0:
        return np.int64(SwapRead.FAILED), order, False
    mixed = swapin_read(dev, head, slot, order)
    count(dev, PGMAJFAULT, 1)
    return head, order, mixed


@device(cpu="call", cuda="call")
def swapin_small(dev, p, o_vma, page, order, slot, write):
    """Map a compressed block by small folios, read with one decompression (spec 08 §8.5, "fallback of OPPO's kind").

    Parameters
    ----------
    p, o_vma : int64
        Process, and word offset of the record of its region.
    page : int64
        Page of the region, counted from its first.
    order : int64
        Order of the compressed block.
    slot : int64
        Its first slot.
    write : bool
        Whether the access writes.
    """
    n = pages_of(order)
    first = aligned_page(dev, o_vma, page, order)
    flags = PTE_PRESENT | PTE_EXCLUSIVE
    if write:
        flags |= PTE_DIRTY
    zero = zeromap_bit(dev, slot)
    if runs_short(dev):
        note_refault(dev, slot, n)
        stamp_pages(dev, o_vma, first, n)
    for i in range(n):
        frame = folio_new(dev, np.int64(0))
        if frame < 0:
            return
        set_word(dev, dev.o_content + frame, CONTENT_ZERO if zero else stored_content(dev, slot + i))
        set_byte(dev, dev.o_mapcount + frame, 1)
        set_word(dev, pte_at(dev, o_vma, first + i), flags | frame)
    if not zero:
        count_decompression(dev, slot, n)
    count(dev, SWPIN_ZERO if zero else PSWPIN, n)
    count(dev, PGMAJFAULT, 1)
    count_mapped(dev, p, n, n)
    release_read_slots(dev, slot, n, np.int64(0))


@device
def pin_slots(dev, slot, n):
    """Set HAS_CACHE on `n` slots (swapcache_prepare)."""
    for i in range(n):
        o = dev.o_map + slot + i
        set_byte(dev, o, byte(dev, o) | HAS_CACHE)


@device
def release_read_slots(dev, slot, n, kept_bits):
    """Drop the PTE counts of `n` slots just read, then their pins (swap_free_nr, swapcache_clear, spec 05 §5.2).

    Parameters
    ----------
    kept_bits : int64
        HAS_CACHE if the slots were not pinned while they were read: the bit is then somebody else's. Else 0.
    """
    if n >= 4 and kept_bits == 0:
        if or_words(dev, (dev.o_map + slot) >> 2, n >> 2) & 0x3F3F3F3F == 0x01010101:
            # All counts are 1.
            fill_bytes(dev, dev.o_map + slot, n, HAS_CACHE)
            free_swap_slots(dev, slot, n)
            return
    drop_references(dev, slot, n, MAP_COUNT | kept_bits, np.int64(1))


@device
def swapin_map(dev, p, o_vma, page, head, order, slot, write, kept_bits):
    """Last half of a direct swap-in: map the whole folio exclusively and release its slots (`release_read_slots`).

    Parameters
    ----------
    p, o_vma : int64
        Process, and word offset of the record of its region.
    page : int64
        Page of the region, counted from its first.
    head, order : int64
        First frame of the folio, and its order.
    slot : int64
        Slot of its first page.
    write : bool
        Whether the access writes.
    kept_bits : int64
        What stays of the slots' bytes (`release_read_slots`).
    """
    n = pages_of(order)
    first = aligned_page(dev, o_vma, page, order)
    flags = PTE_PRESENT | PTE_EXCLUSIVE
    if write:
        flags |= PTE_DIRTY
    number_words(dev, pte_at(dev, o_vma, first), n, flags | head)
    fill_bytes(dev, dev.o_mapcount + head, n, 1)
    count_mthp(dev, order, Mthp.NR_ANON, 1)
    count_mapped(dev, p, n, n)
    release_read_slots(dev, slot, n, kept_bits)


@device
def still_mapped_there(dev, o_vma, page, pte, order):
    """Re-check under the page-table lock: the faulting PTE and, for a large folio, its whole batch are unchanged.

    Parameters
    ----------
    o_vma : int64
        Word offset of the region's record.
    page : int64
        Page of the region, counted from its first.
    pte : int64
        PTE of the page as the fault found it.
    order : int64
        Order of the folio that was read.
    """
    first = aligned_page(dev, o_vma, page, order)
    if word(dev, pte_at(dev, o_vma, page)) != pte:
        return False
    return not words_differ(dev, pte_at(dev, o_vma, first), pages_of(order), pte - (page - first))


@device
def count_stale(dev, head, slot, n):
    """Count pages about to be mapped although their slots, or the swap cache over them, hold something else now."""
    # A block with mixed zero-page bits, which only v7 brings in, was read from zram as a whole.
    from_zram = dev.zeromap_check == 0 and n >= 4 and zeromap_mixed(dev, slot, n)
    for i in range(n):
        content = stored_content(dev, slot + i) if from_zram else slot_content(dev, slot + i)
        cached = cache_lookup(dev, slot + i)
        if cached >= 0:
            content = word(dev, dev.o_content + cached + slot + i - cache_slot(dev, cached))
        if word(dev, dev.o_content + head + i) != content:
            count(dev, STALE_READS, 1)


@device(cpu="call")
def swapin_abandon(dev, head, order, slot, pinned):
    """Drop a folio that was read but cannot be mapped.

    Parameters
    ----------
    head, order : int64
        First frame of the folio, and its order.
    slot : int64
        Slot of its first page.
    pinned : bool
        Whether this fault set HAS_CACHE on its slots.
    """
    count_mthp(dev, order, Mthp.NR_ANON, 1)
    folio_free(dev, head, order)
    if pinned:
        drop_pins(dev, slot, pages_of(order))
