"""zram and zsmalloc: stored blocks, objects, the pool."""
