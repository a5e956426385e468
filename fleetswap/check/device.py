"""Checks of a whole device: what must hold in its state after every operation (spec 01 §1.8)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fleetswap_kernels.device.regions import PMD_PAGES
from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout import device as layout
from fleetswap_kernels.layout import words as bits

from .arrays import Array, DeviceArrays
from .counters import check_counters, orders_by_advice
from .findings import Findings
from .zram import check_zram

_NONE, _ZERO, _PRESENT, _SWAP = (kind << 6 for kind in (bits.NONE, bits.ZERO, bits.PRESENT, bits.SWAP))
_EXCLUSIVE, _DIRTY = bits.PTE_EXCLUSIVE >> 24, bits.PTE_DIRTY >> 24
_PTE_TOP = np.zeros(256, dtype=bool)
_PTE_TOP[[_NONE, _ZERO, _SWAP, _SWAP | _EXCLUSIVE]] = True
_PTE_TOP[[_PRESENT | flags for flags in (0, _EXCLUSIVE, _DIRTY, _EXCLUSIVE | _DIRTY)]] = True
"""Allowed values of the upper eight bits of a PTE: its kind and the flags of that kind."""
_FOLIO_ORDER = np.array([order == 0 or bool(bits.ANON_ORDERS >> order & 1) for order in range(16)])
_LISTS = {
    bits.FLAG_FREE: bits.LIST_FREE,
    bits.FLAG_FULL: bits.LIST_FULL,
    bits.FLAG_NONFULL: bits.LIST_NONFULL,
    bits.FLAG_FRAG: bits.LIST_FRAG,
}


class Checker:
    """Checks one device, any number of times.

    Every check recounts from the bottom, from PTEs, frames and slots, what the device keeps as totals, lists and
    tables. A broken device is reported, never followed: all walks are bounded.

    Parameters
    ----------
    view : record view of the device (`Arena.view`)
    """

    def __init__(self, view: Any) -> None:
        self.dev = DeviceArrays(view)
        self.findings = Findings()
        self._regions_key = b""

    def violations(self) -> list[str]:
        """Every rule that is broken now, one line each; empty if the state is sound."""
        self.findings = Findings()
        self._regions()
        self._tables()
        self._slots()
        self._clusters()
        self._blocks()
        self._folios()
        self._counters()
        if not self.findings.lines:
            # These follow the links that the checks above have found sound.
            self._swap_cache()
            self._owners()
            self._mappings()
            check_zram(self.dev, self.findings)
        return self.findings.lines

    def _regions(self) -> None:
        """Find the virtual page and the 2 MiB range of every PTE, again whenever the regions have changed."""
        dev, findings = self.dev, self.findings
        key = dev.vma[:, : layout.VMA_RA_PAGE].tobytes()
        if key == self._regions_key:
            return
        self._regions_key = key
        n = len(dev.pte)
        self.vpn = np.zeros(n, dtype=np.int64)
        self.pmd_of = np.full(n, -1, dtype=np.int64)
        self.plain = np.zeros(n, dtype=bool)
        vmas = len(dev.vma) // dev.procs
        for i in (dev.vma[:, layout.VMA_FLAGS] & bits.VMA_USED).nonzero()[0].tolist():
            flags, start, pages, pte, pmd = dev.vma[i, : layout.VMA_RA_PAGE].tolist()
            part = slice(pte, pte + pages)
            if not dev.proc[i // vmas, layout.PROC_USED]:
                findings.report(f"region {i} belongs to a process that has ended")
            if (self.pmd_of[part] >= 0).any():
                findings.report(f"region {i} shares PTEs with another")
            self.vpn[part] = np.arange(start, start + pages)
            self.pmd_of[part] = pmd + self.vpn[part] // PMD_PAGES - start // PMD_PAGES
            self.plain[part] = not flags & bits.VMA_ANON
        self.outside = self.pmd_of < 0

    def _tables(self) -> None:
        """Kinds and bits of PTEs, states of 2 MiB ranges, MM_ANONPAGES and MM_SWAPENTS (spec 01 §1.2)."""
        dev, findings = self.dev, self.findings
        pte = dev.pte
        kind = pte >> bits.KIND_SHIFT
        findings.forbid(~_PTE_TOP[pte >> 24], "a PTE has a bit that its kind does not have")
        self.present = (kind == bits.PRESENT).nonzero()[0]
        self.swap = (kind == bits.SWAP).nonzero()[0]
        self.frame_of = pte[self.present] & bits.PTE_PAYLOAD
        self.slot_of = pte[self.swap] & bits.PTE_PAYLOAD
        mapped = kind != bits.NONE
        findings.forbid(
            (pte & bits.PTE_PAYLOAD != 0) & (kind < bits.PRESENT), "an empty or zero-page PTE has a payload"
        )
        findings.forbid(mapped & self.outside, "a PTE outside of all regions is not empty")
        findings.forbid(
            (kind >= bits.PRESENT) & self.plain, "a region that fork would not copy has a page or swap entry"
        )
        in_pmd = np.zeros(len(dev.pmd), dtype=bool)
        in_pmd[self.pmd_of[mapped & ~self.outside]] = True
        findings.forbid(in_pmd & (dev.pmd == bits.PMD_NONE), "a 2 MiB range without a page table has PTEs")
        for at in (dev.pmd >= bits.PMD_HUGE).nonzero()[0].tolist():
            ptes = pte[self.pmd_of == at]
            first = int(ptes[0]) if len(ptes) else 0
            want = np.full(PMD_PAGES, bits.PTE_ZERO)
            if dev.pmd[at] == bits.PMD_HUGE:
                want = np.arange(PMD_PAGES) + first // PMD_PAGES * PMD_PAGES
            if (
                len(ptes) != PMD_PAGES
                or (ptes != want).any()
                or first < bits.PTE_ZERO
                or dev.pmd[at] > bits.PMD_HUGE_ZERO
            ):
                findings.report(f"the 2 MiB range {at} is mapped as a whole, but its PTEs are not")
        area = max(1, len(pte) // dev.procs)
        for column, what, ptes in (
            (layout.PROC_ANONPAGES, "MM_ANONPAGES", self.present),
            (layout.PROC_SWAPENTS, "MM_SWAPENTS", self.swap),
        ):
            recount = np.bincount(ptes // area, minlength=dev.procs)
            findings.forbid(dev.proc[:, column] != recount, f"{what} of a process differs from its PTEs")
        findings.forbid(dev.proc[:, layout.PROC_CPU] >= len(dev.cpu), "a process runs on a CPU that does not exist")

    def _slots(self) -> None:
        """swap_map and its totals (invariants 1, 2, 4, 6)."""
        dev, findings = self.dev, self.findings
        slots = dev.map[1:]
        used = slots != 0
        self.count = dev.map & bits.MAP_COUNT
        self.pinned = dev.map & bits.HAS_CACHE != 0
        if dev.map[0] != bits.MAP_BAD or dev.map_padded[dev.slots :].any():
            findings.report("the header's slot, or one past the end of the device, has another byte than at swapon")
        findings.forbid(
            (slots > bits.HAS_CACHE | bits.MAP_COUNT) | (self.count[1:] > bits.MAP_MAX), "a slot cannot be so"
        )
        free, pages = dev.scalar("nr_swap_pages"), dev.scalar("pages")
        findings.compare(pages, dev.slots - 1, "pages of the swap device")
        findings.compare(dev.scalar("inuse"), np.count_nonzero(used), "inuse")
        findings.compare(free, pages - dev.scalar("inuse"), "nr_swap_pages")
        empty = (slots == 0).nonzero()[0] + 1
        lowest, highest = dev.scalar("lowest_bit"), dev.scalar("highest_bit")
        if highest if not len(empty) else not lowest <= empty[0] <= empty[-1] <= highest:
            findings.report(f"lowest_bit {lowest} and highest_bit {highest} do not enclose the {len(empty)} free slots")
        entries = np.bincount(self.slot_of, minlength=dev.slots)
        if len(entries) != dev.slots or entries[0]:
            findings.report("a swap entry names a slot that cannot be")
            return
        findings.forbid(entries[1:] != self.count[1:], "the count of a slot, less 1, differs from its swap PTEs")
        zero = np.unpackbits(dev.zeromap, bitorder="little").view(bool)
        if zero[dev.slots :].any() or zero[0]:
            findings.report("zeromap has a bit for the header or past the end of the device")
        findings.forbid((zero[1 : dev.slots] | (dev.stored[1:] != 0)) & ~used, "a free slot, less 1, has contents")

    def _clusters(self) -> None:
        """Cluster words, lists, percpu next (invariants 1, 3)."""
        dev, findings = self.dev, self.findings
        words = dev.cluster.tolist()
        used = np.count_nonzero(dev.map_padded.reshape(dev.clusters, -1), axis=1).tolist()
        used[-1] += dev.clusters * bits.CLUSTER_SLOTS - dev.slots
        on_list = []
        for c, (word, taken) in enumerate(zip(words, used, strict=True)):
            count, order = word & bits.CLUSTER_COUNT, word >> bits.CLUSTER_ORDER_SHIFT & 15
            flags = word >> bits.CLUSTER_FLAGS_SHIFT
            findings.compare(count, taken, f"slots in use of cluster {c}")
            free, full = flags == bits.FLAG_FREE, flags == bits.FLAG_FULL
            sound = free == (count == 0) and full == (count == bits.CLUSTER_SLOTS) and order <= bits.MAX_ORDER
            if flags not in _LISTS or not sound or (free and order):
                findings.report(f"cluster {c} with {count} slots in use has flags {flags} and order {order}")
            on_list.append(_LISTS.get(flags, 0) + (0 if free or full else order))
        members = 0
        for number, (head, tail) in enumerate(zip(dev.list_head.tolist(), dev.list_tail.tolist(), strict=True)):
            walked = []
            if head != bits.NIL or tail != bits.NIL:
                walked = findings.walk_list(head, dev.cluster_next, dev.cluster_prev, f"cluster list {number}")
                if not walked or walked[-1] != tail or any(on_list[c] != number for c in walked):
                    findings.report(
                        f"cluster list {number} holds {walked} with tail {tail}; not all of them belong there"
                    )
            members += len(walked)
            if number >= bits.LIST_FRAG:
                order = number - bits.LIST_FRAG
                findings.compare(int(dev.frag_nr[order]), len(walked), f"frag_nr of order {order}")
        findings.compare(members, dev.clusters, "clusters on lists")
        for cpu, row in enumerate(dev.cpu[:, : bits.N_ORDERS].tolist()):
            for order, slot in enumerate(row):
                end = min((slot // bits.CLUSTER_SLOTS + 1) * bits.CLUSTER_SLOTS, dev.slots)
                if slot and (slot % (1 << order) or slot + (1 << order) > end):
                    findings.report(f"next of order {order} on CPU {cpu} is {slot}, where no such entry fits")

    def _blocks(self) -> None:
        """Free blocks of frames: lists, links, alignment, merging, totals; frames of the pool."""
        dev, findings = self.dev, self.findings
        self.free = np.zeros(dev.frames, dtype=bool)
        self.in_pool = np.zeros(dev.frames, dtype=bool)
        start = dev.scalar("reserve_start")
        for i, head in enumerate(dev.block_head.tolist()):
            reserved, order = divmod(i, bits.MAX_BLOCK_ORDER + 1)
            n = 1 << order
            top = dev.scalar("reserve_order") if reserved else bits.MAX_BLOCK_ORDER
            at, last = head, bits.FRAME_NIL
            seen = set()
            while at != bits.FRAME_NIL:
                if at % n or at + n > (dev.frames if reserved else start) or self.free[at] or (at < start) == reserved:
                    findings.report(f"frame {at} cannot be a free block of order {order}")
                    return
                info = int(dev.frame[at])
                if info & ~bits.FRAME_LINK != bits.FRAME_FREE | order << bits.FRAME_ORDER_SHIFT:
                    findings.report(f"the free block {at} of order {order} says {info:#x}")
                    return
                if int(dev.content[at]) != last:
                    findings.report(f"the link back from free block {at} is {int(dev.content[at])}, not {last}")
                if at ^ n in seen and order < top:
                    findings.report(f"the free block {at} of order {order} is not merged with its buddy")
                self.free[at : at + n] = True
                seen.add(at)
                last, at = at, info & bits.FRAME_LINK
        findings.compare(dev.scalar("frames_free"), np.count_nonzero(self.free[:start]), "free frames")
        findings.compare(dev.scalar("reserve_free"), np.count_nonzero(self.free[start:]), "free reserved frames")
        pool = dev.pool_frame[: int(dev.counter[counters.POOL_PAGES])]
        findings.forbid(self.free[pool], "a frame of the pool is free")
        self.in_pool[pool] = True
        findings.compare(np.count_nonzero(self.in_pool), len(pool), "frames of the pool")

    def _folios(self) -> None:
        """Every frame belongs to one live folio or free block; folio words, mapcounts, nr_anon gauges."""
        dev, findings = self.dev, self.findings
        mapped = np.bincount(self.frame_of, minlength=dev.frames)
        if len(mapped) != dev.frames:
            findings.report("a PTE maps a frame that does not exist")
            return
        findings.forbid(mapped != dev.mapcount, "the mapcount of a frame differs from its PTEs")
        findings.forbid((mapped != 0) & (self.free | self.in_pool), "a PTE maps a free frame or one of the pool")
        frames = (~self.free & ~self.in_pool).nonzero()[0]
        info = dev.frame[frames].astype(np.int64)
        order = info >> bits.FRAME_ORDER_SHIFT & 15
        head = frames >> order << order
        is_head = head == frames
        complete = np.bincount(head, minlength=dev.frames)[head] == 1 << order
        complete &= (dev.frame[head] >> bits.FRAME_ORDER_SHIFT & 15) == order
        findings.forbid(
            ~complete | self.free[head] | ~_FOLIO_ORDER[order], "a frame is neither free nor part of a whole folio"
        )
        findings.forbid(
            (info >> bits.FRAME_ORDER_SHIFT > 15) & (~is_head | (info >= bits.FRAME_FREE)), "a frame has odd flags"
        )
        self.head, self.order, self.info = frames[is_head], order[is_head], info[is_head]
        self.cached = self.info & bits.FRAME_CACHED != 0
        if findings.lines:
            return
        # Folios are whole and in order of address: their pages are consecutive in `frames`.
        first = is_head.nonzero()[0]
        mappings = np.add.reduceat(mapped[frames], first) if len(first) else mapped[:0]
        in_use = np.add.reduceat(mapped[frames] > 0, first, dtype=np.int64) if len(first) else mapped[:0]
        fault = [f - 1 for f in dev.cpu[:, layout.CPU_FAULT + layout.FAULT_FRAME].tolist() if f]
        halted = np.isin(self.head, fault) if fault else np.zeros(len(self.head), dtype=bool)
        findings.compare(len(fault), np.count_nonzero(halted), "halted faults that hold a folio")
        findings.forbid(halted & ((mappings > 0) | self.cached), "the folio of a halted fault is mapped or cached")
        findings.forbid(~halted & ~self.cached & (mappings == 0), "nothing holds a folio")
        mark = self.info & bits.FRAME_PARTIAL != 0
        partial = mark & (self.order > 0)
        size = 1 << self.order
        findings.forbid(
            partial & ((in_use == size) | (in_use == 0)), "a folio is queued as partially mapped, which it is not"
        )
        findings.forbid(mark & ~partial & ~self.cached, "a page outside of the swap cache has the readahead mark")
        for which, counted in ((counters.Mthp.NR_ANON, ~halted), (counters.Mthp.NR_ANON_PARTIALLY_MAPPED, partial)):
            recount = np.bincount(self.order[counted], minlength=bits.N_ORDERS)
            gauge = dev.counter[counters.N_SCALAR + which : counters.FOLIO_ALLOC : len(counters.MTHP)]
            findings.forbid(
                gauge[2:] != recount[2:], f"{counters.MTHP[which]} of an order, less 2, differs from the folios"
            )

    def _counters(self) -> None:
        """Counters add up; of devices whose memory can run short, only those have reasons."""
        dev = self.dev
        if dev.scalar("n_gens"):
            check_counters(dev.counter[None].astype(np.int64), *orders_by_advice(dev.scalar), self.findings)

    def _slot_contents(self) -> Array:
        stored = self.dev.stored
        zero = np.unpackbits(self.dev.zeromap, bitorder="little", count=len(stored)).view(bool)
        return np.where(zero | (stored == 0), np.uint32(bits.CONTENT_ZERO), stored)

    def _swap_cache(self) -> None:
        """The table of the swap cache and the folios in it (invariant 7)."""
        dev, findings = self.dev, self.findings
        self.cached_slot = np.zeros(dev.frames, dtype=np.int64)
        self.in_cache = np.zeros(dev.slots, dtype=np.int64)
        slot = self.info & bits.FRAME_LINK
        findings.forbid(~self.cached & (slot != 0), "a folio outside of the swap cache has a slot")
        head, order, slot = self.head[self.cached], self.order[self.cached], slot[self.cached]
        findings.compare(dev.scalar("swap_cache_pages"), int((1 << order).sum()), "pages in the swap cache")
        findings.forbid(
            slot % (1 << order) != 0, "a swap-cache folio starts at a slot that is not a multiple of its size"
        )
        for f, k, s in zip(head.tolist(), order.tolist(), slot.tolist(), strict=True):
            part = self.in_cache[s : s + (1 << k)]
            if len(part) != 1 << k or part.any() or s == 0:
                findings.report(f"the swap-cache folio at frame {f} has slots that are taken or do not exist")
                return
            part[:] = f + 1
            self.cached_slot[f : f + (1 << k)] = np.arange(s, s + (1 << k))
        if len(dev.cache) or len(head):
            table = dev.cache if len(dev.cache) else np.zeros(dev.slots, dtype=np.uint32)
            findings.forbid(table != self.in_cache, "the swap cache's table differs from the folios in it")
        if len(head):
            frames = self.cached_slot.nonzero()[0]
            dirty = np.repeat(self.info[self.cached] & bits.FRAME_DIRTY != 0, 1 << order)
            dirty |= np.isin(frames, self.frame_of[dev.pte[self.present] & bits.PTE_DIRTY != 0])
            lost = dev.content[frames] != self._slot_contents()[self.cached_slot[frames]]
            findings.forbid(lost & ~dirty, "a clean swap-cache page differs from what its slot stores")

    def _owners(self) -> None:
        """HAS_CACHE means exactly one owner: a slot cache, the swap cache or a halted fault (invariant 5)."""
        dev, findings = self.dev, self.findings
        owners = (self.in_cache != 0).astype(np.int64)
        parked: list[int] = []
        for cpu, row in enumerate(dev.cpu.tolist()):
            cur, n, returned = row[layout.CPU_ALLOC_CUR], row[layout.CPU_ALLOC_NR], row[layout.CPU_RET_NR]
            active = dev.scalar("cache_active")
            if cur + n > bits.SWAP_BATCH or returned > bits.SWAP_BATCH or ((n or returned) and not active):
                findings.report(f"the slot caches of CPU {cpu} hold {n} and {returned} slots, which they cannot")
                return
            parked += row[layout.CPU_ALLOC + cur : layout.CPU_ALLOC + cur + n]
            parked += row[layout.CPU_RET : layout.CPU_RET + returned]
            fault = row[layout.CPU_FAULT : layout.CPU_FAULT + 8]
            if fault[layout.FAULT_FRAME]:
                order = fault[layout.FAULT_ORDER]
                first = (fault[layout.FAULT_PTE] & bits.PTE_PAYLOAD) >> order << order
                if int(dev.frame[fault[layout.FAULT_FRAME] - 1]) >> bits.FRAME_ORDER_SHIFT & 15 != order:
                    findings.report(f"the fault halted on CPU {cpu} holds a folio of another order")
                if dev.scalar("pin_swapin"):
                    owners[first : first + (1 << order)] += 1
        if parked:
            if max(parked) >= dev.slots:
                findings.report("a slot cache holds a slot that does not exist")
                return
            findings.forbid(dev.map[parked] != bits.HAS_CACHE, "a slot in a slot cache is not just that")
            owners += np.bincount(parked, minlength=dev.slots)
        findings.forbid(owners > 1, "a slot has two owners besides its PTEs")
        findings.forbid(self.pinned != (owners > 0), "a slot has HAS_CACHE and no owner, or the other way round")

    def _mappings(self) -> None:
        """Exclusive pages and entries have one user; large folios lie aligned in the address space (spec 01 §1.2)."""
        dev, findings = self.dev, self.findings
        exclusive = self.frame_of[dev.pte[self.present] & bits.PTE_EXCLUSIVE != 0]
        findings.forbid(dev.mapcount[exclusive] != 1, "a page that is mapped exclusively has other mappings")
        entry = self.slot_of[dev.pte[self.swap] & bits.PTE_EXCLUSIVE != 0]
        findings.forbid(self.count[entry] != 1, "an exclusive swap entry is not the only one")
        if self.cached.any():
            slot = self.cached_slot[exclusive]
            findings.forbid(
                (slot != 0) & (self.count[slot] != 0), "a page that is mapped exclusively has swap entries besides"
            )
            mapped = np.zeros(dev.slots, dtype=bool)
            mapped[self.cached_slot[dev.mapcount > 0]] = True
            findings.forbid(mapped[entry], "the page of an exclusive swap entry is mapped besides")
        index = (1 << (dev.frame[self.frame_of] >> bits.FRAME_ORDER_SHIFT & 15)) - 1
        findings.forbid(
            (self.vpn[self.present] ^ self.frame_of) & index != 0, "a page of a large folio has the wrong address"
        )
