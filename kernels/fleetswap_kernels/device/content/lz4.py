"""Size in bytes of a page after the kernel's LZ4 fast compressor, without producing the compressed bytes.

User-space liblz4 gives other sizes than the kernel, so the compressor's search is followed step by step
(spec 08 §8.4).
"""

from __future__ import annotations

import numpy as np

from ...compile.decorators import device
from ...layout.pages import PAGE_BYTES

"""Bytes of one page."""

TABLE_ENTRIES = 8192
"""Entries of the hash table of the compressor's 16-bit variant (spec 08 §8.4)."""

_LAST_START = PAGE_BYTES - 12
_MATCH_END = PAGE_BYTES - 5
_SKIP_SHIFT = 6
_HASH_MULTIPLIER = np.uint64(2654435761)
_LOW = np.uint64(0xFFFFFFFF)
_HASH_SHIFT = np.uint64(19)
_BYTE_1 = np.uint64(8)
_BYTE_2 = np.uint64(16)
_BYTE_3 = np.uint64(24)


@device
def _word(page, p):
    """Little-endian 4-byte word at byte offset `p` of `page`, as uint64."""
    # 64-bit indices cannot wrap between the four loads, so the compiler merges them into one.
    return (
        np.uint64(page[np.uint64(p)])
        | (np.uint64(page[np.uint64(p + 1)]) << _BYTE_1)
        | (np.uint64(page[np.uint64(p + 2)]) << _BYTE_2)
        | (np.uint64(page[np.uint64(p + 3)]) << _BYTE_3)
    )


@device
def _hash(word):
    """Table index of a 4-byte word, 0 .. 8191 (spec 08 §8.4)."""
    # 32 x 32 bits fit 64: the wrap to 32 bits is the explicit mask, not an overflow.
    return np.uint32(((word * _HASH_MULTIPLIER) & _LOW) >> _HASH_SHIFT)


@device
def _extension(length):
    """Bytes a length field takes beyond its 4 bits in the token (spec 08 §8.4)."""
    if length < 15:
        return np.int64(0)
    return np.int64(1) + (length - 15) // 255


@device
def lz4_bytes(page, table):
    """Compressed size of one page by the kernel's LZ4 fast compressor, acceleration 1 (spec 08 §8.4).

    Parameters
    ----------
    page : uint8[4096]
        Contents of the page.
    table : uint16[8192] or uint32[8192]
        Scratch memory; its contents on entry do not matter.

    Returns
    -------
    int64
        Compressed size in bytes; above 4096 for incompressible pages.
    """
    for i in range(TABLE_ENTRIES):
        table[np.uint32(i)] = 0
    # Position 0 is what an empty entry means too, so T[hash(0)] = 0 is already there.
    size = np.int64(0)
    anchor = np.int64(0)
    ip = np.int64(1)
    match = np.int64(0)
    # The word that the last hash was taken from: a search step compares it without loading it again.
    ahead = _word(page, ip)
    finished = False
    while not finished:
        following = ip
        step = np.int64(1)
        attempts = np.int64(1 << _SKIP_SHIFT)
        while True:
            slot = _hash(ahead)
            here = ahead
            ip = following
            following += step
            step = attempts >> _SKIP_SHIFT
            attempts += 1
            if following > _LAST_START:
                finished = True
                break
            match = np.int64(table[slot])
            ahead = _word(page, following)
            table[slot] = ip
            if _word(page, match) == here:
                break
        if finished:
            break

        while ip > anchor and match > 0 and page[np.uint64(ip - 1)] == page[np.uint64(match - 1)]:
            ip -= 1
            match -= 1
        size += 1 + (ip - anchor) + _extension(ip - anchor)

        while True:
            ip += 4
            match += 4
            start = ip
            while ip < _MATCH_END and page[np.uint64(ip)] == page[np.uint64(match)]:
                ip += 1
                match += 1
            size += 2 + _extension(ip - start)
            anchor = ip
            if ip > _LAST_START:
                finished = True
                break
            table[_hash(_word(page, ip - 2))] = ip - 2
            here = _word(page, ip)
            slot = _hash(here)
            match = np.int64(table[slot])
            table[slot] = ip
            if _word(page, match) != here:
                ip += 1
                ahead = _word(page, ip)
                break
            # A match right behind a match: its token carries no literals.
            size += 1
    literals = PAGE_BYTES - anchor
    return size + 1 + literals + _extension(literals)


@device
def same_filled(page):
    """Whether all 512 machine words of a page are equal: such a page takes no zsmalloc object (spec 08 §8.1).

    Parameters
    ----------
    page : uint8[4096]
        Contents of the page.

    Returns
    -------
    int64
        1 if all words are equal (zero included), else 0.
    """
    # Every byte equals the byte one word further on. Eight pieces of 511 bytes: a loop without an exit inside
    # vectorises, and pages that differ early are left after the first piece.
    for piece in range(8):
        difference = np.uint8(0)
        for i in range(511 * piece, 511 * piece + 511):
            difference |= page[np.uint32(i)] ^ page[np.uint32(i + 8)]
        if difference != 0:
            return np.int64(0)
    return np.int64(1)
