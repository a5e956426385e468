// Page-table words and what they refer to; the twin of cpu/pagemap.py.

// Number of this thread's unit of work.
__device__ inline int64 this_unit() { return (int64)blockIdx.x * blockDim.x + threadIdx.x; }

// Which copy of a result this thread adds to: threads that run together share few of them.
__device__ inline int64 this_part(int64 parts) { return blockIdx.x % parts; }

__device__ inline void add(int64 *at, int64 n)
{
    atomicAdd((unsigned long long *)at, (unsigned long long)n);
}

__device__ inline int64 row_of(const int64 *offsets, int64 rows, int64 item)
{
    int64 low = 0;
    int64 high = rows;
    while (high - low > 1) {
        const int64 middle = (low + high) >> 1;
        if (offsets[middle] <= item)
            low = middle;
        else
            high = middle;
    }
    return low;
}

__device__ inline int64 swap_entry(int64 word)
{
    if (word >> PM_SWAP_SHIFT != 1 || (word & TYPE_MASK) >= MAX_SWAPFILES)
        return NO_ENTRY;
    return (word & TYPE_MASK) << SLOT_BITS | (word >> PM_SLOT_SHIFT & SLOT_MASK);
}

__device__ inline int64 slot_place(int64 entry, int64 first_area, int64 areas, const int64 *area_offset,
                                   const int64 *area_slots)
{
    const int64 area = first_area + (entry >> SLOT_BITS);
    const int64 slot = entry & SLOT_MASK;
    if (area >= areas || slot >= area_slots[area])
        return -1;
    return area_offset[area] + slot;
}

__device__ inline int64 slot_state(int64 entry, int64 first_area, int64 areas, const int64 *area_offset,
                                   const int64 *area_slots, const uint8 *swap_map, const uint8 *zeromap)
{
    if (areas == 0)
        return PLAIN_SLOT;
    const int64 place = slot_place(entry, first_area, areas, area_offset, area_slots);
    if (place < 0)
        return NO_SLOT;
    if (swap_map[place] & HAS_CACHE)
        return CACHED_SLOT;
    return zeromap[place >> 3] >> (place & 7) & 1;
}
