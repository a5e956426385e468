"""Memory layout of a device: one header record, then arrays whose offsets the header holds.

An arena is one block of memory with any number of devices of any sizes. It is passed to kernels as a 1-D array of
``HEADER`` records; device ``d`` starts at record ``base[d]``. ``w``, ``by``, ``q`` and ``h`` alias the start of a
device as uint32, uint8, uint64 and uint16. They are indexed beyond their declared length, always with ``np.uint32``
indices, which compiles to plain pointer arithmetic: one machine code for all sizes. Only `access` may do that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


from . import words as bits
from . import counters
from .exact_view import view_class
from .headers import header_type, places

SIZES = (
    "n_cpus", "n_procs", "n_vmas", "n_ptes", "n_pmds", "n_frames", "n_expect", "n_slots", "n_clusters",
    "n_contents", "n_content_map", "n_cache", "n_zhandles", "n_zspages", "n_zclasses", "n_blocks",
    "n_gens", "n_pool_frames", "n_shadows", "n_habits", "n_phone", "n_runs",
)  # fmt: skip
OFFSETS = (
    "o_cpu", "o_proc", "o_vma", "o_pmd", "o_pte", "o_expect", "o_cluster", "o_cluster_next", "o_cluster_prev",
    "o_map", "o_zeromap", "o_stored", "o_cache", "o_frame", "o_content", "o_mapcount", "o_content_bytes",
    "o_content_map", "o_zhandle", "o_stored_bytes", "o_block", "o_zspage", "o_zgroup", "o_zclass", "o_zraw",
    "o_zstep", "o_zshare", "o_gen", "o_pool_frame", "o_shadow", "o_habits", "o_phone", "o_run",
)  # fmt: skip
SCALARS = (
    # swap device (spec 01 §1.5)
    "pages", "inuse", "nr_swap_pages", "lowest_bit", "highest_bit", "cache_enabled", "cache_active",
    "reclaim_pending", "frames_free", "zspage_unused",
    "swap_cache_pages", "sparse_blocks", "procs_made",
    # policy
    "thp_always", "thp_madvise", "thp_inherit", "thp_global", "page_cluster", "zswap_ever", "zap_single",
    "zeromap_check", "pin_swapin", "mem_limit_pages", "verdicts", "random_philox", "seed_lo", "seed_hi", "device_id",
    "folio_chance", "folio_chance_q16", "folio_requests", "codec", "block_order", "block_rewrite", "block_fallback",
    "huge_bytes", "huge_block_bytes", "scale_by_process", "swapin_denied", "zeromap_off",
    # memory that can run short: policy, then state
    "min_free", "low_free", "high_free", "kswapd_pages", "direct_pages", "reserve_order", "reserve_frames",
    "margin_rule", "defrag",
    "reserve_start", "reserve_free", "kswapd_on", "hand", "min_gen", "max_gen", "evictions", "foreground", "effort",
    "compact_wait", "window_refaults", "window_pages", "thrashing_limit", "hole_slot", "hole_frees", "hole_order",
    # where reclaim stands
    "reclaimer", "room_tries", "reclaim_goal", "reclaim_evicted", "reclaim_left", "hand_inside", "hand_pages",
    "hand_vma", "hand_at", "hand_stayed", "victim", "victim_head", "victim_order",
    # the operation in progress
    "error", "error_detail", "cpu", "proc", "op_errno", "op_minflt", "op_majflt", "op_bad",
    "room", "half_step", "half_first", "half_page",
)  # fmt: skip

HEADER_BYTES = 768
ALIASES = {"w": "u4", "by": "u1", "q": "u8", "h": "u2"}
_FIELDS = places([*SIZES, *OFFSETS, *SCALARS])
HEADER = header_type(_FIELDS, ALIASES, HEADER_BYTES)
DeviceView = view_class("DeviceView", _FIELDS)
"""A device whose arrays have its true length."""
SHORT = "memory_runs_short"
SHORT_HEADER = header_type({**_FIELDS, SHORT: _FIELDS["n_gens"]}, ALIASES, HEADER_BYTES)
"""The same header of a device whose memory can run short: another type, for which code is compiled anew."""

# Arrays of fixed size stand behind the header at constant offsets (in words or quads from the device's start).
W_LIST_HEAD = HEADER_BYTES // 4
W_LIST_TAIL = W_LIST_HEAD + bits.N_LISTS
W_FRAG_NR = W_LIST_TAIL + bits.N_LISTS
W_BLOCK_HEAD = W_FRAG_NR + bits.N_ORDERS
W_VERDICT_LEFT = W_BLOCK_HEAD + 2 * (bits.MAX_BLOCK_ORDER + 1)
N_VERDICT_LISTS = 3 * bits.N_ORDERS
Q_COUNTER = (W_VERDICT_LEFT + N_VERDICT_LISTS + 1) // 2
Q_VERDICT = Q_COUNTER + counters.N_COUNTERS
FIXED_BYTES = (Q_VERDICT + N_VERDICT_LISTS) * 8

# Records inside the variable arrays, in words
CPU_ALLOC_CUR = 10
CPU_ALLOC_NR = 11
CPU_RET_NR = 12
CPU_ALLOC = 13
CPU_RET = CPU_ALLOC + bits.SWAP_BATCH
CPU_FAULT = CPU_RET + bits.SWAP_BATCH
"""A fault halted between its two halves, 8 words."""
FAULT_FRAME, FAULT_PROC, FAULT_VMA, FAULT_PAGE, FAULT_WRITE, FAULT_ORDER, FAULT_PTE, FAULT_MIXED = range(8)
"""FAULT_FRAME is the head frame of the folio it read, plus 1; 0 if there is no such fault."""
CPU_SLOT = CPU_FAULT + 8
"""Answer of a request that bypasses the allocation cache."""
CPU_WORDS = CPU_SLOT + 1

(
    PROC_USED, PROC_CPU, PROC_MAJFLT, PROC_PTE, PROC_PMD, PROC_DRAWS, PROC_SWAPENTS, PROC_ANONPAGES, PROC_SERIAL,
    PROC_SCALE, PROC_STAMP, PROC_APP, PROC_RAND,
) = range(13)  # fmt: skip
"""PROC_SERIAL: number of the process among all that the device ever had, the key of its contents. PROC_STAMP: app
switch at which it was last in the foreground, plus 1; 0 for one that is never killed. PROC_APP: which of the phone's
apps it runs, plus 1. PROC_RAND: state of its ``rand()``."""
PROC_WORDS = PROC_RAND + 32

VMA_WORDS = 8
VMA_FLAGS, VMA_START, VMA_PAGES, VMA_PTE, VMA_PMD, VMA_RA_PAGE, VMA_RA_WIN, VMA_RA_HITS = range(VMA_WORDS)

ZSPAGE_WORDS = 3
ZSPAGE_NEXT, ZSPAGE_PREV, ZSPAGE_INFO = range(ZSPAGE_WORDS)
ZGROUPS = 12
"""Fullness groups of a size class (mm/zsmalloc.c, spec 08 §8.3)."""
ZCLASS_INFO = 0
"""Objects per zspage in the low 16 bits, pages above."""
ZCLASS_RECIPROCAL = 1
"""2^32 over the objects, rounded up: a division costs more than all else in a store."""
ZCLASS_WORDS = 2

ZSHARE_STEPS = 257
"""Where the shares of objects above a page start in the table of a packed pool; those of smaller ones stand before."""
ZSHARES = ZSHARE_STEPS + 257

BLOCK_HANDLE = 0
BLOCK_INFO = 1
"""Compressed bytes in the low 22 bits, live slots above; 0 if nothing is stored as a block."""
BLOCK_BYTES = 0x3FFFFF
BLOCK_LIVE_SHIFT = 22
BLOCK_NEXT = 2
"""Next block that waits to be rewritten, its number plus 1; NIL for the last one, 0 for one that does not wait."""
BLOCK_CLASS = 3
"""Class of its first page that was not zero-filled."""
BLOCK_WORDS = 4

RUN_SLOTS = 16
"""Slots of a run, an aligned 64 KiB of a packed pool (`runs`)."""

GEN_PTES = 16
"""PTEs that share a generation: a 64 KiB block of a process's part of the PTE array."""

