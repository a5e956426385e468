"""The per-CPU slot cache and the entry point of swap-out allocation (spec 03 §3.1-3.2; mm/swap_slots.c)."""

import numpy as np

from ...compile.decorators import device
from ...compile.views import runs_short
from ...layout.counters import SWAP_CHARGE_REFUSED
from ...layout.device import (
    CPU_ALLOC, CPU_ALLOC_CUR, CPU_ALLOC_NR, CPU_RET, CPU_RET_NR, CPU_SLOT, Q_VERDICT, VERDICT_FOLIO, VERDICT_SWAP,
    W_VERDICT_LEFT,
)  # fmt: skip
from ...layout.streams import Stream
from ...layout.words import SWAP_BATCH
from ..access import count, quad, set_quad, set_word, word
from ..cpus import cpu_at, this_cpu_at
from ..memory.large_folio import folio_available
from ..orders import pages_of
from ..rng import philox_draw, seed_of
from .allocator import get_swap_pages
from .release import free_listed, put_swap_folio


@device(cpu="call")
def folio_by_chance(dev):
    """Whether a large folio can be had this time, for a device whose memory is fragmented to a given degree."""
    n = np.int64(dev.folio_requests)
    dev.folio_requests = np.uint32(n + 1)
    chance = philox_draw(seed_of(dev), Stream.FOLIO, np.int64(dev.device_id), 0, 0, n)
    return chance >> 16 < np.int64(dev.folio_chance_q16)


@device
def request_granted(dev, which, order):
    """Verdict on a request of this order: whether it is granted.

    The scripted ones come first; then large folios are up to the page allocator, if memory can run short, or have their
    chance (`folio_chance_q16`, if `folio_chance` is set), and all else is granted.
    """
    if dev.verdicts == 0:
        return True
    i = which * 10 + order
    left = word(dev, W_VERDICT_LEFT + i)
    if left == 0:
        if which != VERDICT_FOLIO:
            return True
        if runs_short(dev):
            return folio_available(dev, order)
        return dev.folio_chance == 0 or folio_by_chance(dev)
    answers = quad(dev, Q_VERDICT + i)
    set_word(dev, W_VERDICT_LEFT + i, left - 1)
    set_quad(dev, Q_VERDICT + i, answers >> 1 & 0x7FFFFFFFFFFFFFFF)
    return answers & 1 != 0


@device(cpu="call")
def drain_caches(dev):
    """Give back every slot of both caches on every CPU (spec 03 §3.2, deactivation)."""
    for cpu in range(np.int64(dev.n_cpus)):
        o_cpu = cpu_at(dev, cpu)
        cur = word(dev, o_cpu + CPU_ALLOC_CUR)
        n = word(dev, o_cpu + CPU_ALLOC_NR)
        set_word(dev, o_cpu + CPU_ALLOC_CUR, 0)
        set_word(dev, o_cpu + CPU_ALLOC_NR, 0)
        free_listed(dev, o_cpu + CPU_ALLOC + cur, n)
        parked = word(dev, o_cpu + CPU_RET_NR)
        set_word(dev, o_cpu + CPU_RET_NR, 0)
        free_listed(dev, o_cpu + CPU_RET, parked)


@device
def check_cache_active(dev):
    """Hysteresis of the slot caches: on above 320 free slots per CPU, off below 128 (check_cache_active)."""
    if dev.cache_enabled == 0:
        return False
    free = np.int64(dev.nr_swap_pages)
    cpus = np.int64(dev.n_cpus)
    if dev.cache_active == 0:
        if free > 5 * SWAP_BATCH * cpus:
            dev.cache_active = np.uint32(1)
    elif free < 2 * SWAP_BATCH * cpus:
        dev.cache_active = np.uint32(0)
        drain_caches(dev)
    return dev.cache_active != 0


@device(cuda="inline")
def folio_alloc_swap(dev, order):
    """Slots for a folio: the first of 2^order, bytes HAS_CACHE, or 0 (folio_alloc_swap, spec 03 §3.1)."""
    o_cpu = this_cpu_at(dev)
    slot = np.int64(0)
    # First the cache, refilled if it is empty; then a direct request.
    attempt = 1
    if order == 0 and check_cache_active(dev):
        attempt = 0
    while slot == 0 and attempt < 2:
        n = np.int64(0)
        cells = o_cpu + CPU_SLOT
        goal = np.int64(1)
        if attempt == 0:
            n = word(dev, o_cpu + CPU_ALLOC_NR)
            cells = o_cpu + CPU_ALLOC
            goal = np.int64(SWAP_BATCH)
        if n == 0:
            n = get_swap_pages(dev, goal, order, cells)
            if attempt == 0:
                set_word(dev, o_cpu + CPU_ALLOC_CUR, 0)
                set_word(dev, o_cpu + CPU_ALLOC_NR, n)
        if n > 0 and attempt == 0:
            cur = word(dev, o_cpu + CPU_ALLOC_CUR)
            slot = word(dev, cells + cur)
            set_word(dev, o_cpu + CPU_ALLOC_CUR, cur + 1)
            set_word(dev, o_cpu + CPU_ALLOC_NR, n - 1)
        elif n > 0:
            slot = word(dev, cells)
        attempt += 1
    if slot != 0 and not request_granted(dev, VERDICT_SWAP, order):
        count(dev, SWAP_CHARGE_REFUSED, 1)
        put_swap_folio(dev, slot, pages_of(order))
        slot = np.int64(0)
    return slot
