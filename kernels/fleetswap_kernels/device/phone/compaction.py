"""Swap-out of an app that left the foreground, if it is worth it (AOSP CachedAppOptimizer, full compaction)."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import COMPACTED_APPS
from ...layout.device import PROC_ANONPAGES, VMA_PAGES
from ...layout.operations import PAGEOUT
from ...layout.phone import (
    APP_COMPACTED_AT, APP_COMPACTED_RSS, HABIT_COMPACTION, HABIT_COMPACT_DELTA, HABIT_COMPACT_FREE_SLOTS,
    HABIT_COMPACT_RSS, HABIT_COMPACT_SWITCHES, PHONE_ACTIVITY, PHONE_LAST, PHONE_REGION, PHONE_SWITCH, REGIONS,
)  # fmt: skip
from ..access import count, word
from ..regions import proc_at, vma_at
from .app import app_at, emit_operation, habit, process_of, set_state, state


@device
def compact_last(dev):
    """The app that left the foreground is swapped out if it is worth it (AOSP CachedAppOptimizer, full compaction)."""
    last = state(dev, PHONE_LAST)
    r = state(dev, PHONE_REGION) + 1
    if last == 0 or r > REGIONS or habit(dev, HABIT_COMPACTION) == 0:
        return False
    o = app_at(last - 1)
    p = process_of(dev, last - 1)
    if p == 0:
        return False
    if r == 1:
        rss = word(dev, proc_at(dev, p) + PROC_ANONPAGES)
        before = state(dev, o + APP_COMPACTED_RSS)
        passed = state(dev, PHONE_SWITCH) - state(dev, o + APP_COMPACTED_AT)
        if rss < habit(dev, HABIT_COMPACT_RSS) or abs(rss - before) < habit(dev, HABIT_COMPACT_DELTA):
            return False
        if before != 0 and passed << 32 < habit(dev, HABIT_COMPACT_SWITCHES) * state(dev, PHONE_ACTIVITY):
            return False
        if np.int64(dev.nr_swap_pages) < habit(dev, HABIT_COMPACT_FREE_SLOTS):
            return False
        count(dev, COMPACTED_APPS, 1)
        set_state(dev, o + APP_COMPACTED_AT, state(dev, PHONE_SWITCH))
    set_state(dev, PHONE_REGION, r)
    return emit_operation(dev, PAGEOUT, p, r, 0, word(dev, vma_at(dev, p, r) + VMA_PAGES), 0, 0, 0)


@device
def note_compacted(dev):
    """Note what the compaction left of the app; only a change from there makes it worth another."""
    last = state(dev, PHONE_LAST)
    if last == 0 or state(dev, PHONE_REGION) == 0:
        return
    p = process_of(dev, last - 1)
    if p != 0:
        rss = word(dev, proc_at(dev, p) + PROC_ANONPAGES)
        set_state(dev, app_at(last - 1) + APP_COMPACTED_RSS, max(rss, np.int64(1)))
