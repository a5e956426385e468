"""Memory that runs short: kswapd, direct reclaim, and what happens if neither helps (spec 06 §6.3).

A fault first makes room for one page, as order-0 allocations may always reclaim. kswapd is woken at the low watermark
and works until the high one; instead of a CPU of its own it gets a share of pages before every fault, which is an
approximation.

Where there is work to do, the operation that the fault is part of ends half done, the interpreter makes room, and the
operation is taken up where it was. Called from the fault, reclaim would need its registers on top of those of the fault
and of the loops around it, more than a GPU's thread has.
"""

from enum import IntEnum, unique

import numpy as np

from ...compile.decorators import device
from ...compile.views import runs_short
from ...layout.counters import ALLOCSTALL, KILLS_NO_MEMORY, PGSTEAL_DIRECT, PGSTEAL_KSWAPD, REFUSED_FAULTS
from ..access import count
from ..memory.large_folio import large_folio_effort
from .lmkd import kill_for_pressure, kill_oldest
from .reclaim import begin_reclaim, evict_victim, find_victim

MAX_TRIES = 64
"""Rounds of direct reclaim of one fault; a round evicts pages or kills an app, or it is the last one."""


@unique
class Room(IntEnum):
    """State of ``room``."""

    UNASKED = 0
    WANTED = 1
    """A fault waits for it."""
    MADE = 2
    """The fault may happen."""
    REFUSED = 3
    """It may not."""


@unique
class Reclaimer(IntEnum):
    """Who reclaims."""

    NOBODY = 0
    KSWAPD = 1
    DIRECT = 2


@device
def waits_for_room(dev):
    """Whether the operation has ended before its end, at a fault that waits for room."""
    return runs_short(dev) and np.int64(dev.room) == Room.WANTED


@device
def resumes_operation(dev):
    """Whether an operation that had ended half done goes on."""
    return runs_short(dev) and np.int64(dev.room) != Room.UNASKED


@device
def has_room(dev, o_vma):
    """Ask for room before a fault; what was made is good for one.

    Returns
    -------
    Room
        MADE, REFUSED, or WANTED: the operation has to end, and to be taken up when room was made.
    """
    room = np.int64(dev.room)
    dev.room = np.uint32(Room.UNASKED)
    if room == Room.UNASKED:
        room = np.int64(Room.MADE)
        dev.effort = np.uint32(large_folio_effort(dev, o_vma))
        if dev.kswapd_on or np.int64(dev.frames_free) < max(np.int64(dev.low_free), np.int64(dev.min_free)):
            room = np.int64(Room.WANTED)
            dev.room = np.uint32(Room.WANTED)
    return room


@device
def begin_direct(dev):
    """Begin a round of direct reclaim until the minimum of free pages is there, or end with what was made."""
    dev.reclaimer = np.uint32(Reclaimer.NOBODY)
    tries = np.int64(dev.room_tries)
    if np.int64(dev.frames_free) < np.int64(dev.min_free) and tries < MAX_TRIES:
        dev.room_tries = np.uint32(tries + 1)
        dev.reclaimer = np.uint32(Reclaimer.DIRECT)
        count(dev, ALLOCSTALL, 1)
        begin_reclaim(dev, np.int64(dev.direct_pages))


@device(cpu="call")
def next_reclaimer(dev):
    """Count what was reclaimed, kill an app if that was nothing, and decide who goes on."""
    evicted = np.int64(dev.reclaim_evicted)
    if dev.reclaimer == Reclaimer.KSWAPD:
        count(dev, PGSTEAL_KSWAPD, evicted)
        if np.int64(dev.frames_free) >= np.int64(dev.high_free):
            dev.kswapd_on = np.uint32(0)
        else:
            kill_for_pressure(dev)
    else:
        count(dev, PGSTEAL_DIRECT, evicted)
        if evicted == 0 and not kill_oldest(dev, KILLS_NO_MEMORY):
            dev.room_tries = np.uint32(MAX_TRIES)
    begin_direct(dev)


@device
def make_room(dev, model):
    """kswapd's share of work, then direct reclaim until the minimum of free pages is there.

    If not even killing apps made room for a page, the fault that waits for it is refused.
    """
    dev.room_tries = np.uint32(0)
    if np.int64(dev.frames_free) < np.int64(dev.low_free):
        dev.kswapd_on = np.uint32(1)
    if dev.kswapd_on:
        dev.reclaimer = np.uint32(Reclaimer.KSWAPD)
        begin_reclaim(dev, np.int64(dev.kswapd_pages))
    else:
        begin_direct(dev)
    while dev.reclaimer != Reclaimer.NOBODY:
        if find_victim(dev):
            evict_victim(dev, model)
        else:
            next_reclaimer(dev)
    dev.room = np.uint32(Room.MADE)
    # The kernel goes below the minimum before it gives up on a page.
    if np.int64(dev.frames_free) < np.int64(dev.min_free) >> 1:
        dev.room = np.uint32(Room.REFUSED)
        count(dev, REFUSED_FAULTS, 1)
