"""Uniform blocks of one cluster of swap slots."""

from typing import NamedTuple

import numpy as np

from ...layout import words as bits
from ...compile.atomics import add
from ...compile.decorators import device
from .pagemap import bit_of, row_of
from ...layout.batch_work import Array, empty

CLUSTER_SLOTS = bits.CLUSTER_SLOTS
N_BLOCK_ORDERS = bits.N_ORDERS
N_BLOCK_KINDS = 5
"""Kinds of blocks that are counted; `fleetswap_kernels.batch.uniformity` names them."""
ALL_BLOCKS, FREE_BLOCKS, USED_BLOCKS, ZERO_BLOCKS, DATA_BLOCKS = range(N_BLOCK_KINDS)


class BlockWork(NamedTuple):
    """Slots of swap areas, where `area_cluster` are the clusters before each area and of all; blocks by kind."""

    area_offset: Array = empty(np.int64)
    area_slots: Array = empty(np.int64)
    area_cluster: Array = empty(np.int64)
    swap_map: Array = empty(np.uint8)
    zeromap: Array = empty(np.uint8)
    counts: Array = empty(np.int64, 3)


@device
def same_count(swap_map, place, slots):
    """Whether the swap_map bytes of a block are equal."""
    for i in range(place + 1, place + slots):
        if swap_map[i] != swap_map[place]:
            return False
    return True


@device
def same_zero_bit(zeromap, place, slots):
    """Whether the zero-page bits of a block are equal."""
    for i in range(place + 1, place + slots):
        if bit_of(zeromap, i) != bit_of(zeromap, place):
            return False
    return True


@device
def count_blocks(unit, part, work):
    """Add up the uniform blocks of a cluster that lie in the area as a whole.

    Unit u has those of 2^(u % N_BLOCK_ORDERS) slots of cluster u // N_BLOCK_ORDERS.
    """
    cluster = unit // N_BLOCK_ORDERS
    order = unit % N_BLOCK_ORDERS
    area = row_of(work.area_cluster, cluster)
    swap_map = work.swap_map
    zeromap = work.zeromap
    slots = np.int64(1) << order
    place = cluster * CLUSTER_SLOTS
    area_end = np.int64(work.area_offset[area]) + np.int64(work.area_slots[area])
    last = min(place + CLUSTER_SLOTS, area_end) - slots
    blocks = np.int64(0)
    free = np.int64(0)
    used = np.int64(0)
    zeros = np.int64(0)
    data = np.int64(0)
    while place <= last:
        blocks += 1
        if same_count(swap_map, place, slots):
            if np.int64(swap_map[place]) == 0:
                free += 1
            else:
                used += 1
        if same_zero_bit(zeromap, place, slots):
            if bit_of(zeromap, place):
                zeros += 1
            else:
                data += 1
        place += slots
    add(work.counts, (area, order, ALL_BLOCKS), blocks)
    add(work.counts, (area, order, FREE_BLOCKS), free)
    add(work.counts, (area, order, USED_BLOCKS), used)
    add(work.counts, (area, order, ZERO_BLOCKS), zeros)
    add(work.counts, (area, order, DATA_BLOCKS), data)
