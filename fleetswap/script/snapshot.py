"""The complete state of a device in the dump format of the corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
from fleetswap_kernels.layout import words as bits
from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout.device import (
    CPU_ALLOC, CPU_ALLOC_CUR, CPU_ALLOC_NR, CPU_RET, CPU_RET_NR, PROC_MAJFLT, PROC_PTE,
)  # fmt: skip
from fleetswap_kernels.layout.pages import PAGE_BYTES, SIZES_KIB, order_of_kib

from ..check.arrays import DeviceArrays
from .program import VPN_BASE, Region

DUMPED_VMSTAT = (
    "pswpin", "pswpout", "swpin_zero", "swpout_zero", "thp_swpout", "thp_swpout_fallback", "swap_ra", "swap_ra_hit",
    "thp_split_page", "thp_split_page_failed", "thp_deferred_split_page", "pgmajfault",
)  # fmt: skip
"""Counters of /proc/vmstat that a dump shows. pgactivate, a by-product of failed swap-outs, is not comparable."""

INCIDENTS = (
    "warn_mixed_zeromap", "silent_mixed_zeromap", "sigbus", "stale_reads", "swapin_waits", "swap_charge_refused",
)  # fmt: skip
"""The zeromap conflict of spec 07, lost races of swap-in, refused swap charges."""

Page = tuple[Any, ...]
"""("n",) none, ("z",) zero page, ("s", offset) swapped, ("p", order, index, flags, head) present."""


class Snapshot:
    """Reads one device.

    Parameters
    ----------
    view : record view of the device (`Arena.view`)
    """

    def __init__(self, view: Any) -> None:
        self.dev = DeviceArrays(view)

    def pages(self, process: int, region: Region) -> list[Page]:
        """State of every page of a region."""
        dev = self.dev
        base = int(dev.proc[process, PROC_PTE]) + region.pte
        out: list[Page] = []
        for pte in dev.pte[base : base + region.pages].tolist():
            kind = pte >> bits.KIND_SHIFT
            payload = pte & bits.PTE_PAYLOAD
            if kind == bits.NONE:
                out.append(("n",))
            elif kind == bits.ZERO:
                out.append(("z",))
            elif kind == bits.SWAP:
                out.append(("s", payload))
            else:
                order = int(dev.frame[payload]) >> bits.FRAME_ORDER_SHIFT & 15
                head = payload >> order << order
                info = int(dev.frame[head])
                flags = "d" * bool(info & bits.FRAME_DIRTY) + "c" * bool(info & bits.FRAME_CACHED)
                flags += "x" * bool(dev.mapcount[payload] == 1)
                out.append(("p", order, payload - head, flags, head))
        return out

    def counters(self) -> dict[str, int]:
        """All counters that exist once, by the kernel's name."""
        return dict(zip(counters.SCALAR_NAMES, self.dev.counter[: counters.N_SCALAR].tolist(), strict=True))

    def mthp(self) -> dict[str, dict[str, int]]:
        """Non-zero per-size counters, by KiB."""
        out: dict[str, dict[str, int]] = {}
        for size in SIZES_KIB:
            first = counters.N_SCALAR + 10 * order_of_kib(size)
            values = self.dev.counter[first : first + 10].tolist()
            some = {name: v for name, v in zip(counters.MTHP, values, strict=True) if v}
            if some:
                out[str(size)] = dict(sorted(some.items()))
        return out

    def mm_stat(self) -> list[int]:
        """The nine columns of zram's mm_stat."""
        c = self.counters()
        return [
            c["pages_stored"] * PAGE_BYTES,
            c["compr_data_size"],
            c["pool_pages"] * PAGE_BYTES,
            self.dev.scalar("mem_limit_pages") * PAGE_BYTES,
            c["max_used_pages"] * PAGE_BYTES,
            c["same_pages"],
            0,
            c["huge_pages"],
            c["huge_pages_since"],
        ]

    def io_stat(self) -> list[int]:
        """The four columns of zram's io_stat."""
        c = self.counters()
        return [c["failed_reads"], c["failed_writes"], 0, c["notify_free"]]

    def kernel(self) -> dict[str, Any]:
        """The swap device's internals."""
        dev = self.dev
        clusters = [
            (i & bits.CLUSTER_COUNT, i >> bits.CLUSTER_FLAGS_SHIFT, i >> bits.CLUSTER_ORDER_SHIFT & 15)
            for i in dev.cluster.tolist()
        ]
        zeromap = np.unpackbits(dev.zeromap, bitorder="little")[: dev.slots]
        cpus = dev.cpu.tolist()
        return {
            "nr_swap_pages": dev.scalar("nr_swap_pages"),
            "total_swap_pages": dev.scalar("pages"),
            "max": dev.slots,
            "pages": dev.scalar("pages"),
            "inuse_pages": dev.scalar("inuse"),
            "lowest_bit": dev.scalar("lowest_bit"),
            "highest_bit": dev.scalar("highest_bit"),
            "slot_cache_enabled": dev.scalar("cache_enabled"),
            "slot_cache_active": dev.scalar("cache_active"),
            "swap_map": [[*run] for run in _runs(dev.map.tolist())],
            "zeromap": [[s, n] for s, n, v in _runs(zeromap.tolist()) if v],
            "clusters": [[s, n, *v] for s, n, v in _runs(clusters)],
            "free": self._list(bits.LIST_FREE),
            "full": self._list(bits.LIST_FULL),
            "nonfull": self._lists(bits.LIST_NONFULL),
            "frag": self._lists(bits.LIST_FRAG),
            "frag_nr": dev.frag_nr.tolist(),
            "percpu_next": [cpu[: bits.N_ORDERS] for cpu in cpus],
            "slot_cache": [_slot_cache(cpu) for cpu in cpus],
        }

    def _list(self, which: int) -> list[list[int]]:
        dev = self.dev
        members = []
        c = int(dev.list_head[which])
        while c != bits.NIL:
            members.append(c)
            c = int(dev.cluster_next[c])
            if len(members) > dev.clusters:
                raise RuntimeError(f"cluster list {which} is a ring")
        return _progressions(members)

    def _lists(self, first: int) -> dict[str, list[list[int]]]:
        lists = {str(o): self._list(first + o) for o in range(bits.N_ORDERS)}
        return {o: members for o, members in lists.items() if members}

    def dump(self, processes: dict[str, tuple[int, tuple[Region, ...]]]) -> dict[str, Any]:
        """A complete dump without its heading: processes, counters, internals."""
        return {**self._common(processes, self._full_region), "kernel": self.kernel()}

    def summary(self, processes: dict[str, tuple[int, tuple[Region, ...]]]) -> dict[str, Any]:
        """A summary without its heading."""
        return self._common(processes, self._region_summary)

    def _common(self, processes: dict[str, tuple[int, tuple[Region, ...]]], show: Any) -> dict[str, Any]:
        values = self.counters()
        return {
            "procs": {
                name: {"majflt": int(self.dev.proc[p, PROC_MAJFLT]), "regions": {r.name: show(p, r) for r in regions}}
                for name, (p, regions) in processes.items()
            },
            "vmstat": {name: values[name] for name in sorted(DUMPED_VMSTAT) if values[name]},
            "mthp": self.mthp(),
            "mm_stat": self.mm_stat(),
            "io_stat": self.io_stat(),
            **self._incidents(values),
        }

    @staticmethod
    def _incidents(values: dict[str, int]) -> dict[str, Any]:
        """Counters of events that a correct kernel never meets; left out of a dump if all are 0."""
        some = {name: values[name] for name in INCIDENTS if values[name]}
        return {"fleetswap": some} if some else {}

    def _full_region(self, process: int, region: Region) -> dict[str, Any]:
        runs = _page_runs(self.pages(process, region))
        return {"pages": region.pages, "vpn": VPN_BASE + region.start, "runs": runs}

    def _region_summary(self, process: int, region: Region) -> dict[str, Any]:
        pages = self.pages(process, region)
        kinds = [page[0] for page in pages]
        offsets = [page[1] if page[0] == "s" else -2 for page in pages]
        slots = np.array(offsets, dtype=np.int64)
        by_order = Counter(page[1] for page in pages if page[0] == "p")
        return {
            "none": kinds.count("n"),
            "zero": kinds.count("z"),
            "present": kinds.count("p"),
            "swapped": kinds.count("s"),
            "swap_runs": sum(o >= 0 and (i == 0 or offsets[i - 1] != o - 1) for i, o in enumerate(offsets)),
            "hash": region_hash(pages),
            "present_by_order": [by_order[order] for order in range(bits.N_ORDERS)],
            "swapped_aligned_blocks": [_aligned_blocks(slots, region.start, o) for o in range(bits.N_ORDERS)],
        }


