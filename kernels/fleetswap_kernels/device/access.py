"""Reads and writes of a device's arrays: the only place that indexes the aliases of the header.

Loads give int64, so that interpreted and compiled arithmetic agree; indices are cut to uint32, which drops the
compiler's branch for negative ones. Loops over a run of elements index with uint64 and combine uint32 values as uint32:
then the compiler sees that neighbours stay neighbours and makes vector code or a memset of them.
"""

import numpy as np

from ..compile.decorators import device
from ..layout.device import Q_COUNTER


@device
def word(dev, o):
    """The uint32 at word offset `o`."""
    return np.int64(dev.w[np.uint32(o)])


@device
def set_word(dev, o, value):
    """Store a uint32 at word offset `o`."""
    dev.w[np.uint32(o)] = np.uint32(value)


@device
def byte(dev, o):
    """The uint8 at byte offset `o`."""
    return np.int64(dev.by[np.uint32(o)])


@device
def set_byte(dev, o, value):
    """Store a uint8 at byte offset `o`."""
    dev.by[np.uint32(o)] = np.uint8(value)


@device
def half(dev, o):
    """The uint16 at half-word offset `o`, of a device or of the content model."""
    return np.int64(dev.h[np.uint32(o)])


@device
def run_half_32(dev, o):
    """The uint16 at half-word offset `o` as a uint32, in a loop over neighbours that multiplies them."""
    return np.uint32(dev.h[np.uint64(o)])


@device
def set_half(dev, o, value):
    """Store a uint16 at half-word offset `o`."""
    dev.h[np.uint32(o)] = np.uint16(value)


@device
def run_word(dev, o):
    """The uint32 at word offset `o`, in a loop over neighbours."""
    return np.int64(dev.w[np.uint64(o)])


@device
def run_half(dev, o):
    """The uint16 at half-word offset `o`, in a loop over neighbours."""
    return np.int64(dev.h[np.uint64(o)])


@device
def set_run_half(dev, o, value):
    """Store a uint16 at half-word offset `o`, in a loop over neighbours."""
    dev.h[np.uint64(o)] = np.uint16(value)


@device
def quad(dev, o):
    """The uint64 at quad offset `o`, as int64."""
    return np.int64(dev.q[np.uint32(o)])


@device
def set_quad(dev, o, value):
    """Store a uint64 at quad offset `o`."""
    dev.q[np.uint32(o)] = np.uint64(value)


@device
def count(dev, counter, n):
    """Add `n` to a counter."""
    o = np.uint32(Q_COUNTER + counter)
    dev.q[o] = np.uint64(np.int64(dev.q[o]) + n)


@device
def counter_value(dev, counter):
    """Value of a counter."""
    return np.int64(dev.q[np.uint32(Q_COUNTER + counter)])


@device
def fill_words(dev, o, n, value):
    """Store `value` in `n` words from `o`, at least one.

    The first store stands alone: single pages are the common case, and a loop has a costly entry.
    """
    v = np.uint32(value)
    dev.w[np.uint32(o)] = v
    for i in range(1, n):
        dev.w[np.uint64(o + i)] = v


@device
def fill_bytes(dev, o, n, value):
    """Store `value` in `n` bytes from `o`, at least one."""
    v = np.uint8(value)
    dev.by[np.uint32(o)] = v
    for i in range(1, n):
        dev.by[np.uint64(o + i)] = v


@device
def fill_halves(dev, o, n, value):
    """Store `value` in `n` half-words from `o`, at least one."""
    v = np.uint16(value)
    dev.h[np.uint32(o)] = v
    for i in range(1, n):
        dev.h[np.uint64(o + i)] = v


@device
def number_words(dev, o, n, first):
    """Store first, first + 1, ... in `n` words from `o`, at least one."""
    dev.w[np.uint32(o)] = np.uint32(first)
    for i in range(1, n):
        dev.w[np.uint64(o + i)] = np.uint32(first + i)


@device
def copy_words(dev, to, source, n):
    """Copy `n` words."""
    for i in range(n):
        dev.w[np.uint64(to + i)] = dev.w[np.uint64(source + i)]


@device
def words_differ(dev, o, n, first):
    """Whether the `n` words from `o` are anything but first, first + 1, ..."""
    diff = np.uint32(0)
    for i in range(n):
        diff = np.uint32(diff | (dev.w[np.uint64(o + i)] ^ np.uint32(first + i)))
    return diff != np.uint32(0)


@device
def any_byte(dev, o, n):
    """Whether one of `n` bytes from `o` is not zero; `n` is 1 or a power of two from 4 on, `o` a multiple of it."""
    if n < 8:
        if n == 4:
            return dev.w[np.uint32(o >> 2)] != np.uint32(0)
        return dev.by[np.uint32(o)] != np.uint8(0)
    for i in range(n >> 3):
        if dev.q[np.uint32((o >> 3) + i)] != np.uint64(0):
            return True
    return False


@device
def or_words(dev, o, n):
    """Bitwise or of `n` words."""
    seen = np.uint32(0)
    for i in range(n):
        seen = np.uint32(seen | dev.w[np.uint64(o + i)])
    return np.int64(seen)


@device
def fail(dev, code, detail):
    """Report an impossible state: the first one is kept, and the interpreter stops before the next operation."""
    if dev.error == 0:
        dev.error = np.uint32(code)
        dev.error_detail = np.uint32(detail)
