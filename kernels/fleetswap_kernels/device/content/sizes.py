"""Compressed sizes of pages and blocks, read from their identities with integers only (data/content/README.md)."""

from enum import IntEnum, unique

import numpy as np

from ...compile.decorators import device
from ...layout.codecs import CODECS
from ...layout.content_model import (
    GAIN_BINS, GAIN_KNOTS, GAIN_ORDERS, PROTOTYPES, PROTOTYPE_SIZES, SCALE_ONE, SCALE_SHIFT, PageKind,
)  # fmt: skip
from ...layout.counters import CLASS_OF_TABLE
from ...layout.pages import PAGE_BYTES
from ...layout.words import CONTENT_ZERO
from ..access import half, word, words_differ
from ..orders import pages_of
from .identity import IDENTITY, MEMBER, PROTOTYPE_SHIFT, REWRITTEN, page_kind, page_kinds, word_class
from .identity import SCALE_SHIFT as LEVEL_SHIFT

HUGE_BYTES = PAGE_BYTES
"""Stored size of a page that did not compress below the huge threshold."""


@unique
class Likeness(IntEnum):
    """How far a block is that of a prototype."""

    NONE = 0
    PROTOTYPE = 1
    """All of it was written together."""
    SAME_FILLED = 2
    """That, and every page of it is same-filled."""


@device
def content_class(content):
    """Class of a content; contents of a table belong to none."""
    if content < IDENTITY:
        return np.int64(CLASS_OF_TABLE)
    return word_class(content)


@device
def measured_bytes(dev, model, content, entry):
    """Size of a sub-block of a page's prototype, before the scale."""
    row = word_class(content) * PROTOTYPES + (content >> PROTOTYPE_SHIFT & 255)
    return half(model, model.o_sizes + (row * len(CODECS) + np.int64(dev.codec)) * PROTOTYPE_SIZES + entry)


@device
def scale_factor(model, content):
    """The scale of a content in 2^-SCALE_SHIFT."""
    return half(model, model.o_scale + (content >> LEVEL_SHIFT & 31))


@device
def scaled_bytes(model, size, content, most):
    """A size times the scale of a content, from 1 to `most`."""
    level = content >> LEVEL_SHIFT & 31
    if level == SCALE_ONE:
        return size
    return max(min(size * scale_factor(model, content) >> SCALE_SHIFT, most), np.int64(1))


@device
def page_bytes(dev, model, content):
    """What zram stores for one page: 0 if same-filled, 4096 if it does not compress (spec 08 §8.1)."""
    if content < IDENTITY:
        return word(dev, dev.o_content_bytes + content)
    member = content & MEMBER
    if page_kind(model, content) != PageKind.ORDINARY:
        return np.int64(0)
    size = scaled_bytes(model, measured_bytes(dev, model, content, member), content, np.int64(PAGE_BYTES))
    return np.int64(HUGE_BYTES) if size >= np.int64(dev.huge_bytes) else size


@device
def sizes_of_run(dev, model, o_content, n):
    """Where the measured sizes of up to 16 pages of one prototype stand side by side.

    Returns
    -------
    int64
        Half-word offset in the model; -1 if the pages are not such a run, or one of them is same-filled.
    """
    content = word(dev, o_content)
    member = content & MEMBER
    if content < IDENTITY or member + n > 16:
        return np.int64(-1)
    if words_differ(dev, o_content, n, content) or page_kinds(model, content) >> 2 * member & (1 << 2 * n) - 1:
        return np.int64(-1)
    row = word_class(content) * PROTOTYPES + (content >> PROTOTYPE_SHIFT & 255)
    return model.o_sizes + (row * len(CODECS) + np.int64(dev.codec)) * PROTOTYPE_SIZES + member


@device
def zero_bytes(dev, model, order):
    """What the codec makes of a zero-filled block."""
    beyond = max(order - 4, np.int64(0))
    return half(model, model.o_zero + (order - beyond) * len(CODECS) + np.int64(dev.codec)) << beyond


@device
def member_bytes(dev, model, content):
    """What the codec makes of one page, before the scale."""
    if content == CONTENT_ZERO:
        return zero_bytes(dev, model, np.int64(0))
    if content < IDENTITY:
        return word(dev, dev.o_content_bytes + content)
    return measured_bytes(dev, model, content, content & MEMBER)


@device
def lead_of(dev, o_content, n):
    """Index of the first page of a block that is not zero-filled; `n` if all are."""
    for i in range(n):
        if word(dev, o_content + i) != CONTENT_ZERO:
            return i
    return n


