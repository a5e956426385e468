"""Memory that runs short: kswapd, direct reclaim, and what happens if neither helps (spec 06 §6.3).

A fault first makes room for one page, as order-0 allocations may always reclaim. kswapd is woken at the low watermark
and works until the high one; instead of a CPU of its own it gets a share of pages before every fault, which is an
approximation.
"""

import numpy as np

from .access import count
from .allocation import large_folio_effort
from .counters import ALLOCSTALL, KILLS_NO_MEMORY, PGSTEAL_DIRECT, PGSTEAL_KSWAPD, REFUSED_FAULTS
from .jit import rare
from .lmkd import kill_oldest, watch
from .reclaim import reclaim

MAX_TRIES = 64
"""Rounds of direct reclaim of one fault; a round evicts pages or kills an app, or it is the last one."""


@rare
def make_room(dev, model, o_vma):
    """Before a fault: kswapd's share of work, then direct reclaim until the minimum of free pages is there.

    Returns
    -------
    int64
        0 if not even killing apps made room for a page; the fault must not happen then.
    """
    dev.effort = np.uint32(large_folio_effort(dev, o_vma))
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
            return 1
        count(dev, ALLOCSTALL, 1)
        evicted = reclaim(dev, model, np.int64(dev.direct_pages))
        count(dev, PGSTEAL_DIRECT, evicted)
        if evicted == 0 and not kill_oldest(dev, KILLS_NO_MEMORY):
            break
    if np.int64(dev.frames_free) >= np.int64(dev.min_free) >> 1:
        # The kernel goes below the minimum before it gives up on a page.
        return 1
    count(dev, REFUSED_FAULTS, 1)
    return 0
