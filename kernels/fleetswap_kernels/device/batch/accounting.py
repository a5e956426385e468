"""What zram and zsmalloc keep for one compressed object."""

from typing import NamedTuple

import numpy as np

from ...layout import words as bits
from ...compile.atomics import add
from ...compile.decorators import device
from ...layout.device import ZSHARES
from ...layout.pages import PAGE_BYTES
from ..zram.zsmalloc import share_index
from ...layout.batch_work import Array, empty

N_OBJECT_ORDERS = bits.N_ORDERS
N_OBJECT_FIELDS = 6
(OBJECTS, SAME_FILLED, INCOMPRESSIBLE, ORIGINAL_BYTES, STORED_BYTES, POOL_BYTES) = range(N_OBJECT_FIELDS)


class ObjectWork(NamedTuple):
    """Objects, the bytes that zsmalloc takes for each by order and share, and totals by class, order and field."""

    sizes: Array = empty(np.uint32)
    orders: Array = empty(np.uint8)
    content_classes: Array = empty(np.int32)
    shares: Array = empty(np.uint32)
    huge_bytes: Array = empty(np.int64)
    totals: Array = empty(np.int64, 4)


@device
def account_object(unit, part, work):
    """Add an object to the totals of its class and order (zram_write_page, spec 08 §8.1, §8.2, §8.5).

    One of a negative class is left out.
    """
    content_class = np.int64(work.content_classes[unit])
    if content_class < 0:
        return
    size = np.int64(work.sizes[unit])
    order = np.int64(work.orders[unit])
    original = np.int64(PAGE_BYTES) << order
    stored = size
    pool = np.int64(0)
    if size >= np.int64(work.huge_bytes[order]):
        stored = original
        pool = original
        add(work.totals, (part, content_class, order, INCOMPRESSIBLE), 1)
    elif size == 0:
        add(work.totals, (part, content_class, order, SAME_FILLED), 1)
    else:
        pool = np.int64(work.shares[order * ZSHARES + share_index(order, size)])
    add(work.totals, (part, content_class, order, OBJECTS), 1)
    add(work.totals, (part, content_class, order, ORIGINAL_BYTES), original)
    add(work.totals, (part, content_class, order, STORED_BYTES), stored)
    add(work.totals, (part, content_class, order, POOL_BYTES), pool)
