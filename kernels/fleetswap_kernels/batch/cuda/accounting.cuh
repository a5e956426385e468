// What zram and zsmalloc keep for one compressed object, one thread each; the twin of cpu/accounting.py.

// Also zsmalloc.share_index and zsmalloc.block_steps.
__device__ inline int64 share_index(int64 block_order, int64 size_bytes)
{
    if (size_bytes <= PAGE_BYTES)
        return (size_bytes + 7) >> 4;
    const int64 steps = (size_bytes + HANDLE_BYTES - PAGE_BYTES + ((int64)16 << block_order) - 1) >> (4 + block_order);
    return ZSHARE_STEPS + (steps < 256 ? steps : 256);
}

__device__ inline void account_object(int64 part, int64 size, int64 order, int64 content_class, int64 classes,
                                      const uint32 *shares, const int64 *huge_bytes, int64 *totals)
{
    int64 *row = totals + ((part * classes + content_class) * N_OBJECT_ORDERS + order) * N_OBJECT_FIELDS;
    const int64 original = (int64)PAGE_BYTES << order;
    int64 stored = size;
    int64 pool = 0;
    if (size >= huge_bytes[order]) {
        stored = original;
        pool = original;
        add(row + INCOMPRESSIBLE, 1);
    } else if (size == 0) {
        add(row + SAME_FILLED, 1);
    } else {
        pool = shares[order * ZSHARES + share_index(order, size)];
    }
    add(row + OBJECTS, 1);
    add(row + ORIGINAL_BYTES, original);
    add(row + STORED_BYTES, stored);
    add(row + POOL_BYTES, pool);
}

extern "C" __global__ void accounting(int64 units, int64 parts, const uint32 *sizes, const uint8 *orders,
                                      const int32 *content_classes, int64 classes, const uint32 *shares,
                                      const int64 *huge_bytes, int64 *totals)
{
    const int64 i = this_unit();
    if (i < units && content_classes[i] >= 0)
        account_object(this_part(parts), sizes[i], orders[i], content_classes[i], classes, shares, huge_bytes, totals);
}
