"""Uniform blocks of swap slots: what could be handed out, or read, as one large folio."""

from __future__ import annotations

import numpy as np

from ..layout.words import CLUSTER_SLOTS
from .cpu.uniformity import N_BLOCK_KINDS, N_BLOCK_ORDERS
from .launch import Launch
from .page_tables import Ints
from .swap_areas import SwapAreas

BLOCK_KINDS = ("blocks", "free", "used_alike", "zeros", "no_zeros")
"""All blocks; blocks of free slots only, an aligned hole (spec 02 §2.3); blocks in use with equal swap_map bytes;
blocks of zero pages only and of none, the ones whose zero-page bits are alike (spec 05 §5.3, filter 7 c)."""


def uniformity(launch: Launch, areas: SwapAreas) -> Ints:
    """Count, for every area and order, the aligned blocks of slots whose swap_map bytes or zero-page bits are equal.

    Only blocks that lie in the area as a whole count; free slots have the zero-page bit 0.

    Parameters
    ----------
    launch : Launch
    areas : SwapAreas

    Returns
    -------
    int64 array of shape (areas, 10, len(BLOCK_KINDS))
        Numbers of blocks by area, order 0..9 and kind.
    """
    cluster = areas.area_cluster
    counts = launch.full((areas.areas, N_BLOCK_ORDERS, N_BLOCK_KINDS), 0)
    arguments = (
        areas.areas,
        launch.put(cluster * CLUSTER_SLOTS, np.int64),
        launch.put(areas.slots, np.int64),
        launch.put(cluster, np.int64),
        launch.put(areas.swap_map, np.uint8),
        launch.put(areas.zeromap, np.uint8),
        counts,
    )
    launch.run("uniformity", areas.clusters * N_BLOCK_ORDERS, arguments, cuts=cluster * N_BLOCK_ORDERS)
    return launch.get(counts)
