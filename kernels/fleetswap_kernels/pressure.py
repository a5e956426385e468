"""Memory that runs short: kswapd, direct reclaim, and what happens if neither helps (spec 06 §6.3).

A fault first makes room for one page, as order-0 allocations may always reclaim. kswapd is woken at the low watermark
and works until the high one; instead of a CPU of its own it gets a share of pages before every fault, which is an
approximation.

Where there is work to do, the operation that the fault is part of ends half done, the interpreter makes room, and the
operation is taken up where it was. Called from the fault, reclaim would need its registers on top of those of the fault
and of the loops around it, more than a GPU's thread has.
"""

import numpy as np

from .access import count
from .allocation import large_folio_effort
from .counters import ALLOCSTALL, KILLS_NO_MEMORY, PGSTEAL_DIRECT, PGSTEAL_KSWAPD, REFUSED_FAULTS
from .jit import device, rare, runs_short
from .lmkd import kill_oldest, watch
from .reclaim import reclaim

UNASKED = 0
WANTED = 1
MADE = 2
REFUSED = 3
"""State of ``room``: nobody asked, a fault waits for it, the fault may happen, it may not."""
MAX_TRIES = 64
"""Rounds of direct reclaim of one fault; a round evicts pages or kills an app, or it is the last one."""


@device
def half_done(dev):
    """Whether the operation has ended before its end, at a fault that waits for room."""
    return runs_short(dev) and np.int64(dev.room) == WANTED


@device
def taken_up(dev):
    """Whether an operation that had ended half done goes on."""
    return runs_short(dev) and np.int64(dev.room) != UNASKED


@device
def has_room(dev, o_vma):
    """Ask for room before a fault; what was made is good for one.

    Returns
    -------
    int64
        ``MADE``, ``REFUSED``, or ``WANTED``: the operation has to end, and to be taken up when room was made.
    """
    room = np.int64(dev.room)
    dev.room = np.uint32(UNASKED)
    if room == UNASKED:
        room = np.int64(MADE)
        dev.effort = np.uint32(large_folio_effort(dev, o_vma))
        if dev.kswapd_on or np.int64(dev.frames_free) < max(np.int64(dev.low_free), np.int64(dev.min_free)):
            room = np.int64(WANTED)
            dev.room = np.uint32(WANTED)
    return room


@rare
def make_room(dev, model):
    """kswapd's share of work, then direct reclaim until the minimum of free pages is there.

    If not even killing apps made room for a page, the fault that waits for it is refused.
    """
    dev.room = np.uint32(MADE)
    if np.int64(dev.frames_free) < np.int64(dev.low_free):
        dev.kswapd_on = np.uint32(1)
    if dev.kswapd_on:
        count(dev, PGSTEAL_KSWAPD, reclaim(dev, model, np.int64(dev.kswapd_pages)))
        if np.int64(dev.frames_free) >= np.int64(dev.high_free):
            dev.kswapd_on = np.uint32(0)
        else:
            watch(dev)
    for _ in range(MAX_TRIES):
        if np.int64(dev.frames_free) >= np.int64(dev.min_free):
            return
        count(dev, ALLOCSTALL, 1)
        evicted = reclaim(dev, model, np.int64(dev.direct_pages))
        count(dev, PGSTEAL_DIRECT, evicted)
        if evicted == 0 and not kill_oldest(dev, KILLS_NO_MEMORY):
            break
    # The kernel goes below the minimum before it gives up on a page.
    if np.int64(dev.frames_free) < np.int64(dev.min_free) >> 1:
        dev.room = np.uint32(REFUSED)
        count(dev, REFUSED_FAULTS, 1)
