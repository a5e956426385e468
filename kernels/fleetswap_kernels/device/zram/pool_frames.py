"""Page frames that zsmalloc's zspages take from the page allocator (spec 06 §6.5; mm/zsmalloc.c alloc_zspage)."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import BROKEN_BY_POOL, NOTIFY_FREE
from ...layout.errors import NO_FRAMES
from ..access import counter_value, fail, set_word, word
from ..memory.buddy import frames_give, frames_take


@device(cpu="call", cuda="call")
def pool_frames_change(dev, have, pages):
    """Take page frames for a pool that holds `have` of them, or give some back if `pages` is negative.

    A zspage that becomes empty may be any of them, so a frame that is given back is one by chance: that is how objects
    that live on pin blocks of memory. After an error the pool may have fewer frames than pages: nothing moves then.
    """
    if dev.error != 0:
        return
    for i in range(pages):
        frame = frames_take(dev, np.int64(0), np.int64(BROKEN_BY_POOL))
        if frame < 0:
            fail(dev, NO_FRAMES, 0)
            return
        set_word(dev, dev.o_frame + frame, 0)
        set_word(dev, dev.o_pool_frame + have + i, frame)
    for i in range(-pages):
        last = have - 1 - i
        mixed = (counter_value(dev, NOTIFY_FREE) + i + 1) * 0x9E3779B1 & 0xFFFFFFFF
        at = np.int64(dev.o_pool_frame) + (mixed * (last + 1) >> 32)
        frame = word(dev, at)
        set_word(dev, at, word(dev, dev.o_pool_frame + last))
        frames_give(dev, frame, np.int64(0))
