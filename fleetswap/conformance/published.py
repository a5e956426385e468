"""Published and measured tables of the allocator test."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

PATCH_OFF = (
    (233, 0), (131, 101), (71, 155), (55, 168), (35, 191), (25, 199), (23, 205), (9, 219), (13, 213), (12, 216),
    (16, 213), (10, 210), (16, 212), (12, 212), (15, 211), (15, 200), (9, 220),
)  # fmt: skip
"""swpout and fallback of every iteration without large swap-in: the posting of the patch (v7, August 2024)."""
PATCH_ON = tuple((swpout, 0) for swpout in (948, 953, 950, 952, 950, 950, 947, 950, 950, 945, 947))
"""The same with large swap-in."""
PATCH_TABLES = {"off": PATCH_OFF, "on": PATCH_ON}

KERNEL_TABLES = (
    "large", "large-s", "large-a", "large-a-s", "small", "small-s", "small-a", "small-a-s",
    "large-zstd", "small-zstd", "small-smp16", "small-s-smp16",
)  # fmt: skip
"""Runs of the unmodified test program on a real 6.12.117: the eight variants, then zstd and 16 CPUs."""


OWN_FOLIO = ("anon_fault_alloc", "split_deferred")
"""Counters that a 64 KiB folio of the test program's own memory, partly unmapped at its end, raised by exactly 1."""


@dataclass(frozen=True)
class KernelTable:
    """Counts of a real kernel.

    Parameters
    ----------
    name : str
        large or small (swap-in), options of the test, algorithm or CPUs.
    rows : tuple of (int, int)
        swpout and fallback of every iteration.
    totals : dict of str to int
        Change of the counters over the whole run, `OWN_FOLIO` taken off.
    """

    name: str
    rows: tuple[tuple[int, int], ...]
    totals: dict[str, int]


def kernel_table(name: str) -> KernelTable:
    """Read one table of `KERNEL_TABLES`."""
    folder = resources.files("fleetswap") / "data" / "thptest"
    text = (folder / f"{name}.csv").read_text()
    rows = tuple((int(r["swpout_inc"]), int(r["swpout_fallback_inc"])) for r in csv.DictReader(text.splitlines()))
    stats: dict[str, Any] = json.loads((folder / f"{name}.stats.json").read_text())
    before, after = stats["before"], stats["after"]
    totals = {key: after[key] - before[key] for key in before if isinstance(before[key], int)}
    for key in OWN_FOLIO:
        totals[key] -= 1
    return KernelTable(name, rows, totals)
