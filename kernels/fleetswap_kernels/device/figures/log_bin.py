"""The bin of one value in a log histogram (`log_bins`)."""

import numpy as np

from ...compile.decorators import device

SUB_BITS = 5
"""Bins per octave as a power of two. Part of the format of histograms."""
LAST_BIN = ((63 - SUB_BITS) << SUB_BITS) + (1 << SUB_BITS)
"""Bin of the magnitude 2 ** 63."""
BINS = 2 * LAST_BIN + 1
"""Number of bins: those of both signs, and zero."""
LEAST = -(1 << 63)


@device
def bin_number(value):
    """Bin of an int64, from -LAST_BIN to LAST_BIN."""
    if value == LEAST:  # has no magnitude in 64 bits
        return np.int64(-LAST_BIN)
    magnitude = abs(value)
    spread = magnitude >> (SUB_BITS + 1)
    extra = np.int64(0)
    for shift in (32, 16, 8, 4, 2, 1):
        if spread >> shift:
            spread >>= shift
            extra += shift
    extra += spread
    number = (extra << SUB_BITS) + (magnitude >> extra)
    return -number if value < 0 else number
