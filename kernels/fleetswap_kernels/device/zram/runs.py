"""Runs of a packed pool: 64 KiB of slots that are stored, read and dropped at once, page by page as zram sees it.

The 16 pages of a run are those of a prototype, or of a block that does not compress. While all of them are there, the
run's record says what they take (`content_model`, `RUN_WHOLE`); otherwise it is 0, and what the slots store counts one
by one. The sizes of the slots are kept in both cases.
"""

import numpy as np

from ...compile.decorators import device
from ...layout.codecs import CODECS
from ...layout.content_model import (
    PROTOTYPE_SIZES, PROTOTYPES, RUN_CLASS_SHIFT, RUN_COMPRESSED_SHIFT, RUN_HUGE_SHIFT, RUN_OBJECTS_SHIFT, RUN_SHARE,
    RUN_WHOLE, SCALE_SHIFT, SCALES,
)  # fmt: skip
from ...layout.counters import (
    COMPR_DATA_SIZE, HUGE_PAGES, HUGE_PAGES_SINCE, HUGE_READS, PAGES_STORED, SAME_PAGES, CodecWork,
)  # fmt: skip
from ...layout.device import RUN_SLOTS
from ...layout.words import CONTENT_NONE, CONTENT_ZERO
from ..access import (
    copy_words, count, fill_halves, fill_words, or_words, quad, run_half_32, set_quad, set_run_half, word,
)  # fmt: skip
from ..content.identity import PROTOTYPE_SHIFT, page_kinds, word_class
from ..content.identity import SCALE_SHIFT as LEVEL_SHIFT
from ..content.sizes import HUGE_BYTES, Likeness, block_of_prototype, lead_of, scale_factor
from .codec_work import count_codec_work
from .zsmalloc import packed_pool_grow, page_share_bytes


@device
def run_at(dev, slot):
    """Quad offset of the record of the run around a slot."""
    return np.int64(dev.o_run) + slot // RUN_SLOTS


@device
def huge_pages_of_run(run):
    """Pages of a run that do not compress."""
    return run >> RUN_HUGE_SHIFT & 31


@device
def objects_of_run(run):
    """Pages of a run that are not same-filled."""
    return run >> RUN_OBJECTS_SHIFT & 31


@device
def account_run(dev, run, sign):
    """Count what a run takes in the pool; with the sign -1 what it gives back."""
    huge = huge_pages_of_run(run)
    count(dev, PAGES_STORED, sign * RUN_SLOTS)
    count(dev, SAME_PAGES, sign * (RUN_SLOTS - objects_of_run(run)))
    count(dev, COMPR_DATA_SIZE, sign * (run >> RUN_COMPRESSED_SHIFT & RUN_SHARE))
    count(dev, HUGE_PAGES, sign * huge)
    packed_pool_grow(dev, sign * (run & RUN_SHARE))


@device
def may_store_run(dev, slot):
    """Whether a run starts at a slot, is empty, and nothing can be refused."""
    if dev.n_runs == 0 or slot % RUN_SLOTS != 0 or dev.mem_limit_pages != 0:
        return False
    return or_words(dev, dev.o_stored + slot, RUN_SLOTS) == 0


@device
def store_whole_run(dev, model, slot, o_content):
    """Store 16 pages in an empty run if they are a prototype.

    Returns
    -------
    bool
        Whether they are stored.
    """
    if not may_store_run(dev, slot):
        return False
    lead = np.int64(0)
    if word(dev, o_content) == CONTENT_ZERO:
        lead = lead_of(dev, o_content, RUN_SLOTS)
    if lead == RUN_SLOTS or block_of_prototype(dev, model, o_content, np.int64(RUN_SLOTS), lead) == Likeness.NONE:
        return False
    content = word(dev, o_content + lead)
    row = (word_class(content) * PROTOTYPES + (content >> PROTOTYPE_SHIFT & 255)) * len(CODECS) + np.int64(dev.codec)
    run = quad(model, model.o_sums + row * SCALES + (content >> LEVEL_SHIFT & 31))
    set_quad(dev, run_at(dev, slot), run)
    account_run(dev, run, np.int64(1))
    huge = huge_pages_of_run(run)
    count(dev, HUGE_PAGES_SINCE, huge)
    count_codec_work(dev, word_class(content), CodecWork.COMPRESSED_PAGES, objects_of_run(run))
    store_sizes(dev, model, slot, model.o_sizes + row * PROTOTYPE_SIZES, scale_factor(model, content))
    kinds = page_kinds(model, content)
    if kinds:
        for i in range(RUN_SLOTS):
            if kinds >> 2 * i & 3:
                set_run_half(dev, np.int64(dev.o_stored_bytes) + slot + i, 0)
    copy_words(dev, dev.o_stored + slot, o_content, RUN_SLOTS)
    return True


@device
def store_raw_run(dev, slot, o_content):
    """Store 16 pages of a block that does not compress in an empty run; whether that is possible."""
    if not may_store_run(dev, slot):
        return False
    pages = np.int64(RUN_SLOTS)
    run = RUN_WHOLE | pages << RUN_OBJECTS_SHIFT | pages << RUN_HUGE_SHIFT
    run |= pages * HUGE_BYTES << RUN_COMPRESSED_SHIFT | pages * page_share_bytes(dev, np.int64(HUGE_BYTES))
    set_quad(dev, run_at(dev, slot), run)
    account_run(dev, run, np.int64(1))
    count(dev, HUGE_PAGES_SINCE, pages)
    fill_halves(dev, dev.o_stored_bytes + slot, pages, HUGE_BYTES)
    copy_words(dev, dev.o_stored + slot, o_content, RUN_SLOTS)
    return True


@device
def store_sizes(dev, model, slot, o_sizes, factor):
    """Keep the sizes of the pages of a run.

    Parameters
    ----------
    slot : int64
        First slot of the run.
    o_sizes : int64
        Half-word offset in the model of the sizes before the scale, bytes.
    factor : int64
        The scale, in 2^-SCALE_SHIFT.
    """
    o = np.int64(dev.o_stored_bytes) + slot
    scale = np.uint32(factor)
    raw = np.uint32(dev.huge_bytes)
    for i in range(RUN_SLOTS):
        size = np.uint32(np.uint32(run_half_32(model, o_sizes + i) * scale) >> np.uint32(SCALE_SHIFT))
        size = max(size, np.uint32(1))
        set_run_half(dev, o + i, np.uint32(HUGE_BYTES) if size >= raw else size)


@device
def read_whole_run(dev, slot):
    """Count what the codec does to read a run; whether it is one."""
    run = quad(dev, run_at(dev, slot))
    if run == 0:
        return False
    huge = huge_pages_of_run(run)
    count_codec_work(dev, run >> RUN_CLASS_SHIFT & 31, CodecWork.DECOMPRESSED_PAGES, objects_of_run(run) - huge)
    count(dev, HUGE_READS, huge)
    return True


@device
def drop_whole_run(dev, slot):
    """Drop what the slots of a run store; whether it is one."""
    run = quad(dev, run_at(dev, slot))
    if run == 0:
        return False
    set_quad(dev, run_at(dev, slot), 0)
    fill_words(dev, dev.o_stored + slot, RUN_SLOTS, CONTENT_NONE)
    account_run(dev, run, np.int64(-1))
    return True
