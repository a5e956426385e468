"""What is reported of a device: the kernel's counters under its names, and figures made of them, all integers.

A phone is simulated as a miniature: what counts pages, faults, bytes or time of it is multiplied by the page scale, so
that every figure is one of the real device. Processes, apps and kills are as many in both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetswap_kernels import bits, counters
from fleetswap_kernels.fallback import SWAPIN_REASONS, SWAPOUT_REASONS

from .cost import Price

Ints = npt.NDArray[np.int64]
PERMYRIAD = 10_000
PAGE_BYTES = 4096
SIZES_KIB = tuple(4 << order for order in range(2, bits.N_ORDERS))
COUNTED_ONCE = (
    "kills_low_swap", "kills_thrashing", "kills_no_memory", "app_switches", "cold_starts", "trimmed_apps",
    "compacted_apps", "compactions", "processes",
    *(f"{index}_index_{size}kB" for index in ("unusable", "extfrag") for size in SIZES_KIB),
)  # fmt: skip
"""What a miniature has as many of as the real device, and permilles."""


def columns() -> dict[str, int]:
    """Counters of a device by the name of their column: those that exist once, by size, by reason, gauges."""
    found = {name: i for i, name in enumerate(counters.SCALAR_NAMES)}
    found |= {name: counters.PHONE_FIRST + i for i, name in enumerate(counters.PHONE)}
    for order in range(2, bits.N_ORDERS):
        size = f"{4 << order}kB"
        found |= {f"{name}_{size}": counters.mthp_index(name, order) for name in counters.MTHP}
        found |= {
            f"folio_alloc_{size}": counters.FOLIO_ALLOC + order,
            f"folio_wanted_{size}": counters.FOLIO_WANTED + order,
            f"folio_refused_{size}": counters.FOLIO_REFUSED + order,
            f"broken_by_folios_{size}": counters.BROKEN_BY_FOLIOS + order,
            f"broken_by_pool_{size}": counters.BROKEN_BY_POOL + order,
            f"unusable_index_{size}": counters.GAUGE_UNUSABLE + order,
            f"extfrag_index_{size}": counters.GAUGE_EXTFRAG + order,
        }
    found |= {f"swapin_fallback_{name}": counters.SWAPIN_REASON + i for i, name in enumerate(SWAPIN_REASONS)}
    found |= {f"swapout_fallback_{name}": counters.SWAPOUT_REASON + i for i, name in enumerate(SWAPOUT_REASONS)}
    found |= {f"refault_distance_2^{i}": counters.REFAULT_DISTANCE + i for i in range(counters.N_DISTANCES)}
    found |= {name: counters.GAUGE_FIRST + i for i, name in enumerate(counters.GAUGE)}
    found |= {f"free_blocks_{order}": counters.GAUGE_BLOCKS + order for order in range(bits.MAX_BLOCK_ORDER + 1)}
    found |= {
        f"census_order_{order}": counters.GAUGE_CENSUS + order for order in range(10) if order != 1 and order != 9
    }
    return found | {f"slot_runs_2^{i}": counters.GAUGE_CENSUS + 10 + i for i in range(10)}


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


class Events:
    """Counters of some devices, or what a step changed in them, scaled to real devices.

    Parameters
    ----------
    counted : int64 array of shape (devices, counters.N_COUNTERS)
        Of the miniatures.
    page_scale : int
    """

    _COLUMNS = columns()

    def __init__(self, counted: Ints, page_scale: int) -> None:
        self.counted = counted * page_scale
        for name in COUNTED_ONCE:
            self.counted[:, self._COLUMNS[name]] //= page_scale

    def __getitem__(self, name: str) -> Ints:
        values: Ints = self.counted[:, self._COLUMNS[name]]
        return values

    def by_size(self, name: str) -> Ints:
        """Columns of a per-size counter, shape (devices, sizes), sizes as in `SIZES_KIB`."""
        return np.stack([self[f"{name}_{size}kB"] for size in SIZES_KIB], axis=1)


@dataclass(frozen=True)
class Metric:
    """A figure of a device.

    Parameters
    ----------
    unit : str
    better : str
        "min", "max", or "" where more is neither.
    text : str
        What it is.
    of : function of (Events, Price)
        One value a device; for a share its numerator.
    base : function of (Events, Price), optional
        Denominator of a share; the value is the numerator times `per` over it, rounded down.
    per : int
    state : bool
        Whether it is a state at the end of a step, not what happened in it. That of a run is the mean over the ends of
        its steps.
    """

    unit: str
    better: str
    text: str
    of: Callable[[Events, Price], Ints]
    base: Callable[[Events, Price], Ints] | None = None
    per: int = 1
    state: bool = False

    def parts(self, events: Events, paid: Price) -> list[Ints]:
        """Value of each device; of a share numerator and denominator."""
        return [of(events, paid) for of in (self.of, self.base) if of is not None]

    def mean(self, sums: Sequence[Ints], steps: int) -> list[Ints]:
        """What `parts` are of a run, from their sums over its steps: rounded down, a share that of the sums."""
        return [sums[0] // steps] if self.base is None else list(sums)

    def value(self, parts: Sequence[Ints]) -> Ints:
        """Value of each device; a share of nothing is 0."""
        return parts[0] if self.base is None else parts[0] * self.per // np.maximum(parts[1], 1)


def _of_all_sizes(events: Events, name: str) -> Ints:
    total: Ints = events.by_size(name).sum(1)
    return total


def _swapout(events: Events, _: Price) -> Ints:
    return _of_all_sizes(events, "swpout_fallback")


def _offered(events: Events, _: Price) -> Ints:
    return _of_all_sizes(events, "swpout") + _of_all_sizes(events, "swpout_fallback")


def _large_pages_in(events: Events, _: Price) -> Ints:
    """Pages that came in by large folios: all folios but those of anonymous faults."""
    folios = events.by_size("folio_alloc") - events.by_size("anon_fault_alloc")
    pages: Ints = folios @ (np.array(SIZES_KIB, dtype=np.int64) // 4)
    return pages


def _pages_in(events: Events, _: Price) -> Ints:
    return events["pswpin"] + events["swpin_zero"]


def _granted(events: Events, paid: Price) -> Ints:
    return _wanted(events, paid) - _of_all_sizes(events, "folio_refused")


def _wanted(events: Events, _: Price) -> Ints:
    return _of_all_sizes(events, "folio_wanted")


def _kills(events: Events, _: Price) -> Ints:
    return events["kills_low_swap"] + events["kills_thrashing"] + events["kills_no_memory"]


def _saved(events: Events, _: Price) -> Ints:
    saved: Ints = (events["pages_stored"] - events["pool_pages"]) * PAGE_BYTES
    return saved


def _free_pages(events: Events, _: Price) -> Ints:
    return events["free_frames"]


def _small_free_pages(events: Events, _: Price) -> Ints:
    """Free pages in blocks smaller than 64 KiB."""
    pages: Ints = np.stack([events[f"free_blocks_{k}"] << k for k in range(4)]).sum(0)
    return pages


def _direct_ns(events: Events, paid: Price) -> Ints:
    """Time of swap-out that a faulting process did itself, by its share of the pages."""
    out = np.maximum(events["pswpout"] + events["swpout_zero"], 1)
    direct: Ints = paid.swapout_ns // out * events["pgsteal_direct"]
    return direct


def _stall(events: Events, paid: Price) -> Ints:
    return paid.stall_ns + _direct_ns(events, paid)


def _counter(name: str) -> Callable[[Events, Price], Ints]:
    return lambda events, _: events[name]


METRICS: dict[str, Metric] = {
    "pgmajfault": Metric("faults", "min", "major faults", _counter("pgmajfault")),
    "pswpin": Metric("pages", "min", "pages read from zram", _counter("pswpin")),
    "pswpout": Metric("pages", "min", "pages written to zram", _counter("pswpout")),
    "refaults": Metric("pages", "min", "pages that came back", _counter("workingset_refault_anon")),
    "fallback_permyriad": Metric(
        "1/10000", "min", "large folios that got no slots, of those offered", _swapout, _offered, PERMYRIAD
    ),
    "swapin_large_permyriad": Metric(
        "1/10000", "max", "pages swapped in by large folios, of all swapped in", _large_pages_in, _pages_in, PERMYRIAD
    ),
    "alloc_success_permyriad": Metric(
        "1/10000", "max", "large folios that the page allocator could give, of those asked for", _granted, _wanted,
        PERMYRIAD,
    ),
    "ratio_permille": Metric(
        "1/1000", "max", "pages stored over pages of the pool, mean over time",
        _counter("pages_stored"), _counter("pool_pages"), 1000, state=True,
    ),
    "memory_saved_bytes": Metric("bytes", "max", "memory that zram saves, mean over time", _saved, state=True),
    "broken_blocks": Metric(
        "blocks", "min", "free blocks of 64 KiB broken up for smaller folios", _counter("broken_by_folios_64kB")
    ),
    "fragmentation_permille": Metric(
        "1/1000", "min", "free memory in blocks below 64 KiB, of all free, mean over time",
        _small_free_pages, _free_pages, 1000, state=True,
    ),
    "stall_ns": Metric("ns", "min", "time that processes wait for faults and direct reclaim", _stall),
    "cpu_ns": Metric("ns", "min", "CPU time of faults and swap-out", lambda _, paid: paid.cpu_ns),
    "decompressed_bytes": Metric("bytes", "min", "what the codec put out", lambda _, paid: paid.decompressed_bytes),
    "kills": Metric("apps", "min", "apps killed for want of memory", _kills),
    "cold_starts": Metric("starts", "min", "apps that had to be started anew", _counter("cold_starts")),
}  # fmt: skip
"""What is kept per step and compared."""
