"""Refaults: pages that come back, and how much was swapped out in the meantime (spec 06; mm/workingset.c)."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import (
    N_DISTANCES, POOL_PAGES, REFAULT_DISTANCE, WORKINGSET_ACTIVATE_ANON, WORKINGSET_REFAULT_ANON,
)  # fmt: skip
from ..access import count, counter_value, fill_words, word


@device(cpu="call", cuda="call")
def note_eviction(dev, slot, n):
    """Remember in the slots of a folio how many pages were swapped out before it (workingset_eviction)."""
    age = np.int64(dev.evictions)
    fill_words(dev, dev.o_shadow + slot, n, age)
    dev.evictions = np.uint32(age + n)


@device
def resident_pages(dev):
    """Frames in use by processes and the swap cache."""
    used = np.int64(dev.n_frames) - np.int64(dev.frames_free) - np.int64(dev.reserve_free)
    return used - counter_value(dev, POOL_PAGES)


@device(cpu="call", cuda="call")
def note_refault(dev, slot, n):
    """Count a folio that comes back, by the pages swapped out since (workingset_refault).

    As in the kernel one entry stands for all pages of the folio, here that of its first page. A distance within the
    resident pages means that a little more memory would have kept it: the page counts as activated.
    """
    distance = np.int64(dev.evictions) - word(dev, dev.o_shadow + slot)
    power = np.int64(0)
    while power + 1 < N_DISTANCES and distance >> power > 1:
        power += 1
    count(dev, REFAULT_DISTANCE + power, n)
    count(dev, WORKINGSET_REFAULT_ANON, n)
    dev.window_refaults = np.uint32(np.int64(dev.window_refaults) + n)
    if distance <= resident_pages(dev):
        count(dev, WORKINGSET_ACTIVATE_ANON, n)
