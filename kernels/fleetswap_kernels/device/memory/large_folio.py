"""Whether the page allocator can give a large folio now, and at what effort (spec 06 §6.3-6.4)."""

from enum import IntEnum, unique

import numpy as np

from ...compile.decorators import device
from ...layout.counters import COMPACTIONS, FOLIO_REFUSED, FOLIO_WANTED
from ...layout.device import VMA_FLAGS, W_BLOCK_HEAD
from ...layout.words import FRAME_NIL, MAX_BLOCK_ORDER, VMA_HUGEPAGE
from ..access import count, word
from ..orders import pages_of
from .buddy import RESERVED, compact_memory, free_order

DEFRAG_ALWAYS, DEFRAG_DEFER, DEFRAG_DEFER_MADVISE, DEFRAG_MADVISE, DEFRAG_NEVER = range(5)
COMPACT_EVERY = 64
"""Refused folios between two compactions: the kernel defers up to 2^6 attempts after failed ones (mm/compaction.c)."""
LEAST_MARGIN_PAGES = 64


@unique
class Effort(IntEnum):
    """What an allocation of a large folio may do."""

    TAKE = 0
    """Take a free block or fail."""
    WAKE = 1
    """Wake kswapd."""
    DIRECT = 2
    """Compact memory as well."""


@device
def large_folio_effort(dev, o_vma):
    """What an allocation of a large folio in a region may do (vma_thp_gfp_mask, spec 06 §6.4)."""
    defrag = np.int64(dev.defrag)
    advised = word(dev, o_vma + VMA_FLAGS) & VMA_HUGEPAGE
    if defrag == DEFRAG_ALWAYS or (advised and (defrag == DEFRAG_MADVISE or defrag == DEFRAG_DEFER_MADVISE)):
        return Effort.DIRECT
    if defrag == DEFRAG_DEFER or defrag == DEFRAG_DEFER_MADVISE:
        return Effort.WAKE
    return Effort.TAKE


@device
def has_block(dev, order):
    """Whether a block of at least an order is free, and taking it leaves the low watermark."""
    if order == np.int64(dev.reserve_order) and word(dev, W_BLOCK_HEAD + RESERVED + order) != FRAME_NIL:
        return True
    if np.int64(dev.frames_free) - pages_of(order) < np.int64(dev.low_free):
        return False
    return free_order(dev, order) <= MAX_BLOCK_ORDER


@device(cpu="call", cuda="call")
def folio_available(dev, order):
    """Whether the page allocator can give a large folio now, at the effort of the fault in progress."""
    count(dev, FOLIO_WANTED + order, 1)
    if has_block(dev, order):
        return True
    effort = np.int64(dev.effort)
    if effort >= Effort.WAKE:
        dev.kswapd_on = np.uint32(1)
    if effort == Effort.DIRECT and np.int64(dev.frames_free) - (2 << order) >= np.int64(dev.low_free):
        # Enough memory, but in pieces.
        waited = np.int64(dev.compact_wait) + 1
        dev.compact_wait = np.uint32(waited % COMPACT_EVERY)
        if waited == COMPACT_EVERY:
            compact_memory(dev)
            count(dev, COMPACTIONS, 1)
            if has_block(dev, order):
                return True
    count(dev, FOLIO_REFUSED + order, 1)
    return False


@device
def has_margin(dev, order):
    """The margin rule: whether so much memory is free beyond the high watermark that a large folio may come in."""
    need = max(np.int64(LEAST_MARGIN_PAGES), pages_of(order))
    return np.int64(dev.frames_free) - np.int64(dev.high_free) >= need
