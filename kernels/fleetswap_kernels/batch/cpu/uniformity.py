"""Uniform blocks of one cluster of swap slots; the twin of ``cuda/uniformity.cuh``."""

import numpy as np

from ...compile.decorators import device, entry
from ...layout import words as bits
from .pagemap import row_of

CLUSTER_SLOTS = bits.CLUSTER_SLOTS
N_BLOCK_ORDERS = bits.N_ORDERS
N_BLOCK_KINDS = 5
"""Kinds of blocks that are counted; `fleetswap_kernels.batch.uniformity` names them."""
ALL_BLOCKS, FREE_BLOCKS, USED_BLOCKS, ZERO_BLOCKS, DATA_BLOCKS = range(N_BLOCK_KINDS)


@device
def bit_of(bitmap, place):
    """A bit of a bitmap, lowest first."""
    return np.int64(bitmap[place >> 3]) >> (place & 7) & 1


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
def count_blocks(cluster, order, area, area_offset, area_slots, swap_map, zeromap, counts):
    """Add up the uniform blocks of 2^order slots of a cluster that lie in the area as a whole."""
    slots = np.int64(1) << order
    place = cluster * CLUSTER_SLOTS
    last = min(place + CLUSTER_SLOTS, np.int64(area_offset[area]) + np.int64(area_slots[area])) - slots
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
    counts[area, order, ALL_BLOCKS] += blocks
    counts[area, order, FREE_BLOCKS] += free
    counts[area, order, USED_BLOCKS] += used
    counts[area, order, ZERO_BLOCKS] += zeros
    counts[area, order, DATA_BLOCKS] += data


@entry
def uniformity(first, end, part, areas, area_offset, area_slots, area_cluster, swap_map, zeromap, counts):
    """Run `count_blocks` on a range of units: unit u is order u % N_BLOCK_ORDERS of cluster u // N_BLOCK_ORDERS."""
    for unit in range(first, end):
        cluster = unit // N_BLOCK_ORDERS
        area = row_of(area_cluster, areas, cluster)
        count_blocks(cluster, unit % N_BLOCK_ORDERS, area, area_offset, area_slots, swap_map, zeromap, counts)
