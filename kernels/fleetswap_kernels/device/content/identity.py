"""Content identities: which page of which measured block a page of memory is like.

A content word below 2^31 is an entry of the device's content table. One above is an identity, a pure function of
(seed, device, process, page, class, version), from which `compressed` reads the page's size and its block's:

======== =====================================================================================
bits     holds
======== =====================================================================================
31       1
30       the page was rewritten on its own: its block is no longer the prototype's
25..29   class
17..24   version, low bits
12..16   scale level of the process
4..11    prototype of the 64 KiB block around the page
0..3     page inside the block: the pages of a block are consecutive numbers
======== =====================================================================================

A page that the model says is zero-filled is CONTENT_ZERO like any other: the next write finds it new. Versions are told
apart by their low bits.
"""

import numpy as np

from ...compile.decorators import device
from ...layout.content_model import PROTOTYPES, PageKind
from ...layout.device import PROC_SCALE, PROC_SERIAL
from ...layout.streams import Stream
from ...layout.words import CONTENT_ZERO
from ..access import half, set_word, word
from ..regions import proc_at
from ..rng import draw_words

IDENTITY = 1 << 31
REWRITTEN = 1 << 30
CLASS_SHIFT = 25
VERSION_SHIFT = 17
VERSION = 0xFF << VERSION_SHIFT
SCALE_SHIFT = 12
PROTOTYPE_SHIFT = 4
MEMBER = 15

REGION_BLOCKS_SHIFT = 5
"""64 KiB blocks of a 2 MiB region, as a power of two."""
RUN_BLOCKS_SHIFT = 2
"""64 KiB blocks of a run, as a power of two."""
REGION_STRIDE = 159
"""Neighbouring regions are so many prototypes apart, modulo 256: any 256 of them meet each one once. How a process
differs from others of its class is its scale's business, not that of chance between its regions."""
KEEPS_SIZE = 3650722202
"""0.85 in 2^-32: how often a page that is rewritten keeps its size (mean rank correlation of six processes)."""


@device
def word_class(content):
    """Class of an identity."""
    return content >> CLASS_SHIFT & 31


@device
def page_kinds(model, content):
    """What the 16 pages of an identity's prototype are, two bits each (`PageKind`)."""
    o = model.o_kind + (word_class(content) * PROTOTYPES + (content >> PROTOTYPE_SHIFT & 255)) * 2
    return half(model, o) | half(model, o + 1) << 16


@device
def page_kind(model, content):
    """What an identity's page is (`PageKind`)."""
    member = content & MEMBER
    o = model.o_kind + (word_class(content) * PROTOTYPES + (content >> PROTOTYPE_SHIFT & 255)) * 2 + (member >> 3)
    return half(model, o) >> (2 * (member & 7)) & 3


@device
def draw_prototype(dev, model, serial, content_class, block, version):
    """Prototype of a 64 KiB block.

    A block is like its region, or like nothing around it; with some probability the choice, and what it is like, is
    that of its run of four blocks.

    Parameters
    ----------
    serial : int64
        Number of the process among all that the device ever had.
    content_class : int64
        Class of what is written.
    block : int64
        Number of the block in the address space.
    version : int64
        Version of the write.
    """
    key = version << 5 | content_class
    chance, rank, jitter, run = draw_words(dev, Stream.BLOCK, serial, block, key)
    follows_run = run >> 16 < half(model, model.o_run + content_class)
    if follows_run:
        chance, rank, _, _ = draw_words(dev, Stream.RUN, serial, block >> RUN_BLOCKS_SHIFT, key)
    index = rank >> 24
    if chance >> 16 < half(model, model.o_region + content_class):
        start, _, _, _ = draw_words(dev, Stream.REGION, serial, 0, content_class)
        index = (start + (block >> REGION_BLOCKS_SHIFT) * REGION_STRIDE) & 255
    elif not follows_run:
        return index
    index += (jitter >> 27) - 16
    if index < 0:
        index = -1 - index
    elif index > 255:
        index = 511 - index
    return index


@device
def draw_scale(dev, serial):
    """Scale level of a process: 16 and a spread of 2.8 levels, as 32 tosses of a coin have; a quarter in size."""
    if dev.scale_by_process == 0:
        return np.int64(16)
    bits, _, _, _ = draw_words(dev, Stream.SCALE, serial, 0, 0)
    heads = np.int64(0)
    for i in range(32):
        heads += bits >> i & 1
    return min(heads, np.int64(31))


@device
def new_identity(dev, o_proc):
    """Number a new process and draw the scale of its contents; `o_proc` is the word offset of its record."""
    serial = np.int64(dev.procs_made)
    dev.procs_made = np.uint32(serial + 1)
    set_word(dev, o_proc + PROC_SERIAL, serial)
    set_word(dev, o_proc + PROC_SCALE, draw_scale(dev, serial))


@device(cpu="call", cuda="call")
def draw_rewritten(dev, serial, vpn, version, old):
    """Identity of a page that is rewritten while its block stays: mostly its size stays, too.

    Parameters
    ----------
    serial : int64
        Number of the process among all that the device ever had.
    vpn : int64
        Virtual page number.
    version : int64
        Version of the write.
    old : int64
        Identity of the page so far.
    """
    chance, other, _, _ = draw_words(dev, Stream.PAGE, serial, vpn, version)
    content = old & ~VERSION | REWRITTEN | (version << VERSION_SHIFT & VERSION)
    if chance >= KEEPS_SIZE:
        content = content & ~((PROTOTYPES - 1) << PROTOTYPE_SHIFT) | (other >> 24) << PROTOTYPE_SHIFT
    return content


@device(cpu="call", cuda="call")
def block_identity(dev, model, p, block, content_class, version):
    """Identity of the first page of a 64 KiB block that a process writes as a whole or for the first time.

    Parameters
    ----------
    p : int64
        Process.
    block : int64
        Number of the block in the address space.
    content_class, version : int64
        Class of what is written, and version of the write.
    """
    o_proc = proc_at(dev, p)
    prototype = draw_prototype(dev, model, word(dev, o_proc + PROC_SERIAL), content_class, block, version)
    content = IDENTITY | content_class << CLASS_SHIFT | prototype << PROTOTYPE_SHIFT
    return content | word(dev, o_proc + PROC_SCALE) << SCALE_SHIFT | (version << VERSION_SHIFT & VERSION)


@device
def is_new(content_class, whole_block, old):
    """Whether a write makes a page part of a new block; else it rewrites the page alone.

    Parameters
    ----------
    content_class : int64
        Class of what is written.
    whole_block : bool
        Whether the write covers the 64 KiB block around the page.
    old : int64
        Content of the page so far.
    """
    return old < IDENTITY or whole_block or word_class(old) != content_class


@device
def page_of_block(block, kinds, member):
    """Content of a page of a new block, whose `page_kinds` are known: CONTENT_ZERO or an identity."""
    return np.int64(CONTENT_ZERO) if kinds >> 2 * member & 3 == PageKind.ZERO_PAGE else block | member


@device
def rewritten_page(dev, model, p, vpn, version, old):
    """Content of a page after a write to it alone: CONTENT_ZERO or an identity.

    Parameters
    ----------
    p : int64
        Process.
    vpn : int64
        Virtual page number.
    version : int64
        Version of the write.
    old : int64
        Identity of the page so far.
    """
    if old & VERSION == version << VERSION_SHIFT & VERSION:
        return old
    content = draw_rewritten(dev, word(dev, proc_at(dev, p) + PROC_SERIAL), vpn, version, old)
    return np.int64(CONTENT_ZERO) if page_kind(model, content) == PageKind.ZERO_PAGE else content
