"""Checks of a whole device: what must hold in its state after every operation (spec 01 §1.8)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fleetswap_kernels import bits, counters, layout

Array = npt.NDArray[Any]

_SCALAR = {name: layout.HEADER.fields[name][1] // 4 for name in (*layout.SIZES, *layout.OFFSETS, *layout.SCALARS)}  # type: ignore[index]
_PTE_RESERVED = 0x3F << 24
_ORDERS = np.array([order == 0 or bits.ANON_ORDERS >> order & 1 for order in range(16)], dtype=bool)


class Checker:
    """Checks one device, any number of times.

    Every check recounts from the bottom, from PTEs, frames and slots, what the device keeps as totals, lists and
    tables. A broken device is reported, never followed: all walks are bounded.

    Parameters
    ----------
    view : record view of the device (`Arena.view`)
    """

    def __init__(self, view: Any) -> None:
        self.w: Array = view.w
        self.by: Array = view.by
        size = {name: int(self.w[_SCALAR[name]]) for name in layout.SIZES}
        at = {name: int(self.w[_SCALAR[name]]) for name in layout.OFFSETS}

        def words(offset: str, n: int) -> Array:
            return self.w[at[offset] : at[offset] + n]

        self.slots = size["n_slots"]
        self.n_clusters = size["n_clusters"]
        self.n_frames = size["n_frames"]
        self.n_procs = size["n_procs"]
        self.map_padded = self.by[at["o_map"] : at["o_map"] + self.n_clusters * bits.CLUSTER_SLOTS]
        self.map = self.map_padded[: self.slots]
        self.zeromap = self.by[at["o_zeromap"] : at["o_zeromap"] + -(-self.slots // 32) * 4]
        self.stored = words("o_stored", self.slots)
        self.cache = words("o_cache", size["n_cache"])
        self.cluster = words("o_cluster", self.n_clusters)
        self.cluster_next = words("o_cluster_next", self.n_clusters)
        self.cluster_prev = words("o_cluster_prev", self.n_clusters)
        self.pte = words("o_pte", size["n_ptes"])
        self.expect = words("o_expect", size["n_expect"])
        self.pmd = self.by[at["o_pmd"] : at["o_pmd"] + size["n_pmds"]]
        self.frame = words("o_frame", self.n_frames)
        self.content = words("o_content", self.n_frames)
        self.mapcount = self.by[at["o_mapcount"] : at["o_mapcount"] + self.n_frames]
        self.content_bytes = words("o_content_bytes", size["n_contents"])
        self.zhandle = words("o_zhandle", size["n_zhandles"])
        self.zspage = words("o_zspage", size["n_zspages"] * layout.ZSPAGE_WORDS).reshape(-1, layout.ZSPAGE_WORDS)
        self.zgroup = words("o_zgroup", size["n_zclasses"] * layout.ZGROUPS)
        self.zclass = words("o_zclass", size["n_zclasses"])
        self.zraw = self.by[at["o_zraw"] : at["o_zraw"] + (4097 if size["n_zclasses"] else 0)]
        self.proc = words("o_proc", self.n_procs * layout.PROC_WORDS).reshape(self.n_procs, -1)
        self.vma = words("o_vma", self.n_procs * size["n_vmas"] * layout.VMA_WORDS).reshape(-1, layout.VMA_WORDS)
        self.cpu = words("o_cpu", size["n_cpus"] * layout.CPU_WORDS).reshape(size["n_cpus"], -1)
        self.counter = view.q[layout.Q_COUNTER : layout.Q_COUNTER + counters.N_COUNTERS].view(np.int64)
        self.found: list[str] = []
        self._regions_key = b""

    def violations(self) -> list[str]:
        """What does not hold now, one line each; empty if the state is sound."""
        self.found = []
        self._regions()
        self._tables()
        self._slots()
        self._clusters()
        self._blocks()
        self._folios()
        self._swap_cache()
        self._owners()
        self._mappings()
        self._zram()
        self._pool()
        return self.found

    def wrong_pages(self) -> Array:
        """PTE numbers of the pages that do not hold what their process wrote last; the device must be sound."""
        if not len(self.expect):
            return np.empty(0, dtype=np.int64)
        self._regions()
        kind = self.pte >> bits.KIND_SHIFT
        payload = self.pte & bits.PTE_PAYLOAD
        holds = np.full(len(self.pte), bits.CONTENT_ZERO, dtype=np.uint32)
        at = np.flatnonzero(kind == bits.PRESENT)
        holds[at] = self.content[payload[at]]
        at = np.flatnonzero(kind == bits.SWAP)
        slot = payload[at]
        inside = self._slot_contents()[slot]
        if len(self.cache):
            head = self.cache[slot].astype(np.int64) - 1
            cached = head >= 0
            frame = head[cached] + slot[cached] - (self.frame[head[cached]] & bits.FRAME_LINK)
            inside[cached] = self.content[frame]
        holds[at] = inside
        return np.flatnonzero((holds != np.maximum(self.expect, bits.CONTENT_ZERO)) & (self.pmd_of >= 0))

    def _scalar(self, name: str) -> int:
        return int(self.w[_SCALAR[name]])

    def _say(self, text: str) -> None:
        self.found.append(text)

    def _none(self, wrong: Array, text: str) -> bool:
        """Report the places where `wrong` is true; whether there are none."""
        if not wrong.any():
            return True
        where = np.flatnonzero(wrong)
        self._say(f"{text}: {len(where)} times, first at {int(where[0])}")
        return False

    def _same(self, got: int, want: int, text: str) -> None:
        if got != want:
            self._say(f"{text}: {got}, recounted {want}")

    def _regions(self) -> None:
        """Where every PTE belongs: its virtual page and its 2 MiB range; rebuilt when the regions changed."""
        key = self.vma[:, : layout.VMA_RA_PAGE].tobytes()
        if key == self._regions_key:
            return
        self._regions_key = key
        self.vpn = np.zeros(len(self.pte), dtype=np.int64)
        self.pmd_of = np.full(len(self.pte), -1, dtype=np.int64)
        self.plain = np.zeros(len(self.pte), dtype=bool)
        vmas = len(self.vma) // self.n_procs
        for i in np.flatnonzero(self.vma[:, layout.VMA_FLAGS] & bits.VMA_USED).tolist():
            flags, start, pages, pte, pmd = self.vma[i, : layout.VMA_RA_PAGE].tolist()
            part = slice(pte, pte + pages)
            if not self.proc[i // vmas, layout.PROC_USED]:
                self._say(f"region {i} belongs to a process that has ended")
            if (self.pmd_of[part] >= 0).any():
                self._say(f"region {i} shares PTEs with another")
            self.vpn[part] = np.arange(start, start + pages)
            self.pmd_of[part] = pmd + self.vpn[part] // 512 - start // 512
            self.plain[part] = not flags & bits.VMA_ANON

    def _tables(self) -> None:
        """Kinds and bits of PTEs, states of 2 MiB ranges, MM_ANONPAGES and MM_SWAPENTS (spec 01 §1.2)."""
        pte = self.pte
        kind = pte >> bits.KIND_SHIFT
        self.payload = pte & bits.PTE_PAYLOAD
        self.present = kind == bits.PRESENT
        self.swap = kind == bits.SWAP
        flags = pte & _PTE_RESERVED
        allowed = np.array([0, 0, bits.PTE_EXCLUSIVE | bits.PTE_DIRTY, bits.PTE_EXCLUSIVE], dtype=np.uint32)
        self._none(flags & ~allowed[kind] != 0, "a PTE has a bit that its kind does not have")
        self._none((kind < bits.PRESENT) & (self.payload != 0), "an empty or zero-page PTE has a payload")
        mapped = kind != bits.NONE
        self._none(mapped & (self.pmd_of < 0), "a PTE outside of all regions is not empty")
        self._none((kind >= bits.PRESENT) & self.plain, "a region that fork would not copy has a page or swap entry")
        in_pmd = np.zeros(len(self.pmd), dtype=bool)
        in_pmd[self.pmd_of[mapped & (self.pmd_of >= 0)]] = True
        self._none(in_pmd & (self.pmd == bits.PMD_NONE), "a 2 MiB range without a page table has PTEs")
        self._none(self.pmd > bits.PMD_HUGE_ZERO, "a 2 MiB range is in no state there is")
        for at in np.flatnonzero(self.pmd >= bits.PMD_HUGE).tolist():
            ptes = pte[self.pmd_of == at]
            want = np.full(512, bits.PTE_ZERO)
            if self.pmd[at] == bits.PMD_HUGE and len(ptes):
                want = np.arange(512) + (int(ptes[0]) & ~0x1FF)
            if len(ptes) != 512 or (ptes != want).any() or (len(ptes) and int(ptes[0]) >> bits.KIND_SHIFT == 0):
                self._say(f"the 2 MiB range {at} is mapped as a whole, but its PTEs are not")
        per_process = (self.n_procs, -1)
        for column, what, is_one in (
            (layout.PROC_ANONPAGES, "MM_ANONPAGES", self.present),
            (layout.PROC_SWAPENTS, "MM_SWAPENTS", self.swap),
        ):
            wrong = self.proc[:, column] != is_one.reshape(per_process).sum(axis=1)
            self._none(wrong, f"{what} of a process differs from its PTEs")
        self._none(self.proc[:, layout.PROC_CPU] >= len(self.cpu), "a process runs on a CPU that does not exist")

    def _slots(self) -> None:
        """swap_map and its totals (invariants 1, 2, 4, 6)."""
        used = self.map != 0
        self.count = self.map & bits.MAP_COUNT
        if self.map[0] != bits.MAP_BAD:
            self._say(f"slot 0 holds the swap header, but its byte is {int(self.map[0]):#x}")
        self._none(self.map[1:] & ~(bits.HAS_CACHE | bits.MAP_COUNT) != 0, "a swap_map byte is continued")
        self._none(self.count[1:] > bits.MAP_MAX, "a slot besides the header is bad")
        if self.map_padded[self.slots :].any():
            self._say("swap_map has an entry past the end of the device")
        free = self._scalar("nr_swap_pages")
        pages = self._scalar("pages")
        self._same(pages, self.slots - 1, "pages of the swap device")
        self._same(self._scalar("inuse"), int(used[1:].sum()), "inuse")
        self._same(free, pages - self._scalar("inuse"), "nr_swap_pages")
        empty = np.flatnonzero(~used)
        lowest, highest = self._scalar("lowest_bit"), self._scalar("highest_bit")
        if len(empty) and not lowest <= empty[0] <= empty[-1] <= highest:
            self._say(f"free slots {empty[0]} to {empty[-1]} lie outside of lowest_bit {lowest}, highest_bit {highest}")
        if not len(empty) and highest:
            self._say(f"the device is full, but highest_bit is {highest}")
        entries = np.bincount(self.payload[self.swap], minlength=self.slots)
        if entries[self.slots :].any() or entries[0]:
            self._say("a swap entry names a slot that cannot be")
        self._none(entries[1 : self.slots] != self.count[1:], "the count of a slot, less 1, differs from its swap PTEs")
        self.zero = np.unpackbits(self.zeromap, bitorder="little").view(bool)
        if self.zero[self.slots :].any() or self.zero[0]:
            self._say("zeromap has a bit for the header or past the end of the device")
        self._none(self.zero[: self.slots] & ~used, "zeromap has a bit for a free slot")
        self._none((self.stored[1:] != 0) & ~used[1:], "zram stores a page of a free slot")

    def _clusters(self) -> None:
        """Cluster words, lists, percpu next (invariants 1, 3)."""
        info = self.cluster.astype(np.int64)
        count = info & bits.CLUSTER_COUNT
        order = info >> bits.CLUSTER_ORDER_SHIFT & 15
        flags = info >> bits.CLUSTER_FLAGS_SHIFT
        taken = (self.map_padded != 0).reshape(self.n_clusters, -1).sum(axis=1)
        taken[-1] += self.n_clusters * bits.CLUSTER_SLOTS - self.slots
        self._none(count != taken, "the count of a cluster differs from its slots")
        self._none((flags == bits.FLAG_FREE) != (count == 0), "a cluster is FREE exactly if its count is 0, but")
        full = count == bits.CLUSTER_SLOTS
        self._none((flags == bits.FLAG_FULL) != full, "a cluster is FULL exactly if its count is 512, but")
        self._none((flags == bits.FLAG_FREE) & (order != 0), "a FREE cluster has an order")
        known = np.isin(flags, (bits.FLAG_FREE, bits.FLAG_NONFULL, bits.FLAG_FRAG, bits.FLAG_FULL))
        if not self._none(~known | (order > bits.MAX_ORDER), "a cluster has no one flag, or no order there is"):
            return
        start = np.zeros(9, dtype=np.int64)
        start[[bits.FLAG_FREE, bits.FLAG_FULL, bits.FLAG_NONFULL, bits.FLAG_FRAG]] = (
            bits.LIST_FREE, bits.LIST_FULL, bits.LIST_NONFULL, bits.LIST_FRAG,
        )  # fmt: skip
        which = start[flags] + np.where((flags == bits.FLAG_NONFULL) | (flags == bits.FLAG_FRAG), order, 0)
        for number in range(bits.N_LISTS):
            members = self._walk(
                int(self.w[layout.W_LIST_HEAD + number]), self.cluster_next, self.cluster_prev, f"cluster list {number}"
            )
            if sorted(members) != np.flatnonzero(which == number).tolist():
                self._say(f"cluster list {number} holds {members}, whose words do not all name it")
            tail = int(self.w[layout.W_LIST_TAIL + number])
            if tail != (members[-1] if members else bits.NIL):
                self._say(f"the tail of cluster list {number} is {tail}, its last member is not")
            if number >= bits.LIST_FRAG:
                frag_nr = int(self.w[layout.W_FRAG_NR + number - bits.LIST_FRAG])
                self._same(frag_nr, len(members), f"frag_nr of order {number - bits.LIST_FRAG}")
        for cpu, row in enumerate(self.cpu[:, : bits.N_ORDERS].tolist()):
            for k, slot in enumerate(row):
                end = min(slot // bits.CLUSTER_SLOTS * bits.CLUSTER_SLOTS + bits.CLUSTER_SLOTS, self.slots)
                if slot and (slot % (1 << k) or slot + (1 << k) > end):
                    self._say(f"next of order {k} on CPU {cpu} is {slot}, where no such entry fits")

    def _walk(self, head: int, after: Array, before: Array, what: str) -> list[int]:
        """Members of a list, links checked both ways."""
        members: list[int] = []
        last = bits.NIL
        while head != bits.NIL:
            if head >= len(after) or len(members) == len(after):
                self._say(f"{what} does not end")
                return members
            if before[head] != last:
                self._say(f"{what}: the link back from {head} is {int(before[head])}, not {last}")
            members.append(head)
            last, head = head, int(after[head])
        return members

    def _blocks(self) -> None:
        """Free blocks of frames: lists, links, alignment, merging, total."""
        self.free = np.zeros(self.n_frames, dtype=bool)
        blocks = set()
        for order in range(bits.MAX_BLOCK_ORDER + 1):
            n = 1 << order
            at = int(self.w[layout.W_BLOCK_HEAD + order])
            last = bits.FRAME_NIL
            while at != bits.FRAME_NIL:
                if at % n or at + n > self.n_frames or self.free[at : at + n].any():
                    self._say(f"frame {at} cannot be a free block of order {order}")
                    break
                info = int(self.frame[at])
                if info & ~bits.FRAME_LINK != bits.FRAME_FREE | order << bits.FRAME_ORDER_SHIFT:
                    self._say(f"the free block {at} of order {order} says {info:#x}")
                if int(self.content[at]) != last:
                    self._say(f"the link back from free block {at} is {int(self.content[at])}, not {last}")
                self.free[at : at + n] = True
                if order < bits.MAX_BLOCK_ORDER and (at ^ n, order) in blocks:
                    self._say(f"the free block {at} of order {order} is not merged with its buddy")
                blocks.add((at, order))
                last, at = at, info & bits.FRAME_LINK
        self._same(self._scalar("frames_free"), int(self.free.sum()), "free frames")

    def _folios(self) -> None:
        """Every frame belongs to one live folio or free block; folio words, mapcounts, nr_anon gauges."""
        frames = np.flatnonzero(~self.free)
        info = self.frame[frames]
        order = (info >> bits.FRAME_ORDER_SHIFT & 15).astype(np.int64)
        head = frames >> order << order
        is_head = head == frames
        self.mapped = np.bincount(self.payload[self.present], minlength=self.n_frames)
        if len(self.mapped) > self.n_frames:
            self._say("a PTE maps a frame that does not exist")
            self.mapped = self.mapped[: self.n_frames]
        self._none(self.mapped != self.mapcount, "the mapcount of a frame differs from its PTEs")
        self._none(self.mapped[self.free] != 0, "a PTE maps a free frame")
        pages = np.bincount(head, minlength=self.n_frames)
        whole = (pages[head] == 1 << order) & (self.frame[head] >> bits.FRAME_ORDER_SHIFT & 15 == order)
        self._none(~whole | self.free[head] | ~_ORDERS[order], "a frame is neither free nor part of a whole folio")
        self._none(info >= bits.FRAME_FREE, "a live frame is marked free")
        self._none((info != order << bits.FRAME_ORDER_SHIFT) & ~is_head, "a tail page has flags of its own")
        self.head = frames[is_head]
        self.order = order[is_head]
        self.info = info[is_head]
        self.cached = self.info & bits.FRAME_CACHED != 0
        mappings = np.bincount(head, weights=self.mapped[frames], minlength=self.n_frames)[self.head]
        unmapped_pages = np.bincount(head, weights=self.mapped[frames] == 0, minlength=self.n_frames)[self.head]
        halted = self.cpu[:, layout.CPU_FAULT + layout.FAULT_FRAME].astype(np.int64) - 1
        self.halted = np.isin(self.head, halted)
        self._same(int(self.halted.sum()), int((halted >= 0).sum()), "folios of halted faults")
        self._none(self.halted & ((mappings > 0) | self.cached), "the folio of a halted fault is mapped or cached")
        self._none(~self.halted & ~self.cached & (mappings == 0), "nothing holds a folio")
        large = self.order > 0
        partial = large & (self.info & bits.FRAME_PARTIAL != 0)
        self._none(
            partial & ((unmapped_pages == 0) | (mappings == 0)), "a folio is not partially mapped, but queued as such"
        )
        mark = self.info & bits.FRAME_READAHEAD != 0
        self._none(~large & mark & ~self.cached, "a page outside of the swap cache has the readahead mark")
        for which, counted in ((counters.NR_ANON, ~self.halted), (counters.NR_ANON_PARTIALLY_MAPPED, partial)):
            recount = np.bincount(self.order[counted], minlength=bits.N_ORDERS)
            for k in range(2, bits.N_ORDERS):
                got = int(self.counter[counters.N_SCALAR + 10 * k + which])
                self._same(got, int(recount[k]), f"{counters.MTHP[which]} of order {k}")

    def _swap_cache(self) -> None:
        """The table of the swap cache and the folios in it (invariant 7)."""
        slot = (self.info & bits.FRAME_LINK).astype(np.int64)
        self._none(~self.cached & (slot != 0), "a folio outside of the swap cache has a slot")
        head, order, slot = self.head[self.cached], self.order[self.cached], slot[self.cached]
        self._same(self._scalar("swap_cache_pages"), int((1 << order).sum()), "pages in the swap cache")
        self._none(slot % (1 << order) != 0, "a swap-cache folio starts at a slot that is not a multiple of its size")
        table = np.zeros(self.slots, dtype=np.int64)
        self.cached_slot = np.zeros(self.n_frames, dtype=np.int64)
        for f, k, s in zip(head.tolist(), order.tolist(), slot.tolist(), strict=True):
            part = table[s : s + (1 << k)]
            if len(part) != 1 << k or part.any():
                self._say(f"the swap-cache folio at frame {f} has slots that are taken or do not exist")
                continue
            part[:] = f + 1
            self.cached_slot[f : f + (1 << k)] = np.arange(s, s + (1 << k))
        if len(self.cache):
            self._none(self.cache != table, "the swap cache's table differs from the folios in it")
        elif table.any():
            self._say("a folio is in the swap cache of a device without one")
        self.in_cache = table != 0
        frames = np.flatnonzero(self.cached_slot)
        clean = np.repeat(self.info[self.cached] & bits.FRAME_DIRTY == 0, 1 << order)
        dirty = np.zeros(self.n_frames, dtype=bool)
        dirty[self.payload[self.present & (self.pte & bits.PTE_DIRTY != 0)]] = True
        if len(clean) == len(frames):
            lost = clean & ~dirty[frames] & (self.content[frames] != self._slot_contents()[self.cached_slot[frames]])
            self._none(lost, "a clean swap-cache page differs from what its slot stores")

    def _slot_contents(self) -> Array:
        zero = np.unpackbits(self.zeromap, bitorder="little")[: self.slots].view(bool)
        return np.where(zero | (self.stored == 0), np.uint32(bits.CONTENT_ZERO), self.stored)

    def _owners(self) -> None:
        """HAS_CACHE means exactly one owner: a slot cache, the swap cache or a halted fault (invariant 5)."""
        owners = self.in_cache.astype(np.int64)
        parked: list[int] = []
        for cpu, row in enumerate(self.cpu.tolist()):
            cur, n, returned = row[layout.CPU_ALLOC_CUR], row[layout.CPU_ALLOC_NR], row[layout.CPU_RET_NR]
            if cur + n > bits.SWAP_BATCH or returned > bits.SWAP_BATCH:
                self._say(f"the slot caches of CPU {cpu} hold more than they can")
                continue
            if (n or returned) and not self._scalar("cache_active"):
                self._say(f"the slot caches of CPU {cpu} are inactive, but not empty")
            parked += row[layout.CPU_ALLOC + cur : layout.CPU_ALLOC + cur + n]
            parked += row[layout.CPU_RET : layout.CPU_RET + returned]
            fault = row[layout.CPU_FAULT : layout.CPU_FAULT + 8]
            if fault[layout.FAULT_FRAME]:
                k = fault[layout.FAULT_ORDER]
                first = (fault[layout.FAULT_PTE] & bits.PTE_PAYLOAD) >> k << k
                if int(self.frame[fault[layout.FAULT_FRAME] - 1]) >> bits.FRAME_ORDER_SHIFT & 15 != k:
                    self._say(f"the fault halted on CPU {cpu} holds a folio of another order")
                if self._scalar("pin_swapin"):
                    owners[first : first + (1 << k)] += 1
        slots = np.array(parked, dtype=np.int64)
        if (slots >= self.slots).any():
            self._say("a slot cache holds a slot that does not exist")
            return
        self._none(self.map[slots] != bits.HAS_CACHE, "a slot in a slot cache is not just that")
        owners += np.bincount(slots, minlength=self.slots)
        self._none(owners > 1, "a slot has two owners besides its PTEs")
        self._none((self.map & bits.HAS_CACHE != 0) & (owners == 0), "a slot has HAS_CACHE, but no owner")
        self._none((self.map & bits.HAS_CACHE == 0) & (owners > 0), "a slot has an owner, but not HAS_CACHE")

    def _mappings(self) -> None:
        """Exclusive pages and entries have one user; large folios lie aligned in the address space (spec 01 §1.2)."""
        exclusive = self.pte & bits.PTE_EXCLUSIVE != 0
        frame = self.payload[self.present & exclusive]
        self._none(self.mapped[frame] != 1, "a page that is mapped exclusively has other mappings")
        slot = self.cached_slot[frame]
        self._none((slot != 0) & (self.count[slot] != 0), "a page that is mapped exclusively has swap entries besides")
        slot = self.payload[self.swap & exclusive]
        self._none(self.count[slot] != 1, "an exclusive swap entry is not the only one")
        cached_and_mapped = np.zeros(self.slots, dtype=bool)
        cached_and_mapped[self.cached_slot[self.mapped > 0]] = True
        self._none((slot != 0) & cached_and_mapped[slot], "an exclusive swap entry's page is mapped besides")
        frame = self.payload[self.present]
        index = (1 << (self.frame[frame] >> bits.FRAME_ORDER_SHIFT & 15)) - 1
        self._none((self.vpn[self.present] ^ frame) & index != 0, "a page of a large folio lies at the wrong address")

    def _zram(self) -> None:
        """mm_stat, recounted from the slots (spec 08 §8.1)."""
        if not self._none(self.stored >= len(self.content_bytes), "zram stores a content that does not exist"):
            return
        full = self.stored != 0
        size = self.content_bytes[self.stored]
        self.objects = np.flatnonzero(full & (size > 0))
        self.object_bytes = size[self.objects]
        for which, want in (
            (counters.PAGES_STORED, full.sum()),
            (counters.SAME_PAGES, (full & (size == 0)).sum()),
            (counters.HUGE_PAGES, (self.object_bytes == 4096).sum()),
            (counters.COMPR_DATA_SIZE, self.object_bytes.sum()),
        ):
            self._same(int(self.counter[which]), int(want), counters.SCALAR_NAMES[which])

    def _pool(self) -> None:
        """zspages: their objects, groups and pages (spec 08 §8.2-8.3)."""
        pool = int(self.counter[counters.POOL_PAGES])
        limit = self._scalar("mem_limit_pages")
        if pool > int(self.counter[counters.MAX_USED_PAGES]) or (limit and pool > limit):
            self._say(f"the pool has {pool} pages, more than its peak or its limit")
        if not len(self.zspage) or len(self.found):
            return
        home = self.zhandle[self.objects]
        if not self._none(home >= len(self.zspage), "an object lives in a zspage that does not exist"):
            return
        used = np.bincount(home, minlength=len(self.zspage))
        info = self.zspage[:, layout.ZSPAGE_INFO]
        after, before = self.zspage[:, layout.ZSPAGE_NEXT], self.zspage[:, layout.ZSPAGE_PREV]
        self._none(info[home] >> 16 != self.zraw[self.object_bytes], "an object lives in a zspage of another class")
        self._none(info & 0xFFFF != used, "the objects of a zspage differ from the slots that store in it")
        pages = 0
        unused = np.ones(len(self.zspage), dtype=bool)
        for group in np.flatnonzero(self.zgroup != bits.NIL).tolist():
            size_class, fullness = divmod(group, layout.ZGROUPS)
            objects = int(self.zclass[size_class]) & 0xFFFF
            for z in self._walk(int(self.zgroup[group]), after, before, f"zspage group {fullness} of {size_class}"):
                unused[z] = False
                pages += int(self.zclass[size_class]) >> 16
                n = int(used[z])
                want = 0 if n == 0 else 11 if n == objects else 100 * n // objects // 10 + 1
                if want != fullness or int(info[z]) >> 16 != size_class or n > objects:
                    self._say(f"zspage {z} with {n} of {objects} objects is in group {fullness} of class {size_class}")
        self._same(pool, pages, "pool_pages")
        self._none(unused & (used > 0), "a zspage with objects is in no group")
        chain = np.append(after[unused], self._scalar("zspage_unused"))
        rest = np.append(np.flatnonzero(unused), bits.NIL)
        if not np.array_equal(np.sort(chain), rest):
            self._say("the chain of unused zspages does not hold each of them once")
