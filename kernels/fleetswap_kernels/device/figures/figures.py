"""Figures of a device: what its counters and their price say of a step or of a whole run, all integers."""

from enum import IntEnum, auto, unique

import numpy as np

from ...compile.decorators import device
from ...layout.counters import (
    BROKEN_BY_FOLIOS, COLD_STARTS, COMPR_DATA_SIZE, FOLIO_ALLOC, FOLIO_REFUSED, FOLIO_WANTED, GAUGE_BLOCKS,
    GAUGE_FREE_FRAMES, KILLS_LOW_SWAP, KILLS_NO_MEMORY, KILLS_THRASHING, MTHP, N_SCALAR, PAGES_STORED,
    PGMAJFAULT, PGSTEAL_DIRECT, POOL_PAGES, PSWPIN, PSWPOUT, SWPIN_ZERO, SWPOUT_ZERO, WORKINGSET_REFAULT_ANON, Mthp,
)  # fmt: skip
from ...layout.pages import PAGE_BYTES
from ...layout.words import N_ORDERS
from .price import DECOMPRESSED_BYTES, PAID_WORDS, STALL_END, SWAPOUT_END, Cause


@unique
class Figure(IntEnum):
    """Figures of a device, by their index among its parts."""

    MAJOR_FAULTS = PAID_WORDS
    PAGES_READ = auto()
    PAGES_WRITTEN = auto()
    REFAULTS = auto()
    SWAPOUT_FALLBACKS = auto()
    SWAPOUTS_OFFERED = auto()
    LARGE_PAGES_IN = auto()
    PAGES_IN = auto()
    FOLIOS_GRANTED = auto()
    FOLIOS_WANTED = auto()
    PAGES_STORED = auto()
    POOL_PAGES = auto()
    SAVED_BYTES = auto()
    BROKEN_BLOCKS = auto()
    SMALL_FREE_PAGES = auto()
    FREE_PAGES = auto()
    STALL_NS = auto()
    CPU_NS = auto()
    DECOMPRESSED_BYTES = auto()
    KILLS = auto()
    COLD_STARTS = auto()
    SWAPOUTS = auto()
    POOL_BYTES = auto()
    COMPRESSED_BYTES = auto()


FIGURES = tuple(figure.name.lower() for figure in Figure)
PARTS = PAID_WORDS + len(FIGURES)
"""Parts of a device: its price by cause (`price`), then its figures."""


@unique
class FoldMode(IntEnum):
    """What is folded."""

    FIRST = 0
    """The first step."""
    STEP = 1
    """A later one."""
    RESUME = 2
    """Nothing yet: the next step begins now."""
    WHOLE = 3
    """The whole run."""


COLUMN_WORDS = 2
COLUMN_FACTOR, COLUMN_STATE = range(COLUMN_WORDS)
"""Of every counter: how many of a real device one of the miniature stands for; whether it is a state."""
METRIC_WORDS = 4
METRIC_PART, METRIC_BASE, METRIC_PER, METRIC_STATE = range(METRIC_WORDS)
"""Of every metric: its part, its denominator (-1 if it is no share), what a share is multiplied by, whether it is a
state."""
SMALL_ORDERS = 4
"""Free blocks below 64 KiB."""


@device
def sum_of_sizes(rows, o, counter):
    """Sum of a per-size counter of large folios."""
    total = np.int64(0)
    for order in range(2, N_ORDERS):
        total += rows[o + N_SCALAR + len(MTHP) * order + counter]
    return total


@device
def fill_figures(rows, o, parts, q):
    """Fill the figures of a device whose price is filled."""
    large = np.int64(0)
    wanted = np.int64(0)
    refused = np.int64(0)
    for order in range(2, N_ORDERS):
        # All large folios but those of anonymous faults came with pages of swap.
        large += rows[o + FOLIO_ALLOC + order] - rows[o + N_SCALAR + len(MTHP) * order + Mthp.ANON_FAULT_ALLOC] << order
        wanted += rows[o + FOLIO_WANTED + order]
        refused += rows[o + FOLIO_REFUSED + order]
    small = np.int64(0)
    for order in range(SMALL_ORDERS):
        small += rows[o + GAUGE_BLOCKS + order] << order
    stall = np.int64(0)
    for cause in range(STALL_END):
        stall += parts[q + cause]
    swapout = np.int64(0)
    for cause in range(STALL_END, SWAPOUT_END):
        swapout += parts[q + cause]
    swapouts = sum_of_sizes(rows, o, Mthp.SWPOUT)
    fallbacks = sum_of_sizes(rows, o, Mthp.SWPOUT_FALLBACK)
    out = max(rows[o + PSWPOUT] + rows[o + SWPOUT_ZERO], np.int64(1))
    parts[q + Figure.MAJOR_FAULTS] = rows[o + PGMAJFAULT]
    parts[q + Figure.PAGES_READ] = rows[o + PSWPIN]
    parts[q + Figure.PAGES_WRITTEN] = rows[o + PSWPOUT]
    parts[q + Figure.REFAULTS] = rows[o + WORKINGSET_REFAULT_ANON]
    parts[q + Figure.SWAPOUT_FALLBACKS] = fallbacks
    parts[q + Figure.SWAPOUTS_OFFERED] = swapouts + fallbacks
    parts[q + Figure.LARGE_PAGES_IN] = large
    parts[q + Figure.PAGES_IN] = rows[o + PSWPIN] + rows[o + SWPIN_ZERO]
    parts[q + Figure.FOLIOS_GRANTED] = wanted - refused
    parts[q + Figure.FOLIOS_WANTED] = wanted
    parts[q + Figure.PAGES_STORED] = rows[o + PAGES_STORED]
    parts[q + Figure.POOL_PAGES] = rows[o + POOL_PAGES]
    parts[q + Figure.SAVED_BYTES] = (rows[o + PAGES_STORED] - rows[o + POOL_PAGES]) * PAGE_BYTES
    parts[q + Figure.BROKEN_BLOCKS] = rows[o + BROKEN_BY_FOLIOS + SMALL_ORDERS]
    parts[q + Figure.SMALL_FREE_PAGES] = small
    parts[q + Figure.FREE_PAGES] = rows[o + GAUGE_FREE_FRAMES]
    # A faulting process also does its share, by pages, of swap-out.
    parts[q + Figure.STALL_NS] = stall + swapout // out * rows[o + PGSTEAL_DIRECT]
    parts[q + Figure.CPU_NS] = stall + swapout + parts[q + Cause.REWRITE]
    parts[q + Figure.DECOMPRESSED_BYTES] = parts[q + DECOMPRESSED_BYTES]
    parts[q + Figure.KILLS] = rows[o + KILLS_LOW_SWAP] + rows[o + KILLS_THRASHING] + rows[o + KILLS_NO_MEMORY]
    parts[q + Figure.COLD_STARTS] = rows[o + COLD_STARTS]
    parts[q + Figure.SWAPOUTS] = swapouts
    parts[q + Figure.POOL_BYTES] = rows[o + POOL_PAGES] * PAGE_BYTES
    parts[q + Figure.COMPRESSED_BYTES] = rows[o + COMPR_DATA_SIZE]
