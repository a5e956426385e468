// Uniform blocks of one cluster of swap slots, one thread for each order; the twin of cpu/uniformity.py.

__device__ inline int64 bit_of(const uint8 *bitmap, int64 place) { return bitmap[place >> 3] >> (place & 7) & 1; }

__device__ inline bool same_count(const uint8 *swap_map, int64 place, int64 slots)
{
    for (int64 i = place + 1; i < place + slots; i++)
        if (swap_map[i] != swap_map[place])
            return false;
    return true;
}

__device__ inline bool same_zero_bit(const uint8 *zeromap, int64 place, int64 slots)
{
    for (int64 i = place + 1; i < place + slots; i++)
        if (bit_of(zeromap, i) != bit_of(zeromap, place))
            return false;
    return true;
}

__device__ inline void count_blocks(int64 cluster, int64 order, int64 area, const int64 *area_offset,
                                    const int64 *area_slots, const uint8 *swap_map, const uint8 *zeromap,
                                    int64 *counts)
{
    const int64 slots = (int64)1 << order;
    int64 place = cluster * CLUSTER_SLOTS;
    const int64 area_end = area_offset[area] + area_slots[area];
    const int64 last = (place + CLUSTER_SLOTS < area_end ? place + CLUSTER_SLOTS : area_end) - slots;
    int64 blocks = 0;
    int64 free = 0;
    int64 used = 0;
    int64 zeros = 0;
    int64 data = 0;
    while (place <= last) {
        blocks++;
        if (same_count(swap_map, place, slots)) {
            if (swap_map[place] == 0)
                free++;
            else
                used++;
        }
        if (same_zero_bit(zeromap, place, slots)) {
            if (bit_of(zeromap, place))
                zeros++;
            else
                data++;
        }
        place += slots;
    }
    int64 *row = counts + (area * N_BLOCK_ORDERS + order) * N_BLOCK_KINDS;
    add(row + ALL_BLOCKS, blocks);
    add(row + FREE_BLOCKS, free);
    add(row + USED_BLOCKS, used);
    add(row + ZERO_BLOCKS, zeros);
    add(row + DATA_BLOCKS, data);
}

extern "C" __global__ void uniformity(int64 units, int64 /* parts */, int64 areas, const int64 *area_offset,
                                      const int64 *area_slots, const int64 *area_cluster, const uint8 *swap_map,
                                      const uint8 *zeromap, int64 *counts)
{
    if (this_unit() < units) {
        const int64 cluster = this_unit() / N_BLOCK_ORDERS;
        const int64 area = row_of(area_cluster, areas, cluster);
        count_blocks(cluster, this_unit() % N_BLOCK_ORDERS, area, area_offset, area_slots, swap_map, zeromap, counts);
    }
}
