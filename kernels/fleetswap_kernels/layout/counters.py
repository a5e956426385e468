"""Counters of a device: their indices and the kernel's own names (spec 09)."""

from enum import IntEnum, auto, unique

from .reasons import SWAPIN_REASONS, SWAPOUT_REASONS

VMSTAT = (
    "pgfault", "pgmajfault", "pswpin", "pswpout", "swpin_zero", "swpout_zero", "swap_ra", "swap_ra_hit",
    "thp_swpout", "thp_swpout_fallback", "thp_split_page", "thp_split_page_failed", "thp_deferred_split_page",
    "thp_fault_alloc", "thp_fault_fallback", "nr_vmscan_write", "pgactivate",
)  # fmt: skip
(
    PGFAULT, PGMAJFAULT, PSWPIN, PSWPOUT, SWPIN_ZERO, SWPOUT_ZERO, SWAP_RA, SWAP_RA_HIT,
    THP_SWPOUT, THP_SWPOUT_FALLBACK, THP_SPLIT_PAGE, THP_SPLIT_PAGE_FAILED, THP_DEFERRED_SPLIT_PAGE,
    THP_FAULT_ALLOC, THP_FAULT_FALLBACK, NR_VMSCAN_WRITE, PGACTIVATE,
) = range(len(VMSTAT))  # fmt: skip

ZRAM = (
    "pages_stored", "compr_data_size", "pool_pages", "max_used_pages", "same_pages", "huge_pages",
    "huge_pages_since", "failed_reads", "failed_writes", "notify_free", "writestall",
)  # fmt: skip
(
    PAGES_STORED, COMPR_DATA_SIZE, POOL_PAGES, MAX_USED_PAGES, SAME_PAGES, HUGE_PAGES,
    HUGE_PAGES_SINCE, FAILED_READS, FAILED_WRITES, NOTIFY_FREE, WRITESTALL,
) = range(len(VMSTAT), len(VMSTAT) + len(ZRAM))  # fmt: skip

FLEETSWAP = (
    "warn_mixed_zeromap", "silent_mixed_zeromap", "sigbus", "stale_reads", "swapin_waits", "swap_charge_refused",
    "wrong_contents", "page_events", "fault_pages", "anon_pages", "copied_pages", "huge_reads",
    "blk_decomp", "blk_decomp_bytes", "blk_partial_read", "blk_pages_read", "blk_rewrite", "dead_bytes",
    "swapout_folios", "pool_bytes",
)  # fmt: skip
"""What no kernel counts: the zeromap conflict (spec 07 §7.4), lost races of swap-in, page events, what faults do page
by page (mapped, zero-filled, copied), folios that swap-out unmaps, blocks of several pages in zram (spec 08 §8.5), and
the bytes of a packed pool.

A page event is one page touched by an operation, mapped by a fault, swapped out, or dropped by a zap.
"""
(
    WARN_MIXED_ZEROMAP, SILENT_MIXED_ZEROMAP, SIGBUS, STALE_READS, SWAPIN_WAITS, SWAP_CHARGE_REFUSED,
    WRONG_CONTENTS, PAGE_EVENTS, FAULT_PAGES, ANON_PAGES, COPIED_PAGES, HUGE_READS,
    BLK_DECOMP, BLK_DECOMP_BYTES, BLK_PARTIAL_READ, BLK_PAGES_READ, BLK_REWRITE, DEAD_BYTES,
    SWAPOUT_FOLIOS, POOL_BYTES,
) = range(len(VMSTAT) + len(ZRAM), len(VMSTAT) + len(ZRAM) + len(FLEETSWAP))  # fmt: skip

SCALAR_NAMES = VMSTAT + ZRAM + FLEETSWAP
N_SCALAR = len(SCALAR_NAMES)
"""Counters that exist once; the per-size ones follow, ten for every order."""


@unique
class Mthp(IntEnum):
    """Counters that every order has, in the order of their numbers."""

    ANON_FAULT_ALLOC = 0
    ANON_FAULT_FALLBACK = auto()
    ANON_FAULT_FALLBACK_CHARGE = auto()
    SWPOUT = auto()
    SWPOUT_FALLBACK = auto()
    SPLIT = auto()
    SPLIT_FAILED = auto()
    SPLIT_DEFERRED = auto()
    NR_ANON = auto()
    NR_ANON_PARTIALLY_MAPPED = auto()


MTHP = tuple(counter.name.lower() for counter in Mthp)

FOLIO_ALLOC = N_SCALAR + len(MTHP) * 10
"""Folios allocated, by order 0..9; the kernel counts those of anonymous faults only."""


