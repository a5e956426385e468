"""Contiguity census of many processes: how large the folios are that faults on swapped pages could bring in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..layout.words import CLUSTER_SLOTS, FAULT_ORDERS
from .cpu.census import N_ORDER_BINS, N_RUN_BINS
from .launch import Launch
from .page_tables import Ints, PageTables
from .swap_areas import SwapAreas
from .words import PM_SLOT_SHIFT, SLOT_MASK, TYPE_MASK

_NO_PAGE = (1 << 63) - 1


@dataclass(frozen=True)
class Census:
    """What a census found.

    Parameters
    ----------
    page_order : uint8 array of shape (pages,)
        Largest order that a fault on the page could bring in; 0 if it comes back alone, `words.NOT_SWAPPED` if the
        page is not swapped out.
    order_pages : int64 array of shape (processes, 10)
        Swapped pages of each process by that order; columns 1 and 9 are 0.
    run_counts : int64 array of shape (processes, 10)
        Runs of consecutive slots in consecutive pages of a region, by the power of two of their length; the last
        column has all of 512 slots and more. Shared entries and those in the swap cache are in runs too.
    """

    page_order: npt.NDArray[np.uint8]
    order_pages: Ints
    run_counts: Ints


def census(launch: Launch, tables: PageTables, areas: SwapAreas, orders: int = FAULT_ORDERS) -> Census:
    """Find, for every swapped page, the largest order that its fault could bring in if memory were no question.

    A page counts for an order if its fault would take the direct path (spec 05 §5.1: an entry nobody shares) and find
    that block suitable (spec 05 §5.3, filters 4, 5 and 7): inside the region, address and slot congruent, words
    consecutive, zero-page bits alike, nothing in the swap cache. `device.swap.census` counts the same on a simulated
    device.

    Parameters
    ----------
    launch : Launch
        Where it runs: `CpuLaunch` or `launch_cupy.CupyLaunch`. The result is the same, bit by bit.
    tables : PageTables
    areas : SwapAreas
        The slots that the tables refer to; `SwapAreas.unknown()` if nothing is known about them.
    orders : int
        Enabled orders as a mask; those outside of 2..8 do not count.

    Raises
    ------
    ValueError
        If a page is in a slot that none of the areas has.
    """
    parts = launch.parts(1)
    window = tables.region_window
    page_order = launch.full((tables.pages,), 0, np.uint8)
    order_pages = launch.full((tables.processes, N_ORDER_BINS), 0)
    run_counts = launch.full((tables.processes, N_RUN_BINS), 0)
    bad_page = launch.full((parts,), _NO_PAGE)
    arguments = (
        launch.put(tables.pte.view(np.int64), np.int64),
        *(launch.put(array, np.int64) for array in (tables.region_offset, tables.region_start, window)),
        tables.regions,
        launch.put(tables.process_offset, np.int64),
        tables.processes,
        launch.put(tables.process_area, np.int64),
        areas.areas,
        launch.put(areas.area_cluster * CLUSTER_SLOTS, np.int64),
        launch.put(areas.slots, np.int64),
        launch.put(areas.swap_map, np.uint8),
        launch.put(areas.zeromap, np.uint8),
        orders & FAULT_ORDERS,
        page_order,
        order_pages,
        run_counts,
        bad_page,
    )
    launch.run("census", int(window[-1]), arguments, parts, cuts=window[tables.process_offset])
    page = int(launch.get(bad_page).min())
    if page != _NO_PAGE:
        word = int(tables.pte[page])
        raise ValueError(
            f"pte[{tables.first_page + page}] is {word:#x}: "
            f"slot {word >> PM_SLOT_SHIFT & SLOT_MASK} of swap type {word & TYPE_MASK}; "
            f"allowed are slots below {', '.join(map(str, areas.slots[:4].tolist()))} of swap areas 0 to "
            f"{areas.areas - 1}"
        )
    return Census(launch.get(page_order), launch.get(order_pages), launch.get(run_counts))
