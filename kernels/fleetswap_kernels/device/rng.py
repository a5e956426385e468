"""Random numbers of the device logic: counter-based Philox, a hash that it keys, and the C library's ``rand()``.

Philox4x32-10 (Salmon et al., SC'11) is a pure function of a 64-bit key and a 128-bit counter, so a draw
depends only on its own coordinates: no generator state exists, and neither the sharding nor the order of the
devices can change a result. The packing of the coordinates is injective within the widths below; a value that
is too wide is cut to its field, so it can never disturb its neighbours.

======== ===================== ====================== ======================================
word     bits                  holds                  width
======== ===================== ====================== ======================================
key 0    0..31                 seed, low half         seed: 64 bits in all
key 1    0..31                 seed, high half
counter0 0..31                 draw >> 2              draw: 34 bits (low two bits pick the
                                                      output word of the block)
counter1 0..31                 step                   32 bits
counter2 0..23                 process                24 bits
counter2 24..31                stream                 8 bits
counter3 0..31                 device                 32 bits
======== ===================== ====================== ======================================

glibc's ``rand()`` is needed because replay scripts draw their pages with it (``srand``, ``randwrite``,
``randdontneed``). Its state is 32 words inside a caller's array: 31 words of table, one word of position.
"""

from __future__ import annotations

import numpy as np

from ..compile.decorators import device

_GLIBC_DEGREE = 31
_GLIBC_SEPARATION = 3

# Unsigned constants: uint64 mixed with a signed literal would become a float in Numba.
_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_MIX_0 = np.uint64(0x7FEB352D)
_MIX_1 = np.uint64(0x846CA68B)
_FIFTEEN = np.uint64(15)
_SIXTEEN = np.uint64(16)
_HALF = np.uint64(32)


