"""State of the slots of any number of swap devices as arrays, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layout.words import CLUSTER_SLOTS
from .page_tables import Ints, check_range

MAX_SLOTS = 1 << 50


@dataclass(frozen=True)
class SwapAreas:
    """Slots of swap areas, area after area; each begins at a whole cluster.

    Parameters
    ----------
    slots : int64 array of shape (areas,)
        Slots of each area.
    swap_map : uint8 array of shape (clusters * 512,)
        The kernel's byte of every slot: number of PTEs, 0x40 if the swap cache or a slot cache holds it (spec 01
        §1.3). An area of n slots takes ceil(n / 512) * 512 bytes, of which the last ones do not matter.
    zeromap : uint8 array of shape (clusters * 64,)
        The kernel's bit of every slot, lowest first: 1 for a page of zeros, which zram does not have.
    """

    slots: Ints
    swap_map: Any
    zeromap: Any

    def __post_init__(self) -> None:
        check_range("slots", self.slots, self.areas, 0, MAX_SLOTS)
        places = self.clusters * CLUSTER_SLOTS
        for name, array, length in (("swap_map", self.swap_map, places), ("zeromap", self.zeromap, places // 8)):
            if array.shape != (length,) or array.dtype != np.uint8:
                raise ValueError(f"{name} has shape {array.shape} and type {array.dtype}; expected ({length},), uint8")

    @property
    def areas(self) -> int:
        """Number of areas."""
        return len(self.slots)

    @property
    def area_cluster(self) -> Ints:
        """Clusters before each area and of all, int64 array of shape (areas + 1,)."""
        return np.concatenate([[0], np.cumsum(-(-self.slots // CLUSTER_SLOTS))]).astype(np.int64)

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return int(self.area_cluster[-1])

    @classmethod
    def unknown(cls) -> SwapAreas:
        """No areas: every entry counts as unshared, out of the swap cache, and all pages as not zero."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.uint8))

    @classmethod
    def of(
        cls, swap_maps: Sequence[npt.NDArray[np.uint8]], zeromaps: Sequence[npt.NDArray[np.uint8]] | None = None
    ) -> SwapAreas:
        """Lay out areas one after the other.

        Parameters
        ----------
        swap_maps : sequence of uint8 arrays of shape (slots,)
            One for each area.
        zeromaps : sequence of uint8 arrays of shape (ceil(slots / 8),), optional
            Without them no page is one of zeros.

        Raises
        ------
        ValueError
            If a bitmap does not have the bits of its area.
        """
        slots = np.array([len(one) for one in swap_maps], np.int64)
        clusters = -(-slots // CLUSTER_SLOTS)
        swap_map = np.zeros(int(clusters.sum()) * CLUSTER_SLOTS, np.uint8)
        zeromap = np.zeros(len(swap_map) // 8, np.uint8)
        places = (np.cumsum(clusters) - clusters) * CLUSTER_SLOTS
        for area, place in enumerate(places.tolist()):
            swap_map[place : place + len(swap_maps[area])] = swap_maps[area]
            if zeromaps is None:
                continue
            bitmap, expected = zeromaps[area], -(-int(slots[area]) // 8)
            if bitmap.shape != (expected,):
                raise ValueError(f"zeromap has shape {bitmap.shape}; expected ({expected},), a bit for each slot")
            zeromap[place // 8 : place // 8 + expected] = bitmap
        return cls(slots, swap_map, zeromap)
