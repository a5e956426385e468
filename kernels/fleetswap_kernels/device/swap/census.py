"""Contiguity census: how large the folios are that faults on all swapped pages could bring in (spec 05 §5.1-5.3).

Nothing changes, and neither sysfs settings nor free memory take part: the census tells what the layout of slots still
allows.
"""

import numpy as np

from ...compile.decorators import device
from ...layout.device import VMA_FLAGS, VMA_PAGES, VMA_START
from ...layout.words import KIND_SHIFT, PTE_PAYLOAD, SWAP, VMA_USED
from ..access import byte, quad, set_quad, word
from ..orders import pages_of
from ..regions import pte_at, vma_at
from .reasons import block_ok

N_ORDER_BINS = 10
"""Pages by order: 0 for those that come back alone, then 2..8; 1 and 9 stay 0."""
N_RUN_BINS = 10
"""Runs by the power of two of their length in slots; the last bin has all from 512 on."""
CENSUS_QUADS = N_ORDER_BINS + N_RUN_BINS


@device
def add_to_quad(dev, o, n):
    """Add to a quad."""
    set_quad(dev, o, quad(dev, o) + n)


@device
def count_slot_run(dev, o_quad, slots):
    """Count a run of consecutive slots; one of 0 slots is none."""
    if slots > 0:
        power = np.int64(0)
        while power < N_RUN_BINS - 1 and slots >> (power + 1) > 0:
            power += 1
        add_to_quad(dev, o_quad + N_ORDER_BINS + power, 1)


@device
def batch_length(dev, o_pte, limit, pte):
    """Length of the batch of at most `limit` PTEs that begins with `pte` (swap_pte_batch)."""
    n = np.int64(1)
    while n < limit and word(dev, o_pte + n) == pte + n:
        n += 1
    return n


@device
def single_slots(dev, slot, n):
    """How many of `n` slots have one PTE and no HAS_CACHE."""
    singles = np.int64(0)
    for i in range(n):
        singles += byte(dev, dev.o_map + slot + i) == 1
    return singles


@device
def census_batch(dev, o_pte, n, pte, vpn, orders, o_quad):
    """Count the pages of a batch of `n` PTEs by the order their faults could bring in (spec 05 §5.3).

    A block around any of these pages that qualifies lies inside the batch: taken in ascending order, largest first,
    every page is met in its largest block.

    Parameters
    ----------
    o_pte, pte, vpn : int64
        Word offset, value and virtual page number of the first PTE.
    n : int64
        PTEs of the batch.
    orders : int64
        Mask of the orders that count.
    o_quad : int64
        Quad offset of the result (`take_census`).
    """
    slot = pte & PTE_PAYLOAD
    most = np.int64(8)
    while most >= 2 and (orders >> most & 1 == 0 or (vpn ^ slot) & ((1 << most) - 1)):
        most -= 1
    if most < 2:
        add_to_quad(dev, o_quad, n)
        return
    alone = np.int64(0)
    at = np.int64(0)
    while at < n:
        order = most
        size = pages_of(order)
        while order >= 2:
            if orders >> order & 1 and (slot + at) & (size - 1) == 0 and at + size <= n:
                if block_ok(dev, o_pte + at, pte + at, size):
                    break
            order -= 1
            size >>= 1
        if order < 2:
            size = np.int64(1)
            alone += 1
        else:
            # An entry that others share is read ahead into the swap cache, one page a folio (spec 05 §5.1).
            singles = single_slots(dev, slot + at, size)
            add_to_quad(dev, o_quad + order, singles)
            alone += size - singles
        at += size
    add_to_quad(dev, o_quad, alone)


@device
def census_region(dev, o_vma, orders, o_quad):
    """Count the swapped pages of a region, and its runs of consecutive slots, whatever the other bits of the PTEs."""
    o_pte = pte_at(dev, o_vma, np.int64(0))
    start = word(dev, o_vma + VMA_START)
    pages = word(dev, o_vma + VMA_PAGES)
    page = np.int64(0)
    run = np.int64(0)
    next_slot = np.int64(0)
    while page < pages:
        pte = word(dev, o_pte + page)
        swapped = pte >> KIND_SHIFT == SWAP
        if not swapped or pte & PTE_PAYLOAD != next_slot:
            count_slot_run(dev, o_quad, run)
            run = np.int64(0)
        n = np.int64(1)
        if swapped:
            n = batch_length(dev, o_pte + page, pages - page, pte)
            census_batch(dev, o_pte + page, n, pte, start + page, orders, o_quad)
            run += n
            next_slot = (pte & PTE_PAYLOAD) + n
        page += n
    count_slot_run(dev, o_quad, run)


@device(cpu="call")
def take_census(dev, orders, o_quad):
    """Count the swapped pages of all processes by the largest order of a mask that a fault could bring in now.

    A page counts for an order if its fault would take the direct path (spec 05 §5.1) and find that block suitable
    (spec 05 §5.3, filters 4, 5 and 7: inside the region, congruent slots, one batch of PTEs, zero-page bits alike,
    nothing in the swap cache); else for order 0.

    Parameters
    ----------
    orders : int64
        Mask of orders; those outside of 2..8 do not count.
    o_quad : int64
        Where the result goes: `N_ORDER_BINS` numbers of pages, then `N_RUN_BINS` numbers of runs.
    """
    for i in range(CENSUS_QUADS):
        set_quad(dev, o_quad + i, 0)
    for p in range(np.int64(dev.n_procs)):
        for v in range(np.int64(dev.n_vmas)):
            o_vma = vma_at(dev, p, v)
            if word(dev, o_vma + VMA_FLAGS) & VMA_USED:
                census_region(dev, o_vma, orders, o_quad)
