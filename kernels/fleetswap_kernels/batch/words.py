"""Page-table words of one's own (`device.batch.pagemap` says what their bits are)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..device.batch.pagemap import PM_SLOT_SHIFT, PM_SWAP_SHIFT, SLOT_MASK


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
    bad = np.flatnonzero((slots < -1) | (slots > SLOT_MASK))
    if len(bad):
        page = int(bad[0])
        raise ValueError(f"slot[{page}] is {slots[page]}; allowed are -1 (not swapped out) to {SLOT_MASK}")
    words = slots.astype(np.uint64) << np.uint64(PM_SLOT_SHIFT) | np.uint64(1 << PM_SWAP_SHIFT)
    return np.where(slots < 0, np.uint64(0), words)