VERDICT_FOLIO, VERDICT_CHARGE, VERDICT_SWAP = range(3)


@dataclass(frozen=True)
class Sizes:
    """How large the arrays of one device are.

    Parameters
    ----------
    slots : int
        Swap slots (pages) of the zram device, header included.
    ptes : int
        PTEs of one process.
    pmds : int
        2 MiB ranges of one process.
    frames : int
        Page frames.
    procs, vmas, cpus : int
        Processes, regions per process, CPUs.
    contents, content_map : int
        Entries of the content table and of the (pattern, page) to content map.
    zspages : int
        Zspages the pool may hold. 0 packs objects perfectly: the pool then has as many bytes as their shares of full
        zspages sum up to.
    zclasses : int
        zsmalloc size classes; 0 if every page stored is same-filled, so that there is no pool.
    block_order : int
        zram compresses aligned blocks of 2^block_order pages as one object where a folio covers them.
    swap_cache : bool
        Whether folios can stay in the swap cache after an operation (fork, readahead, write errors).
    verify : bool
        Whether the device keeps what every page should hold, so that reads can be checked.
    pressure : bool
        Whether memory can run short: the pool takes frames, pages have generations, and reclaim makes room.
    habits, phone : int
        Words of a phone's habits and of its state (`phone`).
    """

    slots: int
    ptes: int
    pmds: int
    frames: int
    procs: int = 1
    vmas: int = 1
    cpus: int = 1
    contents: int = 2
    content_map: int = 1
    zspages: int = 0
    zclasses: int = 0
    block_order: int = 0
    swap_cache: bool = True
    verify: bool = True
    pressure: bool = False
    habits: int = 0
    phone: int = 0

    def fields(self) -> dict[str, int]:
        """Header fields that hold sizes."""
        clusters = -(-self.slots // bits.CLUSTER_SLOTS)
        runs_fit_blocks = self.block_order == 0 or 1 << self.block_order >= RUN_SLOTS
        return {
            "n_cpus": self.cpus,
            "n_procs": self.procs,
            "n_vmas": self.vmas,
            "n_ptes": self.ptes * self.procs,
            "n_pmds": self.pmds * self.procs,
            "n_frames": self.frames,
            "n_expect": self.ptes * self.procs if self.verify else 0,
            "n_slots": self.slots,
            "n_clusters": clusters,
            "n_contents": self.contents,
            "n_content_map": self.content_map,
            "n_cache": self.slots if self.swap_cache else 0,
            "n_zhandles": self.slots if self.zspages else 0,
            "n_zspages": self.zspages,
            "n_zclasses": self.zclasses,
            "n_blocks": -(-self.slots // (1 << self.block_order)) if self.block_order else 0,
            "n_gens": -(-self.ptes * self.procs // GEN_PTES) if self.pressure else 0,
            "n_pool_frames": self.frames if self.pressure else 0,
            "n_shadows": self.slots if self.pressure else 0,
            "n_habits": self.habits,
            "n_phone": self.phone,
            "n_runs": -(-self.slots // RUN_SLOTS) if self.zclasses and not self.zspages and runs_fit_blocks else 0,
        }


def arrays(sizes: Sizes) -> dict[str, tuple[int, int]]:
    """Bytes per element and number of elements of every array of a device, by header field, in the order in memory."""
    return arrays_of(sizes.fields())


def arrays_of(n: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """The same of a device whose header has these `SIZES`."""
    return {
        "o_cpu": (4, n["n_cpus"] * CPU_WORDS),
        "o_proc": (4, n["n_procs"] * PROC_WORDS),
        "o_vma": (4, n["n_procs"] * n["n_vmas"] * VMA_WORDS),
        "o_pmd": (1, n["n_pmds"]),
        "o_cluster": (4, n["n_clusters"]),
        "o_cluster_next": (4, n["n_clusters"]),
        "o_cluster_prev": (4, n["n_clusters"]),
        "o_zeromap": (1, -(-n["n_slots"] // 32) * 4),
        "o_map": (1, -(-n["n_slots"] // bits.CLUSTER_SLOTS) * bits.CLUSTER_SLOTS),
        "o_stored": (4, n["n_slots"]),
        "o_cache": (4, n["n_cache"]),
        "o_pte": (4, n["n_ptes"]),
        "o_expect": (4, n["n_expect"]),
        "o_frame": (4, n["n_frames"]),
        "o_content": (4, n["n_frames"]),
        "o_mapcount": (1, -(-n["n_frames"] // 4) * 4),
        "o_content_bytes": (4, n["n_contents"]),
        "o_content_map": (4, n["n_content_map"]),
        "o_zhandle": (4, n["n_zhandles"]),
        "o_stored_bytes": (2, -(-n["n_slots"] // 2) * 2 if n["n_zclasses"] else 0),
        "o_run": (8, n["n_runs"]),
        "o_block": (4, n["n_blocks"] * BLOCK_WORDS),
        "o_zspage": (4, n["n_zspages"] * ZSPAGE_WORDS),
        "o_zgroup": (4, n["n_zclasses"] * ZGROUPS if n["n_zspages"] else 0),
        "o_zclass": (4, n["n_zclasses"] * ZCLASS_WORDS if n["n_zspages"] else 0),
        "o_zraw": (1, 4097 if n["n_zspages"] else 0),
        "o_zstep": (1, 257 if n["n_zspages"] and n["n_blocks"] else 0),
        "o_zshare": (4, ZSHARES if n["n_zclasses"] and not n["n_zspages"] else 0),
        "o_gen": (1, n["n_gens"]),
        "o_pool_frame": (4, n["n_pool_frames"]),
        "o_shadow": (4, n["n_shadows"]),
        "o_habits": (4, n["n_habits"]),
        "o_phone": (4, n["n_phone"]),
    }


def offsets(sizes: Sizes) -> tuple[dict[str, int], int]:
    """Place the arrays of a device.

    Returns
    -------
    dict of str to int
        Offsets by header field, in elements of the array (words or bytes) from the device's start.
    int
        Length of the device in bytes, a multiple of ``HEADER_BYTES``.
    """
    at = FIXED_BYTES
    placed = {}
    for name, (width, length) in arrays(sizes).items():
        at = -(-at // 64) * 64
        placed[name] = at // width
        at += width * length
    return placed, -(-at // HEADER_BYTES) * HEADER_BYTES