@device
def block_of_prototype(dev, model, o_content, n, lead):
    """Whether a block is that of a prototype, all of it written together.

    Parameters
    ----------
    o_content : int64
        Word offset of the content of the first page; the others follow.
    n : int64
        Pages of the block, a power of two.
    lead : int64
        Index of the first page that is not zero-filled (`lead_of`), below `n`.

    Returns
    -------
    Likeness
    """
    content = word(dev, o_content + lead)
    first = (content & MEMBER) - lead
    alone = content & REWRITTEN and n > 1
    if n > 16 or content < IDENTITY or alone or first < 0 or first & (n - 1):
        return Likeness.NONE
    kinds = page_kinds(model, content) >> 2 * first & (1 << 2 * n) - 1
    if kinds == 0:
        # Mostly every page is an ordinary one, and one comparison without a branch inside does.
        return Likeness.NONE if words_differ(dev, o_content, n, content - lead) else Likeness.PROTOTYPE
    likeness = Likeness.SAME_FILLED
    for i in range(n):
        kind = kinds & 3
        kinds >>= 2
        want = np.int64(CONTENT_ZERO) if kind == PageKind.ZERO_PAGE else content & ~MEMBER | first + i
        if word(dev, o_content + i) != want:
            return Likeness.NONE
        if kind != PageKind.SAME_FILLED:
            likeness = Likeness.PROTOTYPE
    return likeness


@device
def gain_q15(dev, model, content, order, mean, rank):
    """Bytes of a block over the sum of its pages', in 2^-15: by the pages' mean size, interpolated by rank.

    Parameters
    ----------
    content : int64
        Identity of a page of the block.
    order : int64
        Order of the block.
    mean : int64
        Mean size of its pages, bytes, before the scale.
    rank : int64
        Place of the block among those of its bin, 0..255.
    """
    table = word_class(content) * len(CODECS) + np.int64(dev.codec)
    edges = model.o_edges + table * (GAIN_BINS - 1)
    bin_ = np.int64(0)
    for i in range(GAIN_BINS - 1):
        if mean > half(model, edges + i):
            bin_ += 1
    o = model.o_gain + ((table * GAIN_ORDERS + order) * GAIN_BINS + bin_) * GAIN_KNOTS + (rank >> 4)
    # Rank 0 stands for the middle of the lowest 256th, not for its edge.
    share = 2 * (rank & 15) + 1
    return (half(model, o) * (32 - share) + half(model, o + 1) * share) >> 5


@device(cpu="call", cuda="call")
def mixed_block_bytes(dev, model, o_content, order, content):
    """Size of a block that is no prototype, bytes, from those of its pages.

    Parameters
    ----------
    o_content : int64
        Word offset of the content of the first page; the others follow.
    order : int64
        Order of the block.
    content : int64
        Content of its first page that is not zero-filled.
    """
    n = pages_of(order)
    most = n * PAGE_BYTES
    total = np.int64(0)
    mixed = np.int64(0)
    for i in range(n):
        page_content = word(dev, o_content + i)
        total += member_bytes(dev, model, page_content)
        mixed = (mixed * 31 + page_content) & 0xFFFFFFFF
    if content < IDENTITY:
        # Contents of a table say nothing about blocks.
        return max(min(total, most), np.int64(1))
    # One rank a block, from all that is in it.
    rank = ((mixed ^ mixed >> 15) * 0x2C1B3C6D & 0xFFFFFFFF) >> 24
    gain = gain_q15(dev, model, content, order, total >> order, rank)
    return scaled_bytes(model, total * gain >> 15, content, most)


@device
def block_bytes(dev, model, o_content, order, same_as_0):
    """Size of an aligned block of 2^order pages, bytes.

    Parameters
    ----------
    o_content : int64
        Word offset of the content of the first page; the others follow.
    order : int64
        Order of the block.
    same_as_0 : int64
        1 if a block that is filled with one word is to have size 0, as zram stores it; 0 for the codec's output.

    Returns
    -------
    int64
        At most the block's own bytes.
    """
    n = pages_of(order)
    most = n * PAGE_BYTES
    lead = lead_of(dev, o_content, n)
    if lead == n:
        return np.int64(0) if same_as_0 else zero_bytes(dev, model, order)
    content = word(dev, o_content + lead)
    likeness = block_of_prototype(dev, model, o_content, n, lead)
    if likeness == Likeness.SAME_FILLED and same_as_0:
        return np.int64(0)
    if likeness != Likeness.NONE:
        # Sub-blocks stand behind the 16 pages, then the 8 pairs, the 4 quads, the 2 halves.
        entry = np.int64(32) - (32 >> order) + ((content & MEMBER) >> order)
        size = measured_bytes(dev, model, content, entry)
        return scaled_bytes(model, most if size == 0xFFFF else size, content, most)
    return mixed_block_bytes(dev, model, o_content, order, content)
