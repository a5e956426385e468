"""Bytes of pages that scripts write: filled, random, or text (README.md and oracle_ref.py of the replay corpus)."""

import numpy as np

from ...compile.decorators import device
from ...layout.pages import PAGE_BYTES

ZERO, FILL, RAND, TEXT, MIX, CLASS = range(6)
"""Kinds of pattern; a code never has kind `MIX` or `CLASS`: the one resolves to others, the other has no bytes."""

# Unsigned constants: uint64 mixed with a signed literal would become a float in Numba.
GAMMA = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
MIX_PAGE = np.uint64(0xD6E8FEB8)
SEED_FACTOR = np.uint64(0x100000001B3)
RAND_PAGE = np.uint64(0x9E3779B1)
RAND_ADD = np.uint64(1)
TEXT_PAGE = np.uint64(0x85EBCA77)
TEXT_ADD = np.uint64(7)
SHIFT_30 = np.uint64(30)
SHIFT_27 = np.uint64(27)
SHIFT_31 = np.uint64(31)
SHIFT_5 = np.uint64(5)


@device
def fill_page(code, word_table, word_length, out, out_words, i):
    """Bytes of the page of a code into row `i`: `out` is uint8[n, 4096], `out_words` the same memory as uint64[n, 512].

    Parameters
    ----------
    code : int64
        What the page holds (`language.patterns`).
    word_table, word_length : uint8[32, 16], int64[32]
        Words of text, and how long each is.
    out, out_words : arrays
        Memory that is filled.
    i : int64
        Row.
    """
    kind = code >> 56
    seed = np.uint64((code >> 24) & 0xFFFFFFFF)
    page = np.uint64(code & 0xFFFFFF)
    if kind == TEXT:
        state = seed * SEED_FACTOR + page * TEXT_PAGE + TEXT_ADD
        filled = 0
        while filled < PAGE_BYTES:
            state += GAMMA
            z = (state ^ (state >> SHIFT_30)) * MIX_1
            z = (z ^ (z >> SHIFT_27)) * MIX_2
            z ^= z >> SHIFT_31
            for _ in range(12):
                word = np.int64(z & SHIFT_31)
                z >>= SHIFT_5
                # Always 16 bytes where they fit: a copy of fixed size is one store; the next overwrites
                # the surplus.
                if filled <= PAGE_BYTES - 16:
                    for b in range(16):
                        out[i, filled + b] = word_table[word, b]
                else:
                    for b in range(min(word_length[word], PAGE_BYTES - filled)):
                        out[i, filled + b] = word_table[word, b]
                filled += word_length[word]
    elif kind == RAND:
        state = seed * SEED_FACTOR + page * RAND_PAGE + RAND_ADD
        for k in range(512):
            state += GAMMA
            z = (state ^ (state >> SHIFT_30)) * MIX_1
            z = (z ^ (z >> SHIFT_27)) * MIX_2
            out_words[i, k] = z ^ (z >> SHIFT_31)
    else:
        # Zero and fill alike: the argument of the zero page is 0.
        for b in range(PAGE_BYTES):
            out[i, b] = np.uint8(seed)
