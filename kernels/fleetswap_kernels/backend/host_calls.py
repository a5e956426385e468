"""Device functions that the host calls on arrays of its own: prices, sizes and bytes of pages, bins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compile.decorators import entry
from ..compile.views import device_at, model_at
from ..device.access import set_word, word
from ..device.content.lz4 import TABLE_ENTRIES, lz4_bytes, same_filled
from ..device.content.page_patterns import fill_page
from ..device.content.sizes import block_bytes, page_bytes
from ..device.figures.log_bin import bin_number
from ..device.figures.price import PAID_WORDS, price_row
from ..device.orders import pages_of
from ..layout.counters import N_COUNTERS
from ..layout.pages import PAGE_BYTES
from ..layout.size_classes import size_classes
from ..layout.words import PTE_PAYLOAD


@entry
def price_rows(rows: Any, prices: Any, paid: Any) -> None:
    """Price rows of counters by one list of prices; all arrays are flat (`price.price_row`)."""
    for row in range(len(paid) // PAID_WORDS):
        price_row(rows, row * N_COUNTERS, prices, 0, paid, row * PAID_WORDS)


@entry
def measure_blocks(
    arena: Any, base: Any, models: Any, order: int, sizes: Any, stored: Any, members: Any, pages: Any
) -> None:
    """Sizes of the aligned blocks of 2^order pages in the first region of device 0, all of whose pages are present.

    The device's content map must have room for a block and a page.

    Parameters
    ----------
    arena, base, models : arrays
        Records of all devices, where each starts, the one content model.
    order : int
        Order of the blocks.
    sizes, stored, members : int64 arrays of shape (blocks,)
        Filled with the codec's output, with what zram stores (0 if same-filled, the block's own bytes if it does not
        compress), and with the sum of the pages' own sizes.
    pages : int64 array of shape (4097,)
        Counts pages by what zram stores for each alone.
    """
    dev = device_at(arena, base, 0)
    model = model_at(models)
    n = pages_of(order)
    # The contents of a block side by side, in the content map, which identities do not need; one page alone before it.
    scratch = np.int64(dev.o_content_map) + 1
    for block in range(len(sizes)):
        total = np.int64(0)
        for i in range(n):
            frame = word(dev, np.int64(dev.o_pte) + block * n + i) & PTE_PAYLOAD
            content = word(dev, np.int64(dev.o_content) + frame)
            set_word(dev, scratch + i, content)
            set_word(dev, scratch - 1, content)
            total += block_bytes(dev, model, scratch - 1, np.int64(0), 0)
            pages[page_bytes(dev, model, content)] += 1
        size = block_bytes(dev, model, scratch, np.int64(order), 0)
        members[block] = total
        sizes[block] = size
        if order == 0:
            stored[block] = page_bytes(dev, model, word(dev, scratch))
        elif block_bytes(dev, model, scratch, np.int64(order), 1) == 0:
            stored[block] = 0
        else:
            stored[block] = PAGE_BYTES << order if size >= np.int64(dev.huge_block_bytes) else size


@entry
def fill_pages(codes: Any, word_table: Any, word_length: Any, out: Any, out_words: Any) -> None:
    """Bytes of every page of some codes (`page_patterns.fill_page`).

    Parameters
    ----------
    codes : int64 array of shape (pages,)
        What each page holds (`language.patterns`).
    word_table, word_length : uint8[32, 16], int64[32]
        Words of text, and how long each is.
    out, out_words : uint8[pages, 4096], uint64[pages, 512]
        The same memory twice, which is filled.
    """
    for i in range(codes.shape[0]):
        fill_page(np.int64(codes[i]), word_table, word_length, out, out_words, i)


@entry
def size_pages(pages: Any, huge_threshold: int, sizes: Any) -> None:
    """Stored size of every page of `pages` into `sizes` (`page_sizes`)."""
    table = np.zeros(TABLE_ENTRIES, np.uint16)
    for i in range(pages.shape[0]):
        page = pages[i]
        if same_filled(page) == 1:
            sizes[i] = 0
        else:
            compressed = lz4_bytes(page, table)
            if compressed >= huge_threshold:
                compressed = np.int64(PAGE_BYTES)
            sizes[i] = compressed


@entry
def fill_bins(values: Any, bins: Any) -> None:
    """Store the bin of every value."""
    for i in range(len(values)):
        bins[i] = bin_number(np.int64(values[i]))


def page_sizes(pages: NDArray[np.uint8], huge_threshold: int | None = None) -> NDArray[np.uint16]:
    """Bytes that zram stores for each page with lz4 (spec 08 §8.1).

    Parameters
    ----------
    pages : uint8[n, 4096]
        Contents of the pages.
    huge_threshold : int, optional
        Compressed size in bytes from which a page is stored raw; the default is that of the kernel's default
        chain size (3625, spec 08 §8.2).

    Returns
    -------
    uint16[n]
        Stored size in bytes: 0 for a same-filled page (no object), 4096 for a huge one, else the compressed
        size.

    Raises
    ------
    ValueError
        If `pages` has another shape or dtype.
    """
    if pages.dtype != np.uint8 or pages.ndim != 2 or pages.shape[1] != PAGE_BYTES:
        raise ValueError(f"pages: expected uint8[n, {PAGE_BYTES}], got {pages.dtype}{list(pages.shape)}")
    threshold = size_classes().huge_threshold_bytes if huge_threshold is None else huge_threshold
    sizes = np.zeros(pages.shape[0], np.uint16)
    size_pages(np.ascontiguousarray(pages), threshold, sizes)
    return sizes
