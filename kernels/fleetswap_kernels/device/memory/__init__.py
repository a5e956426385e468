"""Physical memory: buddy allocator, folios, orders allowed, generations of pages."""
