"""Size classes of zsmalloc, computed from the kernel's rule for any chain and block size (spec 08 §8.2, §8.5)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from .pages import PAGE_BYTES

"""Bytes of one page."""

HANDLE_BYTES = 8
"""Bytes of the handle that zsmalloc stores inside each object (spec 08 §8.2)."""

MIN_OBJECT_BYTES = 32
"""Smallest object, bytes (spec 08 §8.2)."""

CLASS_STEP_BYTES = 16
"""Distance of neighbouring raw classes, bytes (spec 08 §8.2)."""

MIN_CHAIN_PAGES = 4
"""Smallest chain size that the kernel can be built with, pages per zspage."""

MAX_CHAIN_PAGES = 16
"""Largest chain size that the kernel can be built with, pages per zspage."""


MAX_BLOCK_ORDER = 9
"""Largest block that zram may compress as one object: 2 MiB."""


@dataclass(frozen=True, eq=False)
class SizeClasses:
    """Distinct zsmalloc classes, in ascending order of their object size.

    Attributes
    ----------
    chain_pages : int
        Largest number of pages of a zspage; of one with objects above a page, largest number of blocks.
    block_order : int
        Objects have up to 2^block_order pages.
    class_of_bytes : uint8[4097]
        Index of the class that serves a request of c = 0 .. 4096 bytes (handle not included).
    class_of_step : uint8[257]
        The same for larger ones, by ceil((c + 8 - 4096) / (16 << block_order)); all 0 without blocks.
    class_pages : uint16[k]
        Pages per zspage.
    class_objects : uint16[k]
        Objects per zspage.
    class_bytes : uint32[k]
        Bytes per object, handle included.
    huge_threshold_bytes : int
        Compressed size in bytes from which zram stores a page raw.
    huge_block_bytes : int
        The same for a block; without blocks that of a page.
    """

    chain_pages: int
    block_order: int
    class_of_bytes: NDArray[np.uint8]
    class_of_step: NDArray[np.uint8]
    class_pages: NDArray[np.uint16]
    class_objects: NDArray[np.uint16]
    class_bytes: NDArray[np.uint32]
    huge_threshold_bytes: int
    huge_block_bytes: int

    @property
    def words(self) -> NDArray[np.uint32]:
        """Records of the classes in a device, shape (2 k,): `device.ZCLASS_INFO` and `device.ZCLASS_RECIPROCAL`."""
        objects = self.class_objects.astype(np.uint32)
        reciprocal = np.minimum(-(-(1 << 32) // self.class_objects.astype(np.int64)), 0xFFFFFFFF).astype(np.uint32)
        records = np.stack([objects | self.class_pages.astype(np.uint32) << np.uint32(16), reciprocal], axis=1)
        return records.ravel()

    @property
    def shares(self) -> NDArray[np.uint32]:
        """What an object takes of a full zspage, bytes, shape (`device.ZSHARES`,).

        First by (c + 7) >> 4 for a request of c = 0 .. 4096 bytes, which are the requests of one class each; from
        `device.ZSHARE_STEPS` on by the steps of `class_of_step`.
        """
        objects = self.class_objects.astype(np.int64)
        share = (2 * PAGE_BYTES * self.class_pages.astype(np.int64) + objects) // (2 * objects)
        request = np.minimum(16 * np.arange(257) + 8, PAGE_BYTES)
        of_class = np.concatenate([self.class_of_bytes[request], self.class_of_step])
        shares: NDArray[np.uint32] = share[of_class].astype(np.uint32)
        return shares


def _zspage_elements(object_bytes: int, element_bytes: int, chain: int) -> int:
    """Elements (pages or blocks) per zspage of a raw class: least waste at the end, the shortest chain on ties."""
    return min(range(1, chain + 1), key=lambda elements: elements * element_bytes % object_bytes)


def _distinct(
    raw_bytes: list[int], element_bytes: int, chain: int
) -> tuple[list[tuple[int, int, int]], list[int], int]:
    """Merge raw classes of ascending size, which draw on elements of one size.

    Returns
    -------
    list of (int, int, int)
        Object bytes, elements and objects per zspage of the classes that remain, ascending.
    list of int
        Which of them serves each raw class.
    int
        Compressed size from which an object is stored raw.
    """
    distinct: list[tuple[int, int, int]] = []
    index_from_top = [0] * len(raw_bytes)
    threshold = 0
    # From the largest down: a class merges with the last larger one created and then takes its size.
    for raw in range(len(raw_bytes) - 1, -1, -1):
        object_bytes = raw_bytes[raw]
        elements = _zspage_elements(object_bytes, element_bytes, chain)
        objects = elements * element_bytes // object_bytes
        if threshold == 0 and elements != 1 and objects != 1:
            # An object of this class holds threshold - 1 bytes plus the handle: one byte more is huge.
            threshold = object_bytes - (HANDLE_BYTES - 1)
        if not distinct or distinct[-1][1:] != (elements, objects):
            distinct.append((object_bytes, elements, objects))
        index_from_top[raw] = len(distinct) - 1
    distinct.reverse()
    return distinct, [len(distinct) - 1 - i for i in index_from_top], threshold


@cache
def size_classes(chain_pages: int = 8, block_order: int = 0) -> SizeClasses:
    """Compute the size classes of a kernel built with the given chain size (spec 08 §8.2).

    Parameters
    ----------
    chain_pages : int
        ``CONFIG_ZSMALLOC_CHAIN_SIZE``, 4 .. 16; the kernel's default is 8.
    block_order : int
        Objects of up to 2^block_order pages (spec 08 §8.5): those above a page have classes of their own, 1/256 of a
        block apart, on chains of whole blocks.

    Returns
    -------
    SizeClasses
        Read-only tables, shared between callers.

    Raises
    ------
    ValueError
        If the kernel cannot be built with this chain size, or there are no such blocks.
    """
    if not MIN_CHAIN_PAGES <= chain_pages <= MAX_CHAIN_PAGES:
        raise ValueError(
            f"chain_pages: {chain_pages!r} is not allowed; allowed: {MIN_CHAIN_PAGES} to {MAX_CHAIN_PAGES}"
        )
    if not 0 <= block_order <= MAX_BLOCK_ORDER:
        raise ValueError(f"block_order: {block_order!r} is not allowed; allowed: 0 to {MAX_BLOCK_ORDER}")
    raw_bytes = list(range(MIN_OBJECT_BYTES, PAGE_BYTES + 1, CLASS_STEP_BYTES))
    distinct, index, threshold = _distinct(raw_bytes, PAGE_BYTES, chain_pages)
    class_of_bytes = np.empty(PAGE_BYTES + 1, np.uint8)
    for request in range(PAGE_BYTES + 1):
        beyond = max(0, request + HANDLE_BYTES - MIN_OBJECT_BYTES)
        # The largest class keeps its handle in the page: a request of a whole page fits although 4104 > 4096.
        class_of_bytes[request] = index[min(len(raw_bytes) - 1, -(-beyond // CLASS_STEP_BYTES))]
    class_pages = [pages for _, pages, _ in distinct]
    block_threshold = threshold
    class_of_step = np.zeros(257, np.uint8)
    if block_order:
        block_bytes = PAGE_BYTES << block_order
        step_bytes = CLASS_STEP_BYTES << block_order
        steps = -(-(block_bytes - PAGE_BYTES) // step_bytes)
        large_bytes = [min(PAGE_BYTES + j * step_bytes, block_bytes) for j in range(1, steps + 1)]
        large, index, block_threshold = _distinct(large_bytes, block_bytes, chain_pages)
        # A request of step 0 has its handle beyond a page, but no byte of its own: the first class above serves it.
        for step in range(257):
            class_of_step[step] = len(distinct) + index[min(max(step, 1), steps) - 1]
        distinct = distinct + large
        class_pages += [elements << block_order for _, elements, _ in large]
    classes = SizeClasses(
        chain_pages=chain_pages,
        block_order=block_order,
        class_of_bytes=class_of_bytes,
        class_of_step=class_of_step,
        class_pages=np.array(class_pages, np.uint16),
        class_objects=np.array([c[2] for c in distinct], np.uint16),
        class_bytes=np.array([c[0] for c in distinct], np.uint32),
        huge_threshold_bytes=threshold,
        huge_block_bytes=block_threshold,
    )
    for array in (
        classes.class_of_bytes, classes.class_of_step, classes.class_pages, classes.class_objects, classes.class_bytes,
    ):  # fmt: skip
        array.setflags(write=False)
    return classes
