"""Published and measured tables of the allocator test."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from .script import PAGE_BYTES

PATCH_OFF = (
    (233, 0), (131, 101), (71, 155), (55, 168), (35, 191), (25, 199), (23, 205), (9, 219), (13, 213), (12, 216),
    (16, 213), (10, 210), (16, 212), (12, 212), (15, 211), (15, 200), (9, 220),
)  # fmt: skip
"""swpout and fallback of every iteration without large swap-in: the posting of the patch (v7, August 2024)."""
PATCH_ON = tuple((swpout, 0) for swpout in (948, 953, 950, 952, 950, 950, 947, 950, 950, 945, 947))
"""The same with large swap-in."""

KERNEL_TABLES = (
    "large", "large-s", "large-a", "large-a-s", "small", "small-s", "small-a", "small-a-s",
    "large-zstd", "small-zstd", "small-smp16", "small-s-smp16",
)  # fmt: skip
"""Runs of the unmodified test program on a real 6.12.117: the eight variants, then zstd and 16 CPUs."""


@dataclass(frozen=True)
class KernelTable:
    """What a real kernel counted.

    Parameters
    ----------
    name : str
        large or small (swap-in), options of the test, algorithm or CPUs.
    rows : tuple of (int, int)
        swpout and fallback of every iteration.
    totals : dict of str to int
        Change of the counters over the whole run, the exit of the process included.
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
    totals["pages_stored"] = (after["mm_stat"][0] - before["mm_stat"][0]) // PAGE_BYTES
    totals["same_pages"] = after["mm_stat"][5] - before["mm_stat"][5]
    totals["notify_free"] = after["io_stat"][3] - before["io_stat"][3]
    return KernelTable(name, rows, totals)
