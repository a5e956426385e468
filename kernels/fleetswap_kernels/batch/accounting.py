"""Compression accounting of many objects: what zram and zsmalloc keep for them, by class and block order."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..device.batch.accounting import N_OBJECT_FIELDS, N_OBJECT_ORDERS, ObjectWork
from ..backend.contract import Backend, Batch
from ..layout.size_classes import MAX_BLOCK_ORDER, size_classes
from .page_tables import Ints

OBJECT_FIELDS = ("objects", "same_filled", "incompressible", "original_bytes", "stored_bytes", "pool_bytes")
"""Numbers of objects; their pages; what zram counts (compr_data_size); what they take of full zspages."""


def accounting(backend: Backend, sizes: Any, orders: Any, content_classes: Any, classes: int) -> Ints:
    """Add up what compressed objects take, by content class and block order (spec 08 §8.1, §8.2, §8.5).

    An object of at least the huge threshold is stored raw. A zspage's pages are shared out among its objects, rounded
    to bytes, as in a simulated device with ``pool = "packed"``; zspages are those of the kernel's default chain size.

    Parameters
    ----------
    backend : Backend
    sizes : uint32 array of shape (objects,)
        Bytes that the codec made of each; 0 for a same-filled one.
    orders : uint8 array of shape (objects,)
        Each is a block of 2^order pages, order 0 to 9.
    content_classes : int32 array of shape (objects,)
        Class of each, below `classes`; objects of a negative class are left out.
    classes : int
        Number of classes.

    Returns
    -------
    int64 array of shape (classes, 10, len(OBJECT_FIELDS))

    Raises
    ------
    ValueError
        If the arrays do not have one length, or an order or class is out of range.
    """
    check_objects({"sizes": sizes, "orders": orders, "content_classes": content_classes})
    check_most("orders", orders, MAX_BLOCK_ORDER)
    check_most("content_classes", content_classes, classes - 1)
    of_order = [size_classes(block_order=order) for order in range(N_OBJECT_ORDERS)]
    work = ObjectWork(
        sizes=sizes,
        orders=orders,
        content_classes=content_classes,
        shares=np.concatenate([one.shares for one in of_order]),
        huge_bytes=np.array([one.huge_block_bytes for one in of_order]),
        totals=np.zeros((classes, N_OBJECT_ORDERS, N_OBJECT_FIELDS), np.int64),
    )
    found: Ints = backend.run_batch(Batch(work, len(sizes), {"totals": np.add})).totals
    return found


def check_objects(arrays: dict[str, Any]) -> None:
    """Refuse arrays that do not have one number for each object.

    Raises
    ------
    ValueError
    """
    first, *_ = arrays
    length = arrays[first].shape[:1]
    for name, array in arrays.items():
        if array.shape != length or array.dtype.kind not in "iu":
            raise ValueError(
                f"{name} has shape {array.shape} and type {array.dtype}; expected {length}, as {first}, and integers"
            )


def check_most(name: str, array: Any, most: int) -> None:
    """Refuse an array with a greater value.

    Raises
    ------
    ValueError
    """
    if len(array) and int(array.max()) > most:
        at = int(array.argmax())
        raise ValueError(f"{name}[{at}] is {int(array[at])}; allowed are values up to {most}")
