"""Checks of a device's counters against each other: parts that are counted one by one must add up to their whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout import words as bits
from fleetswap_kernels.layout.reasons import SwapinReason

from .arrays import Array
from .findings import Findings

_ORDERS = range(2, bits.N_ORDERS)
_HUGE = {
    "thp_fault_alloc": "anon_fault_alloc",
    "thp_fault_fallback": "anon_fault_fallback",
    "thp_swpout": "swpout",
    "thp_swpout_fallback": "swpout_fallback",
    "thp_split_page": "split",
    "thp_deferred_split_page": "split_deferred",
}
"""Counters of 2 MiB folios that exist twice, in vmstat and by size (spec 09)."""


def orders_by_advice(word: Callable[[str], int], advises: bool = True) -> tuple[int, int]:
    """Orders that sysfs allows to a fault on swap in a region without and in one with MADV_HUGEPAGE (spec 05 §5.3).

    Parameters
    ----------
    word : callable
        Gives a header field of the device.
    advises : bool
        Whether there may be regions with it.
    """
    inherit, rule = word("thp_inherit"), word("thp_global")
    plain = word("thp_always") | (inherit if rule == bits.THP_ALWAYS else 0)
    advised = plain | word("thp_madvise") | (0 if rule == bits.THP_NEVER else inherit)
    return plain & bits.FAULT_ORDERS, (advised if advises else plain) & bits.FAULT_ORDERS


def check_counters(rows: Array, plain: int, advised: int, findings: Findings) -> None:
    """Check devices whose memory can run short.

    Parameters
    ----------
    rows : int64 array of shape (devices, counters.N_COUNTERS)
        Of all time; they may be scaled to real devices.
    plain, advised : int
        Orders of `orders_by_advice`. If the largest one is the same, every swap-in that is smaller has its reason.
    findings : Findings
    """
    for name, wrong in _broken(rows, plain.bit_length() - 1, advised.bit_length() - 1):
        findings.forbid(wrong, name)


def _broken(rows: Array, plain: int, advised: int) -> Iterator[tuple[str, Array]]:
    """Every broken rule's text, and which devices break it; `plain` and `advised` are orders, or -1."""

    def scalar(name: str) -> Array:
        return rows[:, counters.SCALAR_NAMES.index(name)]

    def of_size(name: str, order: int) -> Array:
        return rows[:, counters.mthp_index(name, order)]

    def total(first: int, n: int) -> Array:
        added: Array = rows[:, first : first + n].sum(1)
        return added

    for name, by_size in _HUGE.items():
        yield f"{name} differs from {by_size} of 2 MiB", scalar(name) != of_size(by_size, bits.MAX_ORDER)
    refused = sum(of_size("swpout_fallback", order) for order in _ORDERS)
    reasons = total(counters.SWAPOUT_REASON, counters.N_SWAPOUT_REASONS)
    yield "the reasons of swap-out do not add up to the folios that got no slots", reasons != refused
    distances = total(counters.REFAULT_DISTANCE, counters.N_DISTANCES)
    yield "refaults by distance do not add up", distances != rows[:, counters.WORKINGSET_REFAULT_ANON]

    # A fault that has to wait for another one has asked the page allocator, and asks again.
    at_once = scalar("swapin_waits") == 0
    for order in _ORDERS:
        granted = rows[:, counters.FOLIO_WANTED + order] - rows[:, counters.FOLIO_REFUSED + order]
        yield (
            f"folios of order {order} that were wanted are neither refused nor allocated",
            at_once & (granted != rows[:, counters.FOLIO_ALLOC + order]),
        )

    def swapped_in(order: int) -> Array:
        swapins: Array = rows[:, counters.FOLIO_ALLOC + order] - of_size("anon_fault_alloc", order)
        return swapins

    # All major faults are those on swap. A region with advice may have all orders that others may have.
    reasons = total(counters.SWAPIN_REASON, counters.N_SWAPIN_REASONS)
    most = scalar("pgmajfault") - (swapped_in(advised) if advised >= 0 else 0)
    text = "the reasons of swap-in do not add up to the faults that brought less than the largest folio"
    if plain != advised:
        least = most - swapped_in(plain) if plain >= 0 else 0
        yield text, (reasons > most) | (reasons < least)
    elif advised < 0:
        yield text, reasons != 0
    else:
        yield text, reasons != most
        asked = of_size("anon_fault_fallback", advised) - of_size("anon_fault_fallback_charge", advised)
        asked = rows[:, counters.FOLIO_REFUSED + advised] - asked
        named = rows[:, counters.SWAPIN_REASON + SwapinReason.ALLOCATION]
        yield "swap-ins that got no folio are not all counted by that reason", at_once & (named != asked)
