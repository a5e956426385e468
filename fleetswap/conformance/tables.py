"""Compares simulated tables with the published and the measured ones, number for number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from fleetswap_kernels.backend.arena import Arena
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.layout import counters

from ..scenario.experiments import AllocatorTest
from ..workload.allocator_test import plan
from .published import KERNEL_TABLES, PATCH_OFF, PATCH_ON, kernel_table

TOTALS = (
    "pswpin", "pswpout", "pgmajfault", "swpin_zero", "swpout_zero", "thp_swpout", "thp_swpout_fallback",
)  # fmt: skip
MTHP_TOTALS = (
    "anon_fault_alloc", "anon_fault_fallback", "anon_fault_fallback_charge", "swpout", "swpout_fallback", "split",
    "split_deferred", "split_failed",
)  # fmt: skip


@dataclass
class Check:
    """One table.

    Parameters
    ----------
    name, source : str
        What it is and where the expected numbers come from.
    expected, simulated : list of (int, int)
        swpout and fallback by iteration.
    differences : list of str
        Numbers that differ.
    """

    name: str
    source: str
    expected: list[tuple[int, int]]
    simulated: list[tuple[int, int]] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every number is equal."""
        return not self.differences


def simulate(test: AllocatorTest) -> tuple[list[tuple[int, int]], dict[str, int]]:
    """Run one device; swpout and fallback by iteration, and the counters at the end."""
    workload = plan(test)
    arena = Arena([(workload.blueprint, 1)], ONE_THREAD)
    arena.init()
    arena.run(workload.program, workload.marks[0], workload.marks[1])
    out = counters.mthp_index("swpout", workload.folio_order)
    fallback = counters.mthp_index("swpout_fallback", workload.folio_order)
    rows = []
    before = arena.counters()[0]
    for first, end in pairwise(workload.marks[1:]):
        arena.run(workload.program, first, end)
        after = arena.counters()[0]
        rows.append((int(after[out] - before[out]), int(after[fallback] - before[fallback])))
        before = after
    totals = {name: int(before[counters.SCALAR_NAMES.index(name)]) for name in TOTALS}
    totals |= {name: int(before[counters.mthp_index(name, workload.folio_order)]) for name in MTHP_TOTALS}
    return rows, totals


def variant(name: str, iterations: int) -> AllocatorTest:
    """Parameters behind the name of a kernel table; numbers are drawn like an unseeded C program."""
    parts = name.split("-")
    return AllocatorTest(
        iterations=iterations,
        large_swapin=parts[0] == "large",
        aligned="a" in parts,
        small_folios="s" in parts,
        cpus=16 if "smp16" in parts else 1,
        random="glibc",
    )


def check_patch(large_swapin: bool) -> Check:
    """One of the two posted tables, under the rules of the posting's kernel (preset v7)."""
    expected = list(PATCH_ON if large_swapin else PATCH_OFF)
    title = f"patch v7, large swap-in {'on' if large_swapin else 'off'}"
    check = Check(title, "the patch's posting, August 2024", expected)
    test = AllocatorTest(iterations=len(expected), large_swapin=large_swapin, kernel="v7", random="glibc")
    check.simulated, _ = simulate(test)
    compare_rows(check)
    return check


def check_kernel(name: str) -> Check:
    """One table of the real 6.12, its totals included."""
    table = kernel_table(name)
    check = Check(f"6.12 {name}", "a real Linux 6.12.117", list(table.rows))
    check.simulated, totals = simulate(variant(name, len(table.rows)))
    compare_rows(check)
    for key in (*TOTALS, *MTHP_TOTALS):
        if totals[key] != table.totals[key]:
            check.differences.append(f"total {key}: expected {table.totals[key]}, got {totals[key]}")
    return check


def compare_rows(check: Check) -> None:
    """Note every iteration that differs."""
    for i, (want, got) in enumerate(zip(check.expected, check.simulated, strict=True), 1):
        if want != got:
            check.differences.append(f"iteration {i}: expected {want[0]}/{want[1]}, got {got[0]}/{got[1]}")


def all_checks() -> list[Callable[[], Check]]:
    """The check of every table there is."""
    patch = [partial(check_patch, large_swapin) for large_swapin in (False, True)]
    return [*patch, *(partial(check_kernel, name) for name in KERNEL_TABLES)]
