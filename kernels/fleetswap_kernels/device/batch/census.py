"""Contiguity census of one window of address space."""

from typing import NamedTuple

import numpy as np

from ...compile.atomics import add, keep_least
from ...compile.decorators import device
from .pagemap import CACHED_SLOT, NO_ENTRY, NO_SLOT, PM_SLOT_SHIFT, Slots, row_of, slot_place, slot_state, swap_entry
from ...layout.batch_work import Array, empty

MIN_FAULT_ORDER = 2
MAX_FAULT_ORDER = 8
"""Orders above 0 that a fault can bring in (spec 05 §5.3, filter 3)."""
WINDOW_PAGES = 1 << MAX_FAULT_ORDER
"""A window is aligned in address space, so no block that a fault could bring in reaches beyond it."""
N_ORDER_BINS = 10
N_RUN_BINS = 10
LONGEST_RUN = 1 << (N_RUN_BINS - 1)
"""The last bin of runs has all of at least so many slots."""
NOT_SWAPPED = 255
"""Order of a page that is not swapped out."""


class CensusWork(NamedTuple):
    """A census: page tables, swap areas and the mask of enabled orders; then what it finds (`batch.census`).

    `region_window` are the windows before each region and of all, `area_offset` the slots before each area and of all;
    `bad_page` the least page in a slot that no area has.
    """

    pte: Array = empty(np.int64)
    region_offset: Array = empty(np.int64)
    region_start: Array = empty(np.int64)
    region_window: Array = empty(np.int64)
    process_offset: Array = empty(np.int64)
    process_area: Array = empty(np.int64)
    area_offset: Array = empty(np.int64)
    area_slots: Array = empty(np.int64)
    swap_map: Array = empty(np.uint8)
    zeromap: Array = empty(np.uint8)
    orders: int = 0
    page_order: Array = empty(np.uint8)
    order_pages: Array = empty(np.int64, 2)
    run_counts: Array = empty(np.int64, 2)
    bad_page: Array = empty(np.int64, 2)


@device
def run_bin(pte, page, end, entry_here):
    """Bin of the run of consecutive slots that begins at a page, whatever the other bits of the words."""
    slots = np.int64(1)
    while slots < LONGEST_RUN and page + slots < end:
        if swap_entry(np.int64(pte[page + slots])) != entry_here + slots:
            break
        slots += 1
    power = np.int64(0)
    while slots >> (power + 1) > 0:
        power += 1
    return power


@device
def census_block(pte, slots, first_area, page, order, page_order):
    """Store the order of the pages of a block that qualifies; how many of them are not shared.

    A fault on an entry that others share is read ahead into the swap cache, one page a folio (spec 05 §5.1).

    Parameters
    ----------
    pte : int64 array of shape (pages,)
        Words of the page tables.
    slots : Slots
        State of the swap slots; without areas no page is taken to be shared.
    first_area : int64
        Swap area that swap type 0 is for the process.
    page : int64
        Place of the block's first page in `pte`.
    order : int64
        Of the block: it has 1 << order pages.
    page_order : uint8 array of shape (pages,)
        Gets the order of each page of the block, 0 for a shared one.
    """
    singles = np.int64(0)
    for i in range(page, page + (np.int64(1) << order)):
        alone = False
        if slots.area_slots.size > 0:
            alone = np.int64(slots.swap_map[slot_place(slots, first_area, swap_entry(np.int64(pte[i])))]) != 1
        page_order[i] = np.uint8(0 if alone else order)
        singles += 0 if alone else 1
    return singles


@device
def census_window(unit, part, work):
    """Find the order of every swapped page of a window, one a unit, and add up pages and runs for its process.

    Pages whose words are consecutive and whose slots are in the same state are a batch. A block around any of them
    that qualifies lies inside the batch (spec 05 §5.3, filters 4, 5 and 7): taken in ascending order, largest first,
    every page is met in its largest block.
    """
    pte = work.pte
    orders = work.orders
    page_order = work.page_order
    slots = Slots(work.area_offset, work.area_slots, work.swap_map, work.zeromap)
    region = row_of(work.region_window, unit)
    process = row_of(work.process_offset, region)
    first_area = np.int64(work.process_area[process])
    region_page = np.int64(work.region_offset[region])
    region_end = np.int64(work.region_offset[region + 1])
    lead = np.int64(work.region_start[region]) - region_page  # virtual page number of a page, less its place in `pte`
    first_window = np.int64(work.region_window[region])
    window_page = ((lead + region_page >> MAX_FAULT_ORDER) + unit - first_window) * WINDOW_PAGES
    page = max(window_page - lead, region_page)
    end = min(window_page - lead + WINDOW_PAGES, region_end)
    before = np.int64(NO_ENTRY)
    if page > region_page:
        before = swap_entry(np.int64(pte[page - 1]))
    alone = np.int64(0)
    while page < end:
        word = np.int64(pte[page])
        entry_here = swap_entry(word)
        if entry_here < 0:
            page_order[page] = np.uint8(NOT_SWAPPED)
            before = entry_here
            page += 1
            continue
        if entry_here != before + 1:
            add(work.run_counts, (process, run_bin(pte, page, region_end, entry_here)), 1)
        state = slot_state(slots, first_area, entry_here)
        if state == NO_SLOT:
            keep_least(work.bad_page, (part, 0), page)
        n = np.int64(1)
        most = np.int64(0)
        if state < CACHED_SLOT:
            while page + n < end and np.int64(pte[page + n]) == word + (n << PM_SLOT_SHIFT):
                if slot_state(slots, first_area, entry_here + n) != state:
                    break
                n += 1
        if n >> MIN_FAULT_ORDER:
            most = np.int64(MAX_FAULT_ORDER)
            while most > 0 and (orders >> most & 1 == 0 or (page + lead ^ entry_here) & ((1 << most) - 1)):
                most -= 1
        batch_end = page + n
        while page < batch_end:
            order = most
            while order > 0:
                if orders >> order & 1 and (page + lead) & ((1 << order) - 1) == 0 and page + (1 << order) <= batch_end:
                    break
                order -= 1
            if order > 0:
                singles = census_block(pte, slots, first_area, page, order, page_order)
                add(work.order_pages, (process, order), singles)
                alone += (np.int64(1) << order) - singles
            else:
                page_order[page] = np.uint8(0)
                alone += 1
            page += np.int64(1) << order
        before = entry_here + n - 1
    add(work.order_pages, (process, 0), alone)
