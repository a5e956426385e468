"""Page contents that replay scripts write: their names, their identities and their bytes.

A script's ``write`` names a pattern (``zero``, ``fill:BYTE``, ``rand:SEED``, ``text:SEED``, ``mix:SEED``;
source: README.md and oracle_ref.py of the replay corpus). What a page then holds depends on the pattern and
on the page's index in its region only, so a simulated page carries a *code* instead of 4096 bytes:

======== ======================================================
bits     holds
======== ======================================================
56..62   kind: 0 zero, 1 fill, 2 rand, 3 text
24..55   argument: the byte of a fill, the seed of rand and text
0..23    index of the page in its region; 0 for zero and fill
======== ======================================================

Codes are canonical as far as zram can tell a difference: ``fill:0`` is the zero page, a fill is the same page
wherever it lies, and ``mix`` resolves to one of the others. Code 0 is the page of zeros, so untouched memory
needs no code.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fleetswap_kernels.backend.host_calls import fill_pages
from fleetswap_kernels.device.content import page_patterns as kernel
from fleetswap_kernels.device.content.page_patterns import CLASS, FILL, MIX, RAND, TEXT, ZERO
from fleetswap_kernels.layout.pages import PAGE_BYTES

ZERO_CODE = 0
"""Code of the page of zeros."""

MAX_VERSIONS = 256
"""Versions that a class pattern can name: those that a content tells apart."""

MAX_PAGES = 1 << 24
"""Pages per region that a code can tell apart (64 GiB)."""

_KINDS = {"zero": ZERO, "fill": FILL, "rand": RAND, "text": TEXT, "mix": MIX}
_CLASS = "class"
_FORMS = "zero, fill:BYTE, rand:SEED, text:SEED, mix:SEED (numbers as in C: 17, 0x11, 021)"
# What strtoul(text, NULL, 0) reads to its end: where C would stop early, a typo deserves an error.
_NUMBER = re.compile(r"([+-]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|(?P<octal>0[0-7]*)|(?P<decimal>[1-9][0-9]*))")

_KIND_SHIFT = 56
_SEED_SHIFT = 24
_MIX_SEED = 0x2545F4914F6CDD1D
_M32 = 0xFFFFFFFF
_M64 = 0xFFFFFFFFFFFFFFFF
_M64_DIGITS = 20

_WORDS = (
    *("swap ", "folio ", "page ", "android ", "memory ", "the ", "of ", "and "),
    *("java.lang.", "String ", "Object ", "view ", "layout ", "bitmap ", "cache ", "list "),
    *("0x", "null ", "int ", "return ", "static ", "void ", "{ ", "} "),
    *("= ", "0, ", "1, ", "name ", "value ", "id ", "type ", "\n"),
)
_WORD_BYTES = 16
_WORD_LENGTH = np.array([len(word) for word in _WORDS], np.int64)
_WORD_TABLE = np.array([list(word.ljust(_WORD_BYTES, "\0").encode()) for word in _WORDS], np.uint8)


class Pattern(NamedTuple):
    """Content that a script's ``write`` fills its pages with.

    Attributes
    ----------
    kind : int
        `ZERO`, `FILL`, `RAND`, `TEXT`, `MIX` or `CLASS`.
    argument : int
        Byte of a fill (8 bits), version of a class, seed of the others (32 bits), 0 for ``zero``.
    name : str
        Name of a class.
    """

    kind: int
    argument: int
    name: str = ""


def parse_pattern(text: str) -> Pattern:
    """Read a pattern as the replay corpus writes it.

    Parameters
    ----------
    text : str
        ``zero``, ``fill:BYTE``, ``rand:SEED``, ``text:SEED`` or ``mix:SEED``. Numbers are those of C's
        ``strtoul`` with base 0 (decimal, 0x.., 0..); they are cut to 32 bits, a fill's to 8. A missing number
        is 0.

        An addition of the simulator is ``class:NAME[:VERSION]``, contents like those of a measured class.

    Returns
    -------
    Pattern
        The kind and its argument.

    Raises
    ------
    ValueError
        If the text is none of these.
    """
    name, _, digits = text.partition(":")
    if name == _CLASS:
        return _class_pattern(text, digits)
    if name not in _KINDS:
        raise ValueError(f"pattern {text!r}: unknown kind {name!r}; allowed: {_FORMS}")
    number = c_number(digits) if digits else 0
    if number is None:
        raise ValueError(f"pattern {text!r}: {digits!r} is not a number; allowed: {_FORMS}")
    kind = _KINDS[name]
    if kind == ZERO:
        return Pattern(ZERO, 0)
    return Pattern(kind, number & (0xFF if kind == FILL else _M32))


def _class_pattern(text: str, arguments: str) -> Pattern:
    name, _, digits = arguments.partition(":")
    version = c_number(digits) if digits else 0
    if not name or version is None or not 0 <= version < MAX_VERSIONS:
        raise ValueError(f"pattern {text!r}: expected class:NAME or class:NAME:VERSION, versions below {MAX_VERSIONS}")
    return Pattern(CLASS, version, name)


def c_number(digits: str) -> int | None:
    """Value of ``strtoul(digits, NULL, 0)``, or None where C would not read the whole text."""
    match = _NUMBER.fullmatch(digits)
    if match is None:
        return None
    if match["hex"]:
        magnitude = int(match["hex"], 16)
    elif match["octal"]:
        magnitude = int(match["octal"], 8)
    else:
        # More digits than 64 bits have say no more than that.
        magnitude = int(match["decimal"][: _M64_DIGITS + 1])
    if magnitude > _M64:
        # strtoul reports a number beyond 64 bits as the largest one, whatever its sign.
        return _M64
    return -magnitude & _M64 if match[1] == "-" else magnitude


def page_codes(pattern: Pattern, first: int, count: int) -> NDArray[np.int64]:
    """Identities of a run of pages after a pattern was written to them.

    Parameters
    ----------
    pattern : Pattern
        The pattern written.
    first : int
        Index in the region of the first page.
    count : int
        Number of pages.

    Returns
    -------
    int64[count]
        One code per page, ascending by page.

    Raises
    ------
    ValueError
        If a page is out of range 0 .. `MAX_PAGES` - 1.
    """
    if first < 0 or count < 0 or first + count > MAX_PAGES:
        raise ValueError(f"pages {first} to {first + count - 1}: allowed are 0 to {MAX_PAGES - 1}")
    kind, argument, _ = pattern
    pages = np.arange(first, first + count, dtype=np.int64)
    if kind == ZERO or (kind == FILL and argument == 0):
        return np.zeros(count, np.int64)
    if kind == FILL:
        return np.full(count, _pack(FILL, argument), np.int64)
    if kind in (RAND, TEXT):
        return _pack(kind, argument) + pages
    # uint64 arrays wrap as the replayer's C code does.
    start = np.uint64((argument * _MIX_SEED + 3) & _M64)
    draw = _splitmix(start + pages.astype(np.uint64) * kernel.MIX_PAGE)
    share = (draw % np.uint64(100)).astype(np.int64)
    code = np.where(share < 75, _pack(TEXT, argument) + pages, _pack(RAND, argument) + pages)
    code = np.where(share < 25, _pack(FILL, 0) + ((share + 1) << _SEED_SHIFT), code)
    return np.where(share < 10, ZERO_CODE, code)


def _pack(kind: int, argument: int) -> int:
    """Code of page 0 of a pattern."""
    return kind << _KIND_SHIFT | argument << _SEED_SHIFT


def _splitmix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """First draw of splitmix64 from each state."""
    z = state + kernel.GAMMA
    z = (z ^ (z >> kernel.SHIFT_30)) * kernel.MIX_1
    z = (z ^ (z >> kernel.SHIFT_27)) * kernel.MIX_2
    return z ^ (z >> kernel.SHIFT_31)


def pages_bytes(codes: ArrayLike) -> NDArray[np.uint8]:
    """Contents of many pages.

    Parameters
    ----------
    codes : array-like of int64[n]
        Codes as `page_codes` makes them.

    Returns
    -------
    uint8[n, 4096]
        The pages' bytes.

    Raises
    ------
    ValueError
        If a code is not one that `page_codes` makes.
    """
    wanted = np.ascontiguousarray(codes, np.int64).reshape(-1)
    bad = wanted[(wanted < 0) | (wanted >= _pack(MIX, 0))]
    if bad.size:
        raise ValueError(f"page code {int(bad[0]):#x}: its kind is none of 0 zero, 1 fill, 2 rand, 3 text")
    out = np.empty((wanted.size, PAGE_BYTES), np.uint8)
    # Interpreted, NumPy would warn of every multiplication that wraps; here wrapping is the definition.
    with np.errstate(over="ignore"):
        fill_pages(wanted, _WORD_TABLE, _WORD_LENGTH, out, out.view("<u8"))
    return out


def swap_header_page(max_pages: int) -> NDArray[np.uint8]:
    """Header that the corpus's replayer writes to offset 0 of a swap device: version 1, UUID of zeros.

    It is stored in zram like any page and counts in every ``mm_stat`` of the corpus (spec 08 §8.1).

    Parameters
    ----------
    max_pages : int
        Size of the swap device in pages, header included.

    Returns
    -------
    uint8[4096]
        The header page.

    Raises
    ------
    ValueError
        If the device has no room for a header and a page, or more pages than a header can say.
    """
    if not 2 <= max_pages <= 1 << 32:
        raise ValueError(f"max_pages: {max_pages} is not allowed; allowed: 2 to {1 << 32}")
    page = np.zeros(PAGE_BYTES, np.uint8)
    page[1024:1032] = np.array([1, max_pages - 1], "<u4").view(np.uint8)
    page[-10:] = np.frombuffer(b"SWAPSPACE2", np.uint8)
    return page
