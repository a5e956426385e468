"""The worker that rewrites blocks of which little still lives (spec 08 §8.5, option "rewrite")."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import BLK_DECOMP, BLK_DECOMP_BYTES, BLK_REWRITE, PAGES_STORED, SAME_PAGES, CodecWork
from ...layout.device import BLOCK_INFO, BLOCK_LIVE_SHIFT, BLOCK_NEXT, BLOCK_WORDS
from ...layout.pages import PAGE_BYTES
from ...layout.words import CONTENT_NONE, NIL
from ..access import count, half, set_half, set_word, word
from ..content.sizes import content_class, page_bytes
from ..orders import pages_of
from .blocks import IN_BLOCK, block_at, leave_block
from .codec_work import count_codec_work
from .write import store_page


@device(cpu="call")
def rewrite_block(dev, model, block):
    """Store the pages that live in a sparse block one by one and free the block; stops when the pool is full."""
    pages = pages_of(dev.block_order)
    slot = block * pages
    o = block_at(dev, slot)
    read = False
    for at in range(slot, min(slot + pages, np.int64(dev.n_slots))):
        if word(dev, o + BLOCK_INFO) == 0:
            break
        content = word(dev, dev.o_stored + at)
        if content == CONTENT_NONE or half(dev, dev.o_stored_bytes + at) != IN_BLOCK:
            continue
        if not read:
            read = True
            count(dev, BLK_REWRITE, 1)
            count(dev, BLK_DECOMP, 1)
            count(dev, BLK_DECOMP_BYTES, pages * PAGE_BYTES)
        size = page_bytes(dev, model, content)
        if size == 0:
            leave_block(dev, at, np.int64(1))
            set_half(dev, dev.o_stored_bytes + at, 0)
            count(dev, SAME_PAGES, 1)
            continue
        count_codec_work(dev, content_class(content), CodecWork.COMPRESSED_PAGES, 1)
        if not store_page(dev, at, size):
            break
        # The page was stored before and is again.
        set_word(dev, dev.o_stored + at, content)
        count(dev, PAGES_STORED, 1)


@device(cpu="call")
def rewrite_sparse_blocks(dev, model):
    """The worker that rewrites blocks of which at most half still lives (spec 08 §8.5, option "rewrite")."""
    for _ in range(np.int64(dev.n_blocks) + 1):
        block = np.int64(dev.sparse_blocks) - 1
        if block < 0:
            break
        o = np.int64(dev.o_block) + block * BLOCK_WORDS
        after = word(dev, o + BLOCK_NEXT)
        dev.sparse_blocks = np.uint32(0 if after == NIL else after)
        live = word(dev, o + BLOCK_INFO) >> BLOCK_LIVE_SHIFT
        if 0 < live <= pages_of(dev.block_order) >> 1:
            rewrite_block(dev, model, block)
        # Only now: what it freed itself must not queue it again.
        set_word(dev, o + BLOCK_NEXT, 0)
