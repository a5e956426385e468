"""Page faults: one entry for every kind of PTE (spec 05 §5.1; mm/memory.c handle_pte_fault)."""

from enum import IntEnum, unique

import numpy as np

from ...compile.decorators import device
from ...compile.views import runs_short
from ...layout.counters import PGFAULT, PGMAJFAULT, SIGBUS, SWAPIN_WAITS
from ...layout.device import CPU_FAULT, FAULT_FRAME, FAULT_MIXED, FAULT_ORDER, FAULT_PTE, PROC_MAJFLT
from ...layout.operations import EAGAIN, EFAULT
from ...layout.words import HAS_CACHE, KIND_SHIFT, MAP_COUNT, NONE, PTE_PAYLOAD, SWAP
from ..access import byte, count, set_word, word
from ..cpus import this_cpu_at
from ..memory.buddy import frame_order
from ..memory.folio import cache_lookup
from ..orders import aligned_start, pages_of
from ..regions import proc_at, pte_at
from ..swap.outcomes import SwapRead
from ..swap.reasons import count_shared_swapin
from ..swap.swap_cache import map_cached, note_hit, readahead
from ..swap.swapin import (
    count_stale, pin_slots, still_mapped_there, swapin_abandon, swapin_begin, swapin_map, swapin_small,
)  # fmt: skip
from .anon import anon_fault, write_protect_fault


@unique
class Phase(IntEnum):
    """A fault runs whole, or halts between reading the page and mapping it (fault_begin, fault_end)."""

    WHOLE = 0
    BEGIN = 1
    END = 2


@unique
class Outcome(IntEnum):
    """How a fault ended."""

    MINOR = 0
    MAJOR = 1
    WAITS = 2
    """Nothing is done: another fault holds the slots."""
    BUS_ERROR = 3
    FAILED = 4
    """The error word is set."""


@device(cuda="inline")
def swap_fault(dev, p, o_vma, page, write, phase):
    """Fault on a swap entry (do_swap_page).

    Parameters
    ----------
    p, o_vma : int64
        Process, and word offset of the record of its region.
    page : int64
        Page of the region, counted from its first.
    write : bool
        Whether the access writes.
    phase : Phase

    Returns
    -------
    Outcome
    """
    o_halted = this_cpu_at(dev) + CPU_FAULT
    pte = word(dev, pte_at(dev, o_vma, page))
    head = np.int64(-1)
    if phase == Phase.END:
        pte = word(dev, o_halted + FAULT_PTE)
        head = word(dev, o_halted + FAULT_FRAME) - 1
        order = word(dev, o_halted + FAULT_ORDER)
        mixed = word(dev, o_halted + FAULT_MIXED)
        set_word(dev, o_halted + FAULT_FRAME, 0)
    else:
        slot = pte & PTE_PAYLOAD
        cached = cache_lookup(dev, slot)
        outcome = Outcome.MINOR
        if cached >= 0:
            if frame_order(dev, cached) == 0:
                note_hit(dev, o_vma, page, cached)
        elif byte(dev, dev.o_map + slot) & MAP_COUNT != 1:
            cached = readahead(dev, o_vma, page, slot)
            if cached < 0:
                return Outcome.WAITS if cached == SwapRead.SLOTS_HELD else Outcome.FAILED
            if runs_short(dev):
                count_shared_swapin(dev, o_vma)
            count(dev, PGMAJFAULT, 1)
            outcome = Outcome.MAJOR
        if cached >= 0:
            if map_cached(dev, p, o_vma, page, pte, cached, write):
                write_protect_fault(dev, p, o_vma, page)
            return outcome
        head, order, mixed = swapin_begin(dev, o_vma, page, pte, phase == Phase.WHOLE)
        if head == SwapRead.SMALL_FOLIOS:
            swapin_small(dev, p, o_vma, page, order, aligned_start(slot, order), write)
            return Outcome.MAJOR
        if head < 0:
            return Outcome.WAITS if head == SwapRead.SLOTS_HELD else Outcome.FAILED
    n = pages_of(order)
    slot = aligned_start(pte & PTE_PAYLOAD, order)
    if phase == Phase.BEGIN:
        if dev.pin_swapin:
            pin_slots(dev, slot, n)
        set_word(dev, o_halted + FAULT_FRAME, head + 1)
        set_word(dev, o_halted + FAULT_ORDER, order)
        set_word(dev, o_halted + FAULT_PTE, pte)
        set_word(dev, o_halted + FAULT_MIXED, mixed)
        return Outcome.MAJOR
    if phase == Phase.END:
        if not still_mapped_there(dev, o_vma, page, pte, order):
            swapin_abandon(dev, head, order, slot, dev.pin_swapin != 0)
            return Outcome.MAJOR
        if not mixed:
            count_stale(dev, head, slot, n)
    if mixed:
        swapin_abandon(dev, head, order, slot, phase == Phase.END and dev.pin_swapin != 0)
        return Outcome.BUS_ERROR
    kept_bits = HAS_CACHE if phase == Phase.END and dev.pin_swapin == 0 else 0
    swapin_map(dev, p, o_vma, page, head, order, slot, write, kept_bits)
    return Outcome.MAJOR


@device(cuda="inline")
def handle_fault(dev, p, o_vma, page, write, phase):
    """Serve a fault and count it.

    Parameters
    ----------
    p, o_vma : int64
        Process, and word offset of the record of its region.
    page : int64
        Page of the region, counted from its first.
    write : bool
        Whether the access writes.
    phase : Phase

    Returns
    -------
    int64
        0 if the access can go on; EAGAIN if a halted fault holds the slots, EFAULT if the process gets a SIGBUS.
    """
    pte = word(dev, pte_at(dev, o_vma, page))
    kind = pte >> KIND_SHIFT
    outcome = Outcome.MINOR
    if kind == SWAP or phase == Phase.END:
        outcome = swap_fault(dev, p, o_vma, page, write, phase)
    elif kind == NONE:
        anon_fault(dev, p, o_vma, page, write)
    else:
        write_protect_fault(dev, p, o_vma, page)
    if outcome == Outcome.WAITS:
        count(dev, SWAPIN_WAITS, 1)
        return EAGAIN
    if outcome == Outcome.FAILED or dev.error != 0:
        return EFAULT
    if phase == Phase.BEGIN and outcome == Outcome.MAJOR:
        return 0
    count(dev, PGFAULT, 1)
    if outcome == Outcome.BUS_ERROR:
        count(dev, SIGBUS, 1)
        return EFAULT
    if outcome == Outcome.MAJOR:
        dev.op_majflt = np.uint32(np.int64(dev.op_majflt) + 1)
        o = proc_at(dev, p) + PROC_MAJFLT
        set_word(dev, o, word(dev, o) + 1)
    else:
        dev.op_minflt = np.uint32(np.int64(dev.op_minflt) + 1)
    return 0
