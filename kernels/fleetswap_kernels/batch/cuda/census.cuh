// Contiguity census of one window of address space, one thread each; the twin of cpu/census.py.

__device__ inline int64 run_bin(const int64 *pte, int64 page, int64 end, int64 entry_here)
{
    int64 slots = 1;
    while (slots < LONGEST_RUN && page + slots < end) {
        if (swap_entry(pte[page + slots]) != entry_here + slots)
            break;
        slots++;
    }
    int64 power = 0;
    while (slots >> (power + 1) > 0)
        power++;
    return power;
}

__device__ inline int64 census_block(int64 page, int64 order, int64 first_area, int64 areas, const int64 *area_offset,
                                     const int64 *area_slots, const uint8 *swap_map, const int64 *pte,
                                     uint8 *page_order)
{
    int64 singles = 0;
    for (int64 i = page; i < page + ((int64)1 << order); i++) {
        bool alone = false;
        if (areas > 0)
            alone = swap_map[slot_place(swap_entry(pte[i]), first_area, areas, area_offset, area_slots)] != 1;
        page_order[i] = alone ? 0 : order;
        singles += alone ? 0 : 1;
    }
    return singles;
}

__device__ inline void census_window(int64 window, int64 part, const int64 *pte, const int64 *region_offset,
                                     const int64 *region_start, const int64 *region_window, int64 regions,
                                     const int64 *process_offset, int64 processes, const int64 *process_area,
                                     int64 areas, const int64 *area_offset, const int64 *area_slots,
                                     const uint8 *swap_map, const uint8 *zeromap, int64 orders, uint8 *page_order,
                                     int64 *order_pages, int64 *run_counts, int64 *bad_page)
{
    const int64 region = row_of(region_window, regions, window);
    const int64 process = row_of(process_offset, processes, region);
    const int64 first_area = process_area[process];
    const int64 region_page = region_offset[region];
    const int64 region_end = region_offset[region + 1];
    const int64 lead = region_start[region] - region_page;
    const int64 window_page = (((lead + region_page) >> MAX_FAULT_ORDER) + window - region_window[region]) * WINDOW_PAGES;
    int64 page = window_page - lead > region_page ? window_page - lead : region_page;
    const int64 end = window_page - lead + WINDOW_PAGES < region_end ? window_page - lead + WINDOW_PAGES : region_end;
    int64 before = NO_ENTRY;
    if (page > region_page)
        before = swap_entry(pte[page - 1]);
    int64 alone = 0;
    while (page < end) {
        const int64 word = pte[page];
        const int64 entry_here = swap_entry(word);
        if (entry_here < 0) {
            page_order[page] = NOT_SWAPPED;
            before = entry_here;
            page++;
            continue;
        }
        if (entry_here != before + 1)
            add(run_counts + process * N_RUN_BINS + run_bin(pte, page, region_end, entry_here), 1);
        const int64 state = slot_state(entry_here, first_area, areas, area_offset, area_slots, swap_map, zeromap);
        if (state == NO_SLOT)
            atomicMin(bad_page + part, page);
        int64 n = 1;
        int64 most = 0;
        if (state < CACHED_SLOT) {
            while (page + n < end && pte[page + n] == word + (n << PM_SLOT_SHIFT)) {
                if (slot_state(entry_here + n, first_area, areas, area_offset, area_slots, swap_map, zeromap) != state)
                    break;
                n++;
            }
        }
        if (n >> MIN_FAULT_ORDER) {
            most = MAX_FAULT_ORDER;
            while (most > 0 && ((orders >> most & 1) == 0 || (((page + lead) ^ entry_here) & (((int64)1 << most) - 1))))
                most--;
        }
        const int64 batch_end = page + n;
        while (page < batch_end) {
            int64 order = most;
            while (order > 0) {
                const int64 pages = (int64)1 << order;
                if ((orders >> order & 1) && ((page + lead) & (pages - 1)) == 0 && page + pages <= batch_end)
                    break;
                order--;
            }
            if (order > 0) {
                const int64 singles = census_block(page, order, first_area, areas, area_offset, area_slots, swap_map,
                                                   pte, page_order);
                add(order_pages + process * N_ORDER_BINS + order, singles);
                alone += ((int64)1 << order) - singles;
            } else {
                page_order[page] = 0;
                alone++;
            }
            page += (int64)1 << order;
        }
        before = entry_here + n - 1;
    }
    add(order_pages + process * N_ORDER_BINS, alone);
}

extern "C" __global__ void census(int64 units, int64 parts, const int64 *pte, const int64 *region_offset,
                                  const int64 *region_start, const int64 *region_window, int64 regions,
                                  const int64 *process_offset, int64 processes, const int64 *process_area, int64 areas,
                                  const int64 *area_offset, const int64 *area_slots, const uint8 *swap_map,
                                  const uint8 *zeromap, int64 orders, uint8 *page_order, int64 *order_pages,
                                  int64 *run_counts, int64 *bad_page)
{
    if (this_unit() < units)
        census_window(this_unit(), this_part(parts), pte, region_offset, region_start, region_window, regions,
                      process_offset, processes, process_area, areas, area_offset, area_slots, swap_map, zeromap,
                      orders, page_order, order_pages, run_counts, bad_page);
}