@unique
class CodecWork(IntEnum):
    """What goes through the codec, in the order of the counters."""

    COMPRESSED_PAGES = 0
    DECOMPRESSED_PAGES = auto()
    COMPRESSED_BLOCKS = auto()
    DECOMPRESSED_BLOCKS = auto()


CODEC = tuple(work.name.lower() for work in CodecWork)
N_CLASSES = 32
"""Content classes; the last one stands for contents of a table, which belong to none."""
CLASS_OF_TABLE = N_CLASSES - 1
CODEC_FIRST = FOLIO_ALLOC + 10
"""Work of the codec, by content class: four counters each."""

PHONE_FIRST = CODEC_FIRST + len(CODEC) * N_CLASSES
PHONE = (
    "pgsteal_kswapd", "pgsteal_direct", "allocstall", "workingset_refault_anon", "workingset_activate_anon",
    "kills_low_swap", "kills_thrashing", "kills_no_memory", "refused_faults", "app_switches", "cold_starts",
    "trimmed_apps", "compacted_apps", "compactions",
)  # fmt: skip
"""What only a device whose memory can run short counts; the first five under the kernel's names (spec 06, 09)."""
(
    PGSTEAL_KSWAPD, PGSTEAL_DIRECT, ALLOCSTALL, WORKINGSET_REFAULT_ANON, WORKINGSET_ACTIVATE_ANON,
    KILLS_LOW_SWAP, KILLS_THRASHING, KILLS_NO_MEMORY, REFUSED_FAULTS, APP_SWITCHES, COLD_STARTS,
    TRIMMED_APPS, COMPACTED_APPS, COMPACTIONS,
) = range(PHONE_FIRST, PHONE_FIRST + len(PHONE))  # fmt: skip
FOLIO_WANTED = PHONE_FIRST + len(PHONE)
"""Large folios asked of the page allocator, by order 0..9."""
FOLIO_REFUSED = FOLIO_WANTED + 10
"""Those it could not give."""
SWAPIN_REASON = FOLIO_REFUSED + 10
"""Why a swap-in was smaller than the largest enabled size (`reasons.SwapinReason`)."""
N_SWAPIN_REASONS = len(SWAPIN_REASONS)
SWAPOUT_REASON = SWAPIN_REASON + N_SWAPIN_REASONS
"""Why a large folio got no slots (`reasons.SwapoutReason`)."""
N_SWAPOUT_REASONS = len(SWAPOUT_REASONS)
REFAULT_DISTANCE = SWAPOUT_REASON + N_SWAPOUT_REASONS
"""Pages that came back, by the power of two of the pages that were swapped out since."""
N_DISTANCES = 24
N_BLOCK_ORDERS = 11
BROKEN_BY_FOLIOS = REFAULT_DISTANCE + N_DISTANCES
"""Free blocks of page frames that were broken up for a smaller folio, by the order of the block, 0..10; from 2 on."""
BROKEN_BY_POOL = BROKEN_BY_FOLIOS + N_BLOCK_ORDERS
"""Those that were broken up for a page of zram's pool."""
GAUGE_FIRST = BROKEN_BY_POOL + N_BLOCK_ORDERS
GAUGE = ("free_frames", "free_reserved_frames", "resident_pages", "swapped_pages", "free_slots", "processes")
"""State of a device when it was last looked at, not a sum of events."""
(GAUGE_FREE_FRAMES, GAUGE_RESERVED, GAUGE_RESIDENT, GAUGE_SWAPPED, GAUGE_FREE_SLOTS, GAUGE_PROCESSES) = range(
    GAUGE_FIRST, GAUGE_FIRST + len(GAUGE)
)
GAUGE_BLOCKS = GAUGE_FIRST + len(GAUGE)
"""Free blocks of page frames by order 0..10."""
GAUGE_UNUSABLE = GAUGE_BLOCKS + N_BLOCK_ORDERS
"""Unusable free space index by folio order 0..9, permille (debugfs extfrag/unusable_index times 1000)."""
GAUGE_EXTFRAG = GAUGE_UNUSABLE + 10
"""Fragmentation index by folio order 0..9, permille; -1000, as two's complement, where a block is free."""
GAUGE_CENSUS = GAUGE_EXTFRAG + 10
"""Swapped pages by the largest order that could swap in, then runs of slots by the power of two of their length."""
N_COUNTERS = GAUGE_CENSUS + 20


def codec_index(name: str, content_class: int) -> int:
    """Index of a counter of the codec's work."""
    return CODEC_FIRST + len(CODEC) * content_class + CODEC.index(name)


def mthp_index(name: str, order: int) -> int:
    """Index of a per-size counter."""
    return N_SCALAR + len(MTHP) * order + MTHP.index(name)
