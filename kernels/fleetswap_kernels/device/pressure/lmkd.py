"""Android's low-memory killer: which cached app goes, and when (workload notes §1; system/memory/lmkd)."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import KILLS_LOW_SWAP, KILLS_THRASHING
from ...layout.device import PROC_STAMP, PROC_USED
from ...layout.phone import HABIT_LMKD, HABIT_SWAP_LOW_SLOTS, HABIT_THRASH_DECAY, HABIT_THRASH_LIMIT
from ..access import count, word
from ..faults.unmap import exit_process
from ..regions import proc_at


@device(cpu="call")
def kill_oldest(dev, reason):
    """End the app that was in the foreground longest ago, not one that is or is running; whether there is one.

    Parameters
    ----------
    reason : int64
        Counter of the kill.
    """
    victim = np.int64(-1)
    oldest = np.int64(0)
    for p in range(np.int64(dev.n_procs)):
        o = proc_at(dev, p)
        stamp = word(dev, o + PROC_STAMP)
        if word(dev, o + PROC_USED) == 0 or stamp == 0:
            continue
        if p + 1 == np.int64(dev.foreground) or p == np.int64(dev.proc):
            continue
        if victim < 0 or stamp < oldest:
            victim = p
            oldest = stamp
    if victim < 0:
        return False
    exit_process(dev, victim)
    count(dev, reason, 1)
    return True


@device
def begin_window(dev, resident_pages):
    """Begin a window over which refaults are compared with the pages that were resident at its start."""
    dev.window_refaults = np.uint32(0)
    dev.window_pages = np.uint32(max(resident_pages, np.int64(1)))
    dev.thrashing_limit = np.uint32(word(dev, dev.o_habits + HABIT_THRASH_LIMIT))


@device
def kill_for_pressure(dev):
    """Kill an app if memory is short and swap nearly full, or if what comes back soon is too much.

    Thrashing is the refaults of a window in percent of the pages resident at its start; every kill lowers the limit by
    its decay until the window ends. An approximation: the daemon compares file refaults, and it wakes by pressure
    stall information, here by kswapd at work.
    """
    if word(dev, dev.o_habits + HABIT_LMKD) == 0:
        return
    if np.int64(dev.nr_swap_pages) < word(dev, dev.o_habits + HABIT_SWAP_LOW_SLOTS):
        kill_oldest(dev, KILLS_LOW_SWAP)
        return
    limit = np.int64(dev.thrashing_limit)
    if np.int64(dev.window_refaults) * 100 > limit * np.int64(dev.window_pages):
        if kill_oldest(dev, KILLS_THRASHING):
            decay = word(dev, dev.o_habits + HABIT_THRASH_DECAY)
            dev.thrashing_limit = np.uint32(limit * (100 - decay) // 100)
            dev.window_refaults = np.uint32(0)
