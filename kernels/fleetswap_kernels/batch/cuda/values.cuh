// Histograms and sums of one value by group and column, one thread each; the twin of cpu/values.py.

// Also log_bin.bin_number, where the least int64 needs no case of its own: its magnitude is an unsigned number.
__device__ inline int64 bin_number(int64 value)
{
    const uint64 magnitude = value < 0 ? 0 - (uint64)value : (uint64)value;
    const int extra = 64 - __clzll((int64)(magnitude >> (SUB_BITS + 1)));
    const int64 number = ((int64)extra << SUB_BITS) + (int64)(magnitude >> extra);
    return value < 0 ? -number : number;
}

__device__ inline void count_value(int64 row, int64 value, int64 *counts)
{
    add(counts + row * BINS + LAST_BIN + bin_number(value), 1);
}

__device__ inline void sum_value(int64 row, int64 value, int64 *totals, int64 *least, int64 *greatest)
{
    add(totals + row * N_SUMS + COUNT, 1);
    add(totals + row * N_SUMS + HIGH_SUM, value >> 32);
    add(totals + row * N_SUMS + LOW_SUM, value & 0xFFFFFFFF);
    atomicMin(least + row, value);
    atomicMax(greatest + row, value);
}

extern "C" __global__ void histogram(int64 units, int64 parts, const int64 *values, int64 columns,
                                     const int32 *row_groups, int64 groups, int64 *counts)
{
    const int64 i = this_unit();
    if (i < units && row_groups[i / columns] >= 0) {
        const int64 group = this_part(parts) * groups + row_groups[i / columns];
        count_value(group * columns + i % columns, values[i], counts);
    }
}

extern "C" __global__ void sums(int64 units, int64 parts, const int64 *values, int64 columns, const int32 *row_groups,
                                int64 groups, int64 *totals, int64 *least, int64 *greatest)
{
    const int64 i = this_unit();
    if (i < units && row_groups[i / columns] >= 0) {
        const int64 group = this_part(parts) * groups + row_groups[i / columns];
        sum_value(group * columns + i % columns, values[i], totals, least, greatest);
    }
}
