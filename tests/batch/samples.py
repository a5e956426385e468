"""Arrays of every batch kernel, the same each time, and what a backend finds in them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.contract import Backend
from fleetswap_kernels.batch.accounting import accounting
from fleetswap_kernels.batch.census import census
from fleetswap_kernels.batch.page_tables import PageTables
from fleetswap_kernels.batch.swap_areas import SwapAreas
from fleetswap_kernels.batch.uniformity import uniformity
from fleetswap_kernels.batch.values import histogram, reduce
from fleetswap_kernels.batch.words import words_of_slots

PAGES, SLOTS = 1500, 2000


def page_tables() -> PageTables:
    """Three processes of two regions, whose pages are out in blocks of 16, with holes."""
    random = np.random.default_rng(1)
    blocks = 16 * random.permutation(SLOTS // 16)[: -(-PAGES // 16)]
    slots = (blocks[:, None] + np.arange(16)).ravel()[:PAGES]
    slots[random.random(PAGES) < 0.02] = -1
    offsets = np.array([0, 300, 301, 700, 700, 1100, PAGES])
    starts, processes = np.array([5, 9, 0, 7, 256, 1]), np.arange(0, 7, 2)
    return PageTables(words_of_slots(slots), offsets, starts, processes, np.zeros(3, np.int64))


def swap_areas() -> SwapAreas:
    """One area: a few slots shared or in the swap cache, a run of zeros."""
    random = np.random.default_rng(2)
    swap_map = np.ones(SLOTS, np.uint8)
    swap_map[random.integers(0, SLOTS, 30)] = 2
    swap_map[random.integers(0, SLOTS, 10)] |= 0x40
    zeromap = np.zeros(SLOTS // 8, np.uint8)
    zeromap[50:90] = 0xFF
    return SwapAreas.of([swap_map], [zeromap])


def found_by(backend: Backend) -> list[npt.NDArray[np.int64]]:
    """What all kernels find: census with swap areas and without, blocks, objects, values."""
    random = np.random.default_rng(3)
    tables, areas = page_tables(), swap_areas()
    counted = [census(backend, tables, some) for some in (areas, SwapAreas.unknown())]
    objects = random.integers(0, 5000, 200), random.integers(0, 3, 200), random.integers(-1, 3, 200)
    values, groups = random.integers(-(1 << 63), 1 << 62, (150, 3)) >> random.integers(0, 63, 3), objects[2][:150]
    reduced = reduce(backend, values, groups, 3)
    sums = (reduced.count, reduced.total % (1 << 62), reduced.least, reduced.greatest)
    return [
        *(array.astype(np.int64) for one in counted for array in (one.page_order, one.order_pages, one.run_counts)),
        uniformity(backend, areas),
        accounting(backend, *objects, 3),
        *(array.astype(np.int64) for array in sums),
        histogram(backend, values, groups, 3),
    ]
