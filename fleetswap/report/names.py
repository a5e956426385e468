"""What people call the metrics and their quantiles, and what they mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """What people call a metric, and what it means."""

    name: str
    meaning: str = ""


METRICS = {
    "fallback_permyriad": Metric(
        "Swap-out fallback", "large folios that found no run of free swap slots and were split into single pages"
    ),
    "swapin_large_permyriad": Metric("Large swap-in", "swapped-in pages that came back as part of a large folio"),
    "pgmajfault": Metric("Major faults", "times a process had to wait for a page that was swapped out"),
    "memory_saved_bytes": Metric("Memory saved", "memory that compression gained"),
    "stall_ns": Metric("Stall time", "time that apps waited for swap"),
    "kills": Metric("Apps killed", "background apps that were killed for want of memory"),
    "ratio_permille": Metric("Compression ratio", "size of the pages in zram over the memory they take there"),
    "cpu_ns": Metric("CPU time of swap", "processor time spent on swap"),
    "pswpin": Metric("Pages swapped in", "single pages read from zram, whether needed or not"),
    "pswpout": Metric("Pages swapped out", "single pages written to zram"),
    "refaults": Metric("Refaults", "pages that came back after they had been swapped out, whether needed or not"),
    "alloc_success_permyriad": Metric("Large folios granted", "requests for a large folio that free memory could meet"),
    "cold_starts": Metric("Cold starts", "apps that had to be started anew"),
    "decompressed_bytes": Metric("Bytes decompressed", "what the codec put out"),
    "fragmentation_permille": Metric(
        "Fragmentation", "free memory that lies in pieces below 64 KiB"
    ),
}  # fmt: skip
"""Metrics that a reader should see, the most telling ones first."""


def metric_name(metric: str) -> str:
    """A metric's name for people, or its own."""
    return METRICS[metric].name if metric in METRICS else metric


def meaning_of(metric: str) -> str:
    """A sentence that says what a metric means; empty if it is not known."""
    known = METRICS.get(metric)
    return f"{known.name}: {known.meaning}. " if known and known.meaning else ""


def ordered(metrics: Iterable[str]) -> list[str]:
    """Metrics without repetition, the telling ones first."""
    names = list(dict.fromkeys(metrics))
    return [name for name in METRICS if name in names] + [name for name in names if name not in METRICS]


def quantile_name(key: str) -> str:
    """A quantile's name for people: `p50` is the median."""
    return "median" if key == "p50" else key.removeprefix("p") + " %"