@device
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10 block function.

    Parameters
    ----------
    c0, c1, c2, c3 : int64
        Counter words, each 0 .. 2**32 - 1.
    k0, k1 : int64
        Key words, each 0 .. 2**32 - 1.

    Returns
    -------
    tuple of 4 int64
        The block's four random words, each 0 .. 2**32 - 1.
    """
    x0 = np.uint64(c0) & _LOW
    x1 = np.uint64(c1) & _LOW
    x2 = np.uint64(c2) & _LOW
    x3 = np.uint64(c3) & _LOW
    key0 = np.uint64(k0) & _LOW
    key1 = np.uint64(k1) & _LOW
    for _ in range(10):
        # 32 x 32 bits fit 64, so neither product wraps and interpreted runs stay free of overflow warnings.
        product0 = _MULTIPLIER_0 * x0
        product1 = _MULTIPLIER_1 * x2
        x0 = (product1 >> _HALF) ^ x1 ^ key0
        x1 = product1 & _LOW
        x2 = (product0 >> _HALF) ^ x3 ^ key1
        x3 = product0 & _LOW
        key0 = (key0 + _WEYL_0) & _LOW
        key1 = (key1 + _WEYL_1) & _LOW
    return np.int64(x0), np.int64(x1), np.int64(x2), np.int64(x3)


@device
def philox_block(seed, stream, device_id, process, step, block):
    """Draws ``4 * block`` to ``4 * block + 3`` of one (stream, device, process, step) at the price of one.

    Parameters
    ----------
    seed : int64
        Seed of the run, all 64 bits used.
    stream : int64
        Purpose of the draw, 8 bits.
    device_id : int64
        Number of the device in the fleet (not in the shard), 32 bits.
    process : int64
        Number of the process in the device, 24 bits.
    step : int64
        Simulation step, 32 bits.
    block : int64
        Number of the block of four draws in the step, 32 bits.

    Returns
    -------
    tuple of 4 int64
        Random words, each 0 .. 2**32 - 1.
    """
    return philox4x32(
        block & 0xFFFFFFFF,
        step & 0xFFFFFFFF,
        ((stream & 0xFF) << 24) | (process & 0xFFFFFF),
        device_id & 0xFFFFFFFF,
        seed & 0xFFFFFFFF,
        (seed >> 32) & 0xFFFFFFFF,
    )


@device
def hash_word(n, key_a, key_b):
    """One random word of a series whose keys were drawn by Philox: for draws that are too many for Philox.

    A multiply-xorshift hash (lowbias32 of Wellons' hash-prospector, with a second key in its middle): two dependent
    multiplications, where a Philox block has ten pairs. What tells series apart must go into the first key: the second
    one passes one multiplication only, and series whose second keys are related are correlated.

    Parameters
    ----------
    n : int64
        Number in the series, 0 .. 2**32 - 1.
    key_a, key_b : int64
        Keys, each 0 .. 2**32 - 1.

    Returns
    -------
    int64
        0 .. 2**32 - 1.
    """
    x = (np.uint64(n) ^ np.uint64(key_a)) & _LOW
    x = ((x ^ (x >> _SIXTEEN)) * _MIX_0 & _LOW) ^ (np.uint64(key_b) & _LOW)
    x = (x ^ (x >> _FIFTEEN)) * _MIX_1 & _LOW
    return np.int64(x ^ (x >> _SIXTEEN))


@device
def word_of_draw(draw, w0, w1, w2, w3):
    """The word of a draw among the four of its block.

    Parameters
    ----------
    draw : int64
        Number of the draw; its block has four.
    w0, w1, w2, w3 : int64
        Words of the block.
    """
    # No indexing of a tuple: a variable index would put it into local memory on a GPU.
    lane = draw & 3
    if lane == 0:
        return w0
    if lane == 1:
        return w1
    if lane == 2:
        return w2
    return w3


@device
def philox_draw(seed, stream, device_id, process, step, draw):
    """One random word as a pure function of its coordinates.

    Parameters
    ----------
    seed : int64
        Seed of the run, all 64 bits used.
    stream : int64
        Purpose of the draw, 8 bits.
    device_id : int64
        Number of the device in the fleet (not in the shard), 32 bits.
    process : int64
        Number of the process in the device, 24 bits.
    step : int64
        Simulation step, 32 bits.
    draw : int64
        Number of the draw in the step, 34 bits.

    Returns
    -------
    int64
        Random word, 0 .. 2**32 - 1; draw ``d`` is word ``d & 3`` of ``philox_block(..., d >> 2)``.
    """
    w0, w1, w2, w3 = philox_block(seed, stream, device_id, process, step, draw >> 2)
    return word_of_draw(draw, w0, w1, w2, w3)


@device
def seed_of(dev):
    """Seed of the run, from its two words in a device's header."""
    return np.int64(dev.seed_lo) | np.int64(dev.seed_hi) << 32


@device
def draw_words(dev, stream, process, step, block):
    """Four random words of a device, by their coordinates in it (`philox_block`).

    Parameters
    ----------
    stream : int64
        Purpose of the draw (`streams.Stream`).
    process, step, block : int64
        Coordinates, which the stream gives a meaning: whose draw it is, which one, and which block of four.

    Returns
    -------
    tuple of 4 int64
        Random words, each 0 .. 2**32 - 1.
    """
    return philox_block(seed_of(dev), stream, np.int64(dev.device_id), process, step, block)


@device
def glibc_next(w, o):
    """Advance a glibc TYPE_3 generator: what C's ``rand()`` returns next.

    Parameters
    ----------
    w : array-like of uint32
        Words that hold the state; only ``w[o] .. w[o + 31]`` are touched.
    o : int64
        Index of the first state word.

    Returns
    -------
    int64
        Value of 0 .. 2**31 - 1.
    """
    rear = np.int64(w[np.uint32(o + _GLIBC_DEGREE)])
    front = rear + _GLIBC_SEPARATION
    if front >= _GLIBC_DEGREE:
        front -= _GLIBC_DEGREE
    value = (np.int64(w[np.uint32(o + front)]) + np.int64(w[np.uint32(o + rear)])) & 0xFFFFFFFF
    w[np.uint32(o + front)] = np.uint32(value)
    rear += 1
    if rear == _GLIBC_DEGREE:
        rear = np.int64(0)
    w[np.uint32(o + _GLIBC_DEGREE)] = np.uint32(rear)
    return value >> 1


@device(cpu="call")
def glibc_seed(w, o, seed):
    """Start a glibc TYPE_3 generator: what C's ``srand(seed)`` does.

    Parameters
    ----------
    w : array-like of uint32
        Words that hold the state; ``w[o] .. w[o + 31]`` are written.
    o : int64
        Index of the first state word.
    seed : int64
        Argument of ``srand``, cut to 32 bits; 0 means 1.
    """
    word = np.int64(seed) & 0xFFFFFFFF
    if word == 0:
        word = np.int64(1)
    w[np.uint32(o)] = np.uint32(word)
    # glibc keeps the running word as int32_t and divides towards zero; only the seed itself can be negative.
    if word >= 0x80000000:
        word -= 0x100000000
    for i in range(1, _GLIBC_DEGREE):
        high = -(-word // 127773) if word < 0 else word // 127773
        word = 16807 * (word - 127773 * high) - 2836 * high
        if word < 0:
            word += 2147483647
        w[np.uint32(o + i)] = np.uint32(word)
    w[np.uint32(o + _GLIBC_DEGREE)] = np.uint32(0)
    for _ in range(10 * _GLIBC_DEGREE):
        glibc_next(w, o)
