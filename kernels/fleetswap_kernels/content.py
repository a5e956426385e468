"""What a swap slot reads back as (spec 05 §5.2 step 4; mm/page_io.c swap_read_folio)."""

import numpy as np

from .access import byte, set_word, word
from .bits import CONTENT_ZERO
from .jit import device


@device
def zeromap_bit(dev, slot):
    """The zero-page bit of a slot."""
    return byte(dev, dev.o_zeromap + (slot >> 3)) >> (slot & 7) & 1


@device
def zeromap_mixed(dev, slot, n):
    """Whether the zero-page bits of an aligned block of at least 4 slots differ."""
    if n == 4:
        nibble = byte(dev, dev.o_zeromap + (slot >> 3)) >> (slot & 4) & 15
        return nibble != 0 and nibble != 15
    o = dev.o_zeromap + (slot >> 3)
    first = byte(dev, o)
    if first != 0 and first != 255:
        return True
    for i in range(1, n >> 3):
        if byte(dev, o + i) != first:
            return True
    return False


@device
def stored_content(dev, slot):
    """Content zram returns for a slot; an empty slot reads as zeros."""
    return max(word(dev, dev.o_stored + slot), np.int64(CONTENT_ZERO))


@device
def slot_content(dev, slot):
    """Content of a swapped-out page, from the zero-page bitmap or from zram."""
    if zeromap_bit(dev, slot):
        return CONTENT_ZERO
    return stored_content(dev, slot)


@device
def read_stored(dev, head, slot, n):
    """Read `n` slots from zram into a folio."""
    o_content = np.int64(dev.o_content) + head
    o_stored = np.int64(dev.o_stored) + slot
    for i in range(n):
        set_word(dev, o_content + i, max(word(dev, o_stored + i), np.int64(CONTENT_ZERO)))
