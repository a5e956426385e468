"""What zram and zsmalloc keep for one compressed object; the twin of ``cuda/accounting.cuh``."""

import numpy as np

from ...compile.decorators import device, entry
from ...device.zram.zsmalloc import share_index
from ...layout import words as bits
from ...layout.device import ZSHARES
from ...layout.pages import PAGE_BYTES

N_OBJECT_ORDERS = bits.N_ORDERS
N_OBJECT_FIELDS = 6
(OBJECTS, SAME_FILLED, INCOMPRESSIBLE, ORIGINAL_BYTES, STORED_BYTES, POOL_BYTES) = range(N_OBJECT_FIELDS)


@device
def account_object(part, size, order, content_class, shares, huge_bytes, totals):
    """Add an object to the totals of its class and order (zram_write_page, spec 08 §8.1, §8.2, §8.5)."""
    original = np.int64(PAGE_BYTES) << order
    stored = size
    pool = np.int64(0)
    if size >= np.int64(huge_bytes[order]):
        stored = original
        pool = original
        totals[part, content_class, order, INCOMPRESSIBLE] += 1
    elif size == 0:
        totals[part, content_class, order, SAME_FILLED] += 1
    else:
        pool = np.int64(shares[order * ZSHARES + share_index(order, size)])
    totals[part, content_class, order, OBJECTS] += 1
    totals[part, content_class, order, ORIGINAL_BYTES] += original
    totals[part, content_class, order, STORED_BYTES] += stored
    totals[part, content_class, order, POOL_BYTES] += pool


@entry
def accounting(first, end, part, sizes, orders, content_classes, classes, shares, huge_bytes, totals):
    """Run `account_object` on a range of objects; those of a negative class are left out."""
    for i in range(first, end):
        content_class = np.int64(content_classes[i])
        if content_class >= 0:
            account_object(part, np.int64(sizes[i]), np.int64(orders[i]), content_class, shares, huge_bytes, totals)
