"""Why a large folio was not used: the first test that ruled it out, at swap-in and at swap-out (spec 02 §2.1, 05 §5.3).

No kernel counts this. Both questions are asked after a large folio was refused, so the answer may cost something, but
policies under which most folios fall back ask for every one of them: `swapout_reason` remembers what it found.
"""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import NOTIFY_FREE, SWAPIN_REASON, SWAPOUT_REASON
from ...layout.device import VMA_FLAGS, VMA_START
from ...layout.reasons import SwapinReason, SwapoutReason
from ...layout.words import (
    CLUSTER_COUNT, CLUSTER_FLAGS_SHIFT, CLUSTER_SLOTS, FAULT_ORDERS, FLAG_FREE, PTE_PAYLOAD, VMA_UFFD,
)  # fmt: skip
from ..access import any_byte, count, counter_value, or_words, word, words_differ
from ..memory.large_folio import has_margin
from ..memory.policy import allowed_orders, block_start
from ..orders import pages_of
from ..regions import pte_at
from ..zram.read import zeromap_mixed
from .allocator import skip_used
from .clusters import order_served


@device
def block_reason(dev, o_pte, first, n):
    """What rules out that a block of swap entries comes in as one folio (spec 05 §5.3, filters 5 and 7).

    Parameters
    ----------
    o_pte : int64
        Word offset of the block's first PTE.
    first : int64
        Value of that PTE, if it is the first of a batch.
    n : int64
        PTEs of the block, at least 4.

    Returns
    -------
    SwapinReason
        REFUSED_LATER if nothing does.
    """
    if words_differ(dev, o_pte, n, first):
        return SwapinReason.NOT_CONTIGUOUS
    slot = first & PTE_PAYLOAD
    if dev.zeromap_check and zeromap_mixed(dev, slot, n):
        return SwapinReason.ZEROMAP_MIXED
    if or_words(dev, (dev.o_map + slot) >> 2, n >> 2) & 0x40404040:
        return SwapinReason.SWAP_CACHE
    return SwapinReason.REFUSED_LATER


@device
def block_ok(dev, o_pte, first, n):
    """Whether `n` PTEs are one batch from `first` on, with a uniform zeromap and no slot in the swap cache."""
    return block_reason(dev, o_pte, first, n) == SwapinReason.REFUSED_LATER


@device(cpu="call")
def swapin_reason(dev, o_vma, page, pte, wanted_orders, got_order):
    """The first test of `swapin_order` that rules out the largest wanted order (alloc_swap_folio, spec 05 §5.3).

    To be called for a fault that takes the direct path, before it changes any state.

    Parameters
    ----------
    o_vma : int64
        Word offset of the region's record.
    page : int64
        Page of the region, counted from its first.
    pte : int64
        PTE of the page.
    wanted_orders : int64
        Mask of the orders that sysfs and madvise allow in the region. Orders no fault can use (9) do not count.
    got_order : int64
        The order that `swapin_order` gave.

    Returns
    -------
    SwapinReason
        Of those that are counted one up to SWAP_CACHE.
    """
    wanted = wanted_orders & FAULT_ORDERS
    order = np.int64(8)
    while order > got_order and wanted >> order & 1 == 0:
        order -= 1
    if order <= got_order:
        return SwapinReason.NOT_SMALLER
    if dev.zswap_ever or word(dev, o_vma + VMA_FLAGS) & VMA_UFFD:
        return SwapinReason.POLICY
    if (allowed_orders(dev, o_vma) & ~np.int64(dev.swapin_denied)) >> order & 1 == 0:
        return SwapinReason.POLICY
    first = block_start(dev, o_vma, page, order)
    if first < 0:
        return SwapinReason.VMA_BOUNDS
    if ((word(dev, o_vma + VMA_START) + page) ^ pte) & (pages_of(order) - 1):
        return SwapinReason.ORDER_MISMATCH
    return block_reason(dev, pte_at(dev, o_vma, first), pte - (page - first), pages_of(order))


@device(cpu="call", cuda="call")
def count_smaller_swapin(dev, o_vma, page, pte, got_order):
    """Count a fault that brings in less than the largest wanted size, by the reason; not one that has to wait.

    Parameters
    ----------
    o_vma : int64
        Word offset of the region's record.
    page : int64
        Page of the region, counted from its first.
    pte : int64
        PTE of the page.
    got_order : int64
        The order that `swapin_order` gave.
    """
    wanted = allowed_orders(dev, o_vma)
    reason = swapin_reason(dev, o_vma, page, pte, wanted, got_order)
    if reason == SwapinReason.NOT_SMALLER:
        return
    if reason == SwapinReason.REFUSED_LATER:
        order = np.int64(8)
        while wanted >> order & 1 == 0:
            order -= 1
        refused_margin = dev.margin_rule != 0 and not has_margin(dev, order)
        reason = SwapinReason.MARGIN if refused_margin else SwapinReason.ALLOCATION
    count(dev, SWAPIN_REASON + reason, 1)


