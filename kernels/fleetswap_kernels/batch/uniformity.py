"""Uniform blocks of swap slots: what could be handed out, or read, as one large folio."""

from __future__ import annotations

import numpy as np

from ..layout.words import CLUSTER_SLOTS
from ..device.batch.uniformity import N_BLOCK_KINDS, N_BLOCK_ORDERS, BlockWork
from ..backend.contract import Backend, Batch
from .page_tables import Ints
from .swap_areas import SwapAreas

BLOCK_KINDS = ("blocks", "free", "used_alike", "zeros", "no_zeros")
"""All blocks; blocks of free slots only, an aligned hole (spec 02 §2.3); blocks in use with equal swap_map bytes;
blocks of zero pages only and of none, the ones whose zero-page bits are alike (spec 05 §5.3, filter 7 c)."""


def uniformity(backend: Backend, areas: SwapAreas) -> Ints:
    """Count, for every area and order, the aligned blocks of slots whose swap_map bytes or zero-page bits are equal.

    Only blocks that lie in the area as a whole count; free slots have the zero-page bit 0.

    Parameters
    ----------
    backend : Backend
    areas : SwapAreas

    Returns
    -------
    int64 array of shape (areas, 10, len(BLOCK_KINDS))
        Numbers of blocks by area, order 0..9 and kind.
    """
    cluster = areas.area_cluster
    work = BlockWork(
        area_offset=cluster * CLUSTER_SLOTS,
        area_slots=areas.slots,
        area_cluster=cluster,
        swap_map=areas.swap_map,
        zeromap=areas.zeromap,
        counts=np.zeros((areas.areas, N_BLOCK_ORDERS, N_BLOCK_KINDS), np.int64),
    )
    units = areas.clusters * N_BLOCK_ORDERS
    found: Ints = backend.run_batch(Batch(work, units, {"counts": None}, cuts=cluster * N_BLOCK_ORDERS)).counts
    return found
