"""Contiguity census of one window of address space; the twin of ``cuda/census.cuh``."""

import numpy as np

from ...compile.decorators import device, entry
from ..words import NO_ENTRY, NOT_SWAPPED, PM_SLOT_SHIFT
from .pagemap import CACHED_SLOT, NO_SLOT, row_of, slot_place, slot_state, swap_entry

MIN_FAULT_ORDER = 2
MAX_FAULT_ORDER = 8
"""Orders above 0 that a fault can bring in (spec 05 §5.3, filter 3)."""
WINDOW_PAGES = 1 << MAX_FAULT_ORDER
"""A window is aligned in address space, so no block that a fault could bring in reaches beyond it."""
N_ORDER_BINS = 10
N_RUN_BINS = 10
LONGEST_RUN = 1 << (N_RUN_BINS - 1)
"""The last bin of runs has all of at least so many slots."""


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
def census_block(page, order, first_area, areas, area_offset, area_slots, swap_map, pte, page_order):
    """Store the order of the pages of a block that qualifies; how many of them are not shared.

    A fault on an entry that others share is read ahead into the swap cache, one page a folio (spec 05 §5.1).
    """
    singles = np.int64(0)
    for i in range(page, page + (np.int64(1) << order)):
        alone = False
        if areas > 0:
            where = slot_place(swap_entry(np.int64(pte[i])), first_area, areas, area_offset, area_slots)
            alone = np.int64(swap_map[where]) != 1
        page_order[i] = np.uint8(0 if alone else order)
        singles += 0 if alone else 1
    return singles


@device
def census_window(
    window, part, pte, region_offset, region_start, region_window, regions, process_offset, processes, process_area,
    areas, area_offset, area_slots, swap_map, zeromap, orders, page_order, order_pages, run_counts, bad_page,
):  # fmt: skip
    """Find the order of every swapped page of a window and add up pages and runs for its process.

    Pages whose words are consecutive and whose slots are in the same state are a batch. A block around any of them
    that qualifies lies inside the batch (spec 05 §5.3, filters 4, 5 and 7): taken in ascending order, largest first,
    every page is met in its largest block.
    """
    region = row_of(region_window, regions, window)
    process = row_of(process_offset, processes, region)
    first_area = np.int64(process_area[process])
    region_page = np.int64(region_offset[region])
    region_end = np.int64(region_offset[region + 1])
    lead = np.int64(region_start[region]) - region_page  # virtual page number of a page, less its place in `pte`
    window_page = ((lead + region_page >> MAX_FAULT_ORDER) + window - np.int64(region_window[region])) * WINDOW_PAGES
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
            run_counts[process, run_bin(pte, page, region_end, entry_here)] += 1
        state = slot_state(entry_here, first_area, areas, area_offset, area_slots, swap_map, zeromap)
        if state == NO_SLOT:
            bad_page[part] = min(np.int64(bad_page[part]), page)
        n = np.int64(1)
        most = np.int64(0)
        if state < CACHED_SLOT:
            while page + n < end and np.int64(pte[page + n]) == word + (n << PM_SLOT_SHIFT):
                if slot_state(entry_here + n, first_area, areas, area_offset, area_slots, swap_map, zeromap) != state:
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
                singles = census_block(
                    page, order, first_area, areas, area_offset, area_slots, swap_map, pte, page_order
                )
                order_pages[process, order] += singles
                alone += (np.int64(1) << order) - singles
            else:
                page_order[page] = np.uint8(0)
                alone += 1
            page += np.int64(1) << order
        before = entry_here + n - 1
    order_pages[process, 0] += alone


@entry
def census(
    first, end, part, pte, region_offset, region_start, region_window, regions, process_offset, processes, process_area,
    areas, area_offset, area_slots, swap_map, zeromap, orders, page_order, order_pages, run_counts, bad_page,
):  # fmt: skip
    """Run `census_window` on a range of windows."""
    for window in range(first, end):
        census_window(
            window, part, pte, region_offset, region_start, region_window, regions, process_offset, processes,
            process_area, areas, area_offset, area_slots, swap_map, zeromap, orders, page_order, order_pages,
            run_counts, bad_page,
        )  # fmt: skip
