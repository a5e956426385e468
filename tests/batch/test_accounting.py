"""Compression accounting: both backends against the rules of spec 08 §8.1, §8.2 and §8.5, and by hand."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap_kernels.batch.accounting import OBJECT_FIELDS, accounting

CLASSES = 3
CHAIN = 8
"""The kernel's default."""


@cache
def zspage(request, order):
    """Bytes and objects of a full zspage for a request: the raw class's, which merging does not change.

    None if the object is stored raw.
    """
    sizes, element = [min(32 + 16 * i, 4096) for i in range(255)], 4096
    if order and request > 4096:
        element = 4096 << order
        step = 16 << order
        sizes = [min(4096 + step * i, element) for i in range(1, 257) if 4096 + step * (i - 1) < element]
    elements = {size: min(range(1, CHAIN + 1), key=lambda n: n * element % size) for size in sizes}
    largest_shared = max(s for s, n in elements.items() if n != 1 and n * element // s != 1)
    if (order == 0 or request > 4096) and request > largest_shared - 8:
        return None
    size = min((s for s in sizes if s >= request + 8), default=sizes[-1])
    return elements[size] * element, elements[size] * element // size


def expected(objects):
    """Totals by class, order and field, one object after the other."""
    totals = np.zeros((CLASSES, 10, len(OBJECT_FIELDS)), np.int64)
    for size, order, content_class in objects:
        if content_class < 0:
            continue
        original = 4096 << order
        full = zspage(size, order) if size else (0, 1)
        if full is None:
            stored = pool = original
        else:
            stored, pool = size, (2 * full[0] + full[1]) // (2 * full[1])  # to the nearest byte
        totals[content_class, order] += (1, size == 0, full is None, original, stored, pool)
    return totals


SIZE = st.just(0) | st.integers(1, 4097) | st.integers(3500, 4100) | st.integers(1, 1 << 21)
OBJECTS = st.lists(st.tuples(SIZE, st.integers(0, 9), st.integers(-2, CLASSES - 1)), max_size=300)


def arrays(objects):
    columns = list(zip(*objects, strict=True)) or [(), (), ()]
    return [np.array(column, kind) for column, kind in zip(columns, (np.uint32, np.uint8, np.int32), strict=True)]


@settings(max_examples=60)
@given(OBJECTS)
def test_both_backends_agree_with_the_rules(cpu, cuda, objects):
    totals = expected(objects).tolist()
    assert accounting(cpu, *arrays(objects), CLASSES).tolist() == totals
    assert accounting(cuda, *arrays(objects), CLASSES).tolist() == totals


def test_by_hand(cpu, cuda):
    # 1,000 bytes: class 1,024, 4 to a page; 3,624: class 3,632, 9 to 8 pages; 3,625 and 4,096: raw. A block of 13,000
    # bytes in 64 KiB: class 13,056, 5 to a block.
    objects = [(1000, 0, 1), (3624, 0, 1), (3625, 0, 1), (4096, 0, 1), (0, 0, 1), (13000, 4, 0), (7, 0, -1)]
    for backend in (cpu, cuda):
        found = accounting(backend, *arrays(objects), CLASSES)
        one = dict(zip(OBJECT_FIELDS, found[1, 0].tolist(), strict=True))
        assert one == {
            "objects": 5,
            "same_filled": 1,
            "incompressible": 2,
            "original_bytes": 5 * 4096,
            "stored_bytes": 1000 + 3624 + 2 * 4096,
            "pool_bytes": 1024 + 3641 + 2 * 4096,  # 8 * 4096 / 9 = 3640.9
        }
        assert found[0, 4].tolist() == [1, 0, 0, 65536, 13000, 13107]  # 65536 / 5 = 13107.2
        assert int(found[..., 0].sum()) == 6


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([(1, 10, 0)], r"^orders\[0\] is 10; allowed are values up to 9$"),
        ([(1, 0, 0), (1, 0, 3)], r"^content_classes\[1\] is 3; allowed are values up to 2$"),
    ],
)
def test_values_out_of_range(cpu, objects, message):
    with pytest.raises(ValueError, match=message):
        accounting(cpu, *arrays(objects), CLASSES)


def test_arrays_of_other_lengths(cpu):
    sizes, orders, classes = arrays([(1, 0, 0)] * 3)
    with pytest.raises(ValueError, match=r"^orders has shape \(2,\) and type uint8; expected \(3,\), as sizes"):
        accounting(cpu, sizes, orders[:2], classes, CLASSES)
    with pytest.raises(ValueError, match=r"^sizes has shape \(3,\) and type float64"):
        accounting(cpu, sizes * 1.0, orders, classes, CLASSES)
