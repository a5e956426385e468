"""Page-table words of the batch kernels: those of /proc/PID/pagemap (fs/proc/task_mmu.c), one uint64 a page.

A swapped-out page has bit 62, not bit 63, its swap type in bits 0-4 and its slot in bits 5-54. Pages can come back as
one folio only if their words are consecutive, so bits 55-61 take part: soft-dirty (55), uffd-wp (57). The kernel does
not show the exclusive bit of a swap entry; who knows it, as a simulated device does, sets bit 56.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..layout import words as bits

PM_SWAP_SHIFT = 62
PM_SLOT_SHIFT = 5
TYPE_MASK = 31
SLOT_BITS = 50
SLOT_MASK = (1 << SLOT_BITS) - 1
PM_EXCLUSIVE = 1 << 56
MAX_SWAPFILES = 23
"""Larger types are no swap devices: migration, hardware poison, markers (include/linux/swap.h)."""
NO_ENTRY = -2
"""A page that is not swapped out; so that its successor is no entry either."""
HAS_CACHE = bits.HAS_CACHE
NOT_SWAPPED = 255
"""Order of a page that is not swapped out."""
MAX_SLOT = SLOT_MASK


def words_of_slots(slots: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Page-table words of pages in slots of the first swap device.

    Parameters
    ----------
    slots : int64 array of shape (pages,)
        Slot of every page, -1 where it is not swapped out.

    Returns
    -------
    uint64 array of shape (pages,)

    Raises
    ------
    ValueError
        If a slot cannot be.
    """
    bad = np.flatnonzero((slots < -1) | (slots > MAX_SLOT))
    if len(bad):
        page = int(bad[0])
        raise ValueError(f"slot[{page}] is {slots[page]}; allowed are -1 (not swapped out) to {MAX_SLOT}")
    words = slots.astype(np.uint64) << np.uint64(PM_SLOT_SHIFT) | np.uint64(1 << PM_SWAP_SHIFT)
    return np.where(slots < 0, np.uint64(0), words)