@device(cpu="call")
def count_shared_swapin(dev, o_vma):
    """Count a fault on an entry that others share: it goes through the swap cache, page by page (spec 05 §5.1)."""
    if allowed_orders(dev, o_vma) & FAULT_ORDERS:
        count(dev, SWAPIN_REASON + SwapinReason.SWAP_CACHE, 1)


@device
def serves_order(info, order):
    """Whether the allocator looks for entries of an order in a cluster with this word (spec 02 §2.1 steps 2, 4, 5)."""
    return info >> CLUSTER_FLAGS_SHIFT == FLAG_FREE or order_served(info) == order


@device
def cluster_hole(dev, c, n):
    """First slot of the first free window of `n` slots in a cluster, aligned and inside the device; 0 if none is.

    (spec 02 §2.2 c; the bytes behind the device's last slot are 0 like those of free slots)
    """
    last = min(c * CLUSTER_SLOTS + CLUSTER_SLOTS, np.int64(dev.n_slots)) - n
    slot = c * CLUSTER_SLOTS
    while slot <= last:
        slot = skip_used(dev, slot, last, n)
        if slot > last:
            break
        if not any_byte(dev, dev.o_map + slot, n):
            return slot
        slot += n
    return np.int64(0)


@device
def find_hole(dev, order, serving, start):
    """A free aligned window of 2^order slots (spec 02 §2.1-2.2).

    Parameters
    ----------
    serving : bool
        Whether to look in free clusters and those of this order, or in those of any other.
    start : int64
        A slot; the search begins in its cluster and comes round to it.

    Returns
    -------
    int64
        The first slot of the window; 0, which is the swap header, if there is none.
    """
    n = pages_of(order)
    c = start // CLUSTER_SLOTS
    for _ in range(np.int64(dev.n_clusters)):
        info = word(dev, dev.o_cluster + c)
        if (info & CLUSTER_COUNT) + n <= CLUSTER_SLOTS and serves_order(info, order) == (serving != 0):
            slot = cluster_hole(dev, c, n)
            if slot != 0:
                return slot
        c += 1
        if c == np.int64(dev.n_clusters):
            c = np.int64(0)
    return np.int64(0)


@device
def hole_is_there(dev, slot, order):
    """Whether `slot` begins a free aligned window of 2^order slots; slot 0 never does."""
    n = pages_of(order)
    return slot & (n - 1) == 0 and slot + n <= np.int64(dev.n_slots) and not any_byte(dev, dev.o_map + slot, n)


@device(cpu="call")
def swapout_reason(dev, order):
    """Why `get_swap_pages`, just now, had no entry of 2^order slots, `order` at least 2 (spec 02 §2.1, 2.5).

    SWAP_FULL: fewer free slots than it takes; those in slot caches are not free. ORDER_MISMATCH: there is an
    aligned hole, but only in clusters of another order. NOT_REACHED: there is one in a free cluster or in one of
    this order. NO_ALIGNED_HOLE: the free slots are scattered.

    The allocator looks at every cluster of the order before it gives up, and at no other. So it leaves a hole there
    only by dropping swap-cache folios on its way: clusters so freed are not looked at again (steps 3-5). If nothing
    was freed, any hole is in a cluster of another order.

    Three words remember what was found. `hole_slot` is where a hole was last, and is looked at again. `hole_frees` is
    the number of slots freed until the last answer, modulo 2^32; while it stays, holes can only vanish, so there is
    still none from `hole_order` on (0: not known of any order). All 0 is right for a new device.

    Returns
    -------
    SwapoutReason
        One below CHARGE.
    """
    if np.int64(dev.nr_swap_pages) >> order == 0:
        return SwapoutReason.SWAP_FULL
    frees = counter_value(dev, NOTIFY_FREE) & 0xFFFFFFFF
    if frees != np.int64(dev.hole_frees):
        dev.hole_frees = np.uint32(frees)
        dev.hole_order = np.uint32(0)
        if np.int64(dev.n_cache) > 0 and find_hole(dev, order, True, np.int64(0)) != 0:
            return SwapoutReason.NOT_REACHED
    elif dev.hole_order != 0 and order >= np.int64(dev.hole_order):
        return SwapoutReason.NO_ALIGNED_HOLE
    slot = np.int64(dev.hole_slot)
    if not hole_is_there(dev, slot, order):
        slot = find_hole(dev, order, False, slot)
        if slot == 0:
            dev.hole_order = np.uint32(order)
            return SwapoutReason.NO_ALIGNED_HOLE
        dev.hole_slot = np.uint32(slot)
    return SwapoutReason.ORDER_MISMATCH


@device(cpu="call", cuda="call")
def count_refused_swapout(dev, order):
    """Count a large folio that just got no slots, by the reason."""
    count(dev, SWAPOUT_REASON + swapout_reason(dev, order), 1)
