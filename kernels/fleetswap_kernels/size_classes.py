"""Size classes of zsmalloc, computed from the kernel's rule for any chain size (spec 08 §8.2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

PAGE_BYTES = 4096
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


@dataclass(frozen=True, eq=False)
class SizeClasses:
    """Distinct zsmalloc classes of one chain size, in ascending order of their object size.

    Attributes
    ----------
    chain_pages : int
        Largest number of pages of a zspage.
    class_of_bytes : uint8[4097]
        Index of the class that serves a request of c = 0 .. 4096 bytes (handle not included).
    class_pages : uint8[k]
        Pages per zspage.
    class_objects : uint16[k]
        Objects per zspage.
    class_bytes : uint16[k]
        Bytes per object, handle included.
    huge_threshold_bytes : int
        Compressed size in bytes from which zram stores a page raw.
    """

    chain_pages: int
    class_of_bytes: NDArray[np.uint8]
    class_pages: NDArray[np.uint8]
    class_objects: NDArray[np.uint16]
    class_bytes: NDArray[np.uint16]
    huge_threshold_bytes: int


def _zspage_pages(object_bytes: int, chain_pages: int) -> int:
    """Pages per zspage of a raw class: least waste at the end, the shortest chain on ties (spec 08 §8.2)."""
    if object_bytes & (object_bytes - 1) == 0:
        return 1
    return min(range(1, chain_pages + 1), key=lambda pages: pages * PAGE_BYTES % object_bytes)


def _frozen(array: NDArray[np.generic]) -> None:
    """Make a shared table read-only: the same object is handed to every caller."""
    array.setflags(write=False)


@cache
def size_classes(chain_pages: int = 8) -> SizeClasses:
    """Compute the size classes of a kernel built with the given chain size (spec 08 §8.2).

    Parameters
    ----------
    chain_pages : int
        ``CONFIG_ZSMALLOC_CHAIN_SIZE``, 4 .. 16; the kernel's default is 8.

    Returns
    -------
    SizeClasses
        Read-only tables, shared between callers.

    Raises
    ------
    ValueError
        If the kernel cannot be built with this chain size.
    """
    if not MIN_CHAIN_PAGES <= chain_pages <= MAX_CHAIN_PAGES:
        raise ValueError(
            f"chain_pages: {chain_pages!r} is not allowed; allowed: {MIN_CHAIN_PAGES} to {MAX_CHAIN_PAGES}"
        )
    raw_bytes = list(range(MIN_OBJECT_BYTES, PAGE_BYTES + 1, CLASS_STEP_BYTES))
    kept: list[tuple[int, int, int]] = []
    index_from_top = [0] * len(raw_bytes)
    huge_threshold = 0
    # From the largest down: a class merges with the last larger one created and then takes its size.
    for raw in range(len(raw_bytes) - 1, -1, -1):
        object_bytes = raw_bytes[raw]
        pages = _zspage_pages(object_bytes, chain_pages)
        objects = pages * PAGE_BYTES // object_bytes
        if huge_threshold == 0 and pages != 1 and objects != 1:
            # An object of this class holds huge_threshold - 1 bytes plus the handle: one byte more is huge.
            huge_threshold = object_bytes - (HANDLE_BYTES - 1)
        if not kept or kept[-1][1:] != (pages, objects):
            kept.append((object_bytes, pages, objects))
        index_from_top[raw] = len(kept) - 1

    class_of_bytes = np.empty(PAGE_BYTES + 1, np.uint8)
    for request in range(PAGE_BYTES + 1):
        beyond = max(0, request + HANDLE_BYTES - MIN_OBJECT_BYTES)
        # The largest class keeps its handle in the page: a request of a whole page fits although 4104 > 4096.
        raw = min(len(raw_bytes) - 1, -(-beyond // CLASS_STEP_BYTES))
        class_of_bytes[request] = len(kept) - 1 - index_from_top[raw]
    kept.reverse()
    classes = SizeClasses(
        chain_pages=chain_pages,
        class_of_bytes=class_of_bytes,
        class_pages=np.array([c[1] for c in kept], np.uint8),
        class_objects=np.array([c[2] for c in kept], np.uint16),
        class_bytes=np.array([c[0] for c in kept], np.uint16),
        huge_threshold_bytes=huge_threshold,
    )
    for array in (classes.class_of_bytes, classes.class_pages, classes.class_objects, classes.class_bytes):
        _frozen(array)
    return classes
