"""What is reported of a device: the kernel's counters under its names, and figures made of them, all integers.

A phone is simulated as a miniature: what counts pages, faults, bytes or time of it is multiplied by the page scale, so
that every figure is one of the real device. Processes, apps and kills are as many in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.device.figures.figures import COLUMN_FACTOR, COLUMN_STATE, COLUMN_WORDS, FIGURES
from fleetswap_kernels.device.figures.price import PAID_WORDS
from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout import words as bits
from fleetswap_kernels.layout.pages import SIZES_KIB
from fleetswap_kernels.layout.reasons import SWAPIN_REASONS, SWAPOUT_REASONS

Ints = npt.NDArray[np.int64]
PERMYRIAD = 10_000
COUNTED_ONCE = (
    "kills_low_swap", "kills_thrashing", "kills_no_memory", "app_switches", "cold_starts", "trimmed_apps",
    "compacted_apps", "compactions", "processes",
    *(f"{index}_index_{size}kB" for index in ("unusable", "extfrag") for size in SIZES_KIB),
)  # fmt: skip
"""What a miniature has as many of as the real device, and permilles."""


def columns() -> dict[str, int]:
    """Counters of a device by the name of their column: those that exist once, by size, by reason, gauges."""
    column_indices = _numbered(0, counters.SCALAR_NAMES) | _numbered(counters.PHONE_FIRST, counters.PHONE)
    for order in range(2, bits.N_ORDERS):
        size = f"{4 << order}kB"
        column_indices |= {f"{name}_{size}": counters.mthp_index(name, order) for name in counters.MTHP}
        column_indices |= {
            f"folio_alloc_{size}": counters.FOLIO_ALLOC + order,
            f"folio_wanted_{size}": counters.FOLIO_WANTED + order,
            f"folio_refused_{size}": counters.FOLIO_REFUSED + order,
            f"broken_by_folios_{size}": counters.BROKEN_BY_FOLIOS + order,
            f"broken_by_pool_{size}": counters.BROKEN_BY_POOL + order,
            f"unusable_index_{size}": counters.GAUGE_UNUSABLE + order,
            f"extfrag_index_{size}": counters.GAUGE_EXTFRAG + order,
        }
    column_indices |= _numbered(counters.SWAPIN_REASON, SWAPIN_REASONS, "swapin_fallback_")
    column_indices |= _numbered(counters.SWAPOUT_REASON, SWAPOUT_REASONS, "swapout_fallback_")
    column_indices |= _numbered(counters.REFAULT_DISTANCE, range(counters.N_DISTANCES), "refault_distance_2^")
    column_indices |= _numbered(counters.GAUGE_FIRST, counters.GAUGE)
    column_indices |= _numbered(counters.GAUGE_BLOCKS, range(bits.MAX_BLOCK_ORDER + 1), "free_blocks_")
    column_indices |= {f"census_order_{order}": counters.GAUGE_CENSUS + order for order in (0, *range(2, 9))}
    return column_indices | _numbered(counters.GAUGE_CENSUS + 10, range(10), "slot_runs_2^")


def _numbered(first: int, names: Iterable[object], prefix: str = "") -> dict[str, int]:
    """Counters that stand one behind the other, from the first on."""
    return {f"{prefix}{name}": first + i for i, name in enumerate(names)}


def kernel_columns() -> dict[str, int]:
    """Those of `columns` that the kernel has too: all that is counted of a device whose memory cannot run short."""
    end = counters.N_SCALAR + len(counters.MTHP) * bits.N_ORDERS
    return {name: index for name, index in columns().items() if index < end}


STATES = frozenset(
    {"pages_stored", "compr_data_size", "pool_pages", "max_used_pages", "same_pages", "huge_pages", "dead_bytes"}
    | {"pool_bytes", *counters.GAUGE}
    | {
        name
        for name in columns()
        if name.startswith(("nr_anon", "free_blocks", "unusable", "extfrag", "census", "slot_runs"))
    }
)
"""Columns that are a state, not a sum of events."""


def column_table(page_scale: int) -> Ints:
    """What a change of every counter is multiplied by, and whether it is a state (`fold.take_change`)."""
    table = np.zeros((counters.N_COUNTERS, COLUMN_WORDS), dtype=np.int64)
    table[:, COLUMN_FACTOR] = page_scale
    for name, index in columns().items():
        if name in COUNTED_ONCE:
            table[index, COLUMN_FACTOR] = 1
        if name in STATES:
            table[index, COLUMN_STATE] = 1
    return table


@dataclass(frozen=True)
class Metric:
    """A metric of a device.

    Parameters
    ----------
    unit : str
    better : str
        "min", "max", or "" where more is neither.
    text : str
        What it is.
    figure : str
        Its value (`figures.FIGURES`); of a share the numerator.
    base : str, optional
        The figure that is the denominator of a share; the value is the numerator times `per` over it, rounded down.
    per : int
    state : bool
        Whether it is a state at the end of a step, not what happened in it. That of a run is the mean over the ends of
        its steps: rounded down, a share that of the sums.
    """

    unit: str
    better: str
    text: str
    figure: str
    base: str | None = None
    per: int = 1
    state: bool = False

    def of_sums(self, top: int, bottom: int) -> int:
        """Value of devices together: a sum, or the share of the sums; a share of nothing is 0."""
        return top if self.base is None else top * self.per // max(bottom, 1)

    def value(self, parts: Sequence[Ints]) -> Ints:
        """Value of each device from its figures; a share of nothing is 0."""
        return parts[0] if self.base is None else parts[0] * self.per // np.maximum(parts[1], 1)


METRICS: dict[str, Metric] = {
    "pgmajfault": Metric("faults", "min", "major faults", "major_faults"),
    "pswpin": Metric("pages", "min", "pages read from zram", "pages_read"),
    "pswpout": Metric("pages", "min", "pages written to zram", "pages_written"),
    "refaults": Metric("pages", "min", "pages that came back", "refaults"),
    "fallback_permyriad": Metric(
        "1/10000", "min", "large folios that got no slots, of those offered", "swapout_fallbacks", "swapouts_offered",
        PERMYRIAD,
    ),
    "swapin_large_permyriad": Metric(
        "1/10000", "max", "pages swapped in by large folios, of all swapped in", "large_pages_in", "pages_in",
        PERMYRIAD,
    ),
    "alloc_success_permyriad": Metric(
        "1/10000", "max", "large folios that the page allocator could give, of those asked for", "folios_granted",
        "folios_wanted", PERMYRIAD,
    ),
    "ratio_permille": Metric(
        "1/1000", "max", "pages stored over pages of the pool, mean over time", "pages_stored", "pool_pages", 1000,
        state=True,
    ),
    "memory_saved_bytes": Metric("bytes", "max", "memory that zram saves, mean over time", "saved_bytes", state=True),
    "broken_blocks": Metric("blocks", "min", "free blocks of 64 KiB broken up for smaller folios", "broken_blocks"),
    "fragmentation_permille": Metric(
        "1/1000", "min", "free memory in blocks below 64 KiB, of all free, mean over time", "small_free_pages",
        "free_pages", 1000, state=True,
    ),
    "stall_ns": Metric("ns", "min", "time that processes wait for faults and direct reclaim", "stall_ns"),
    "cpu_ns": Metric("ns", "min", "CPU time of faults and swap-out", "cpu_ns"),
    "decompressed_bytes": Metric("bytes", "min", "what the codec put out", "decompressed_bytes"),
    "kills": Metric("apps", "min", "apps killed for want of memory", "kills"),
    "cold_starts": Metric("starts", "min", "apps that had to be started anew", "cold_starts"),
}  # fmt: skip
"""What is kept of phones per step, and compared."""


def metric_table(metrics: Iterable[Metric]) -> Ints:
    """Metrics as the kernels read them, int64 array of shape (metrics, figures.METRIC_WORDS)."""
    at = {name: PAID_WORDS + i for i, name in enumerate(FIGURES)}
    rows = [(at[m.figure], at[m.base] if m.base else -1, m.per, m.state) for m in metrics]
    return np.array(rows, dtype=np.int64)


def parts_of(metric: Metric, parts: Ints) -> list[Ints]:
    """Figures of a metric, one value a device, out of the parts of devices; of a share numerator and denominator.

    Parameters
    ----------
    metric : Metric
    parts : int64 array of shape (devices, figures.PARTS)
    """
    names = [metric.figure] if metric.base is None else [metric.figure, metric.base]
    return [parts[:, PAID_WORDS + FIGURES.index(name)] for name in names]