_M64 = 0xFFFFFFFFFFFFFFFF
_FNV_PRIME = 0x100000001B3
_FNV_POWERS = tuple(pow(_FNV_PRIME, k, 1 << 64) for k in range(9))


def region_hash(pages: Iterable[Page]) -> str:
    """64-bit FNV-1a over the 8-byte little-endian code of every page, in hex."""
    value = 0xCBF29CE484222325
    for page in pages:
        kind = page[0]
        code = {"n": 0, "z": 1}.get(kind, 0)
        if kind == "s":
            code = 3 | page[1] << 8
        elif kind == "p":
            code = 2 | page[1] << 8 | page[2] << 16
        used = (code.bit_length() + 7) // 8
        for byte in code.to_bytes(used, "little"):
            value = (value ^ byte) * _FNV_PRIME & _M64
        # The rest are bytes of 0, which only multiply.
        value = value * _FNV_POWERS[8 - used] & _M64
    return f"{value:016x}"


def _aligned_blocks(offsets: npt.NDArray[np.int64], start: int, order: int) -> int:
    """Naturally aligned blocks of 2^order pages, wholly swapped to consecutive slots from a multiple of 2^order on."""
    n = 1 << order
    skip = -start % n
    count = max(0, len(offsets) - skip) // n
    blocks = offsets[skip : skip + count * n].reshape(count, n)
    first = blocks[:, :1]
    consecutive = (blocks == first + np.arange(n)).all(axis=1)
    return int(np.count_nonzero(consecutive & (first[:, 0] >= 0) & (first[:, 0] % n == 0)))


