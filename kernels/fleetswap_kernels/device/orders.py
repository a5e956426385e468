"""Orders: a folio, a block of frames or a swap entry of an order has 2^order pages and starts at a multiple of them."""

import numpy as np

from ..compile.decorators import device


@device
def pages_of(order):
    """Pages, frames or slots of an order."""
    return np.int64(1) << order


@device
def aligned_start(number, order):
    """First frame or slot of the aligned block of an order around the one of this number: a folio's head."""
    return number >> order << order
