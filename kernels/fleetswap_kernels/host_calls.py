"""Device functions that the host calls on arrays of its own: prices of counters, sizes of blocks."""

import numpy as np

from .access import set_word, word
from .bits import PTE_PAYLOAD
from .compressed import block_bytes, page_bytes
from .counters import N_COUNTERS
from .jit import entry
from .pages import PAGE_BYTES
from .price import PAID_WORDS, price_row
from .views import device_at, model_at


@entry
def price_rows(rows, prices, paid):
    """Price rows of counters by one list of prices; all arrays are flat (`price.price_row`)."""
    for row in range(len(paid) // PAID_WORDS):
        price_row(rows, row * N_COUNTERS, prices, 0, paid, row * PAID_WORDS)


@entry
def measure_blocks(arena, base, models, order, sizes, stored, members, pages):
    """Sizes of the aligned blocks of 2^order pages in the first region of device 0, all of whose pages are present.

    The device's content map must have room for a block and a page.

    Parameters
    ----------
    sizes, stored, members : int64 arrays of shape (blocks,)
        Filled with the codec's output, with what zram stores (0 if same-filled, the block's own bytes if it does not
        compress), and with the sum of the pages' own sizes.
    pages : int64 array of shape (4097,)
        Counts pages by what zram stores for each alone.
    """
    dev = device_at(arena, base, 0)
    model = model_at(models)
    n = np.int64(1) << order
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