def _slot_cache(cpu: list[int]) -> dict[str, Any]:
    cur, nr, returned = cpu[CPU_ALLOC_CUR], cpu[CPU_ALLOC_NR], cpu[CPU_RET_NR]
    return {
        "cur": cur,
        "nr": nr,
        "slots": cpu[CPU_ALLOC + cur : CPU_ALLOC + cur + nr],
        "n_ret": returned,
        "ret": cpu[CPU_RET : CPU_RET + returned],
    }


def _runs(values: list[Any]) -> Iterator[tuple[int, int, Any]]:
    """(start, length, value) of runs of equal values."""
    start = 0
    for value, run in groupby(values):
        length = sum(1 for _ in run)
        yield start, length, value
        start += length


def _progressions(members: list[int]) -> list[list[int]]:
    """Greedy [first, length, step] pieces of a list."""
    out: list[list[int]] = []
    for value in members:
        if out:
            first, n, step = out[-1]
            last = first + (n - 1) * step
            if n == 1 or value - last == step:
                out[-1] = [first, n + 1, value - last]
                continue
        out.append([value, 1, 0])
    return out


def _page_runs(pages: list[Page]) -> list[list[Any]]:
    """Run-length form of the pages of a region; a run of present pages may hold several complete folios."""
    out: list[list[Any]] = []
    before: Page = ()
    for i, page in enumerate(pages):
        if out and _continues(before, page):
            out[-1][2] += 1
        elif page[0] == "p":
            out.append(["p", i, 1, page[1], page[2], page[3]])
        else:
            out.append([page[0], i, 1, *page[1:]])
        before = page
    return out


def _continues(before: Page, page: Page) -> bool:
    if before[0] != page[0]:
        return False
    if page[0] == "s":
        return bool(page[1] == before[1] + 1)
    if page[0] == "p":
        _, order, index, flags, head = page
        if order != before[1] or flags != before[3]:
            return False
        same = head == before[4] and index == before[2] + 1
        return bool(order == 0 or same or (index == 0 and before[2] == (1 << order) - 1))
    return True
