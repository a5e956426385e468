"""Reasons of fallbacks against worked examples and a search written from the rules of spec 02 §2.1 and 05 §5.3."""

from __future__ import annotations

from collections import Counter
from random import Random

import numba
import numpy as np
import pytest

from fleetswap.check.arrays import DeviceArrays
from fleetswap.script.language import parse_script
from fleetswap.script.program import compile_script
from fleetswap_kernels.backend.arena import Arena
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.compile.cpu_linker import WholeProgramCompiler
from fleetswap_kernels.compile.views import device_at
from fleetswap_kernels.device.swap import reasons as fallback
from fleetswap_kernels.device.swap.allocator import get_swap_pages
from fleetswap_kernels.device.swap.release import range_free
from fleetswap_kernels.device.swap.swapin import swapin_order
from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout import device as layout
from fleetswap_kernels.layout import words as bits
from fleetswap_kernels.layout.reasons import SWAPIN_REASONS, SWAPOUT_REASONS, SwapinReason
from tests.properties.programs import random_script

SHARES = 4
PROGRAMS = 250
"""Random programs of each share."""
LARGE = range(2, 10)

# As the entry points are: linked any other way, a call of a rare function may end in the code of another program.
compiled = numba.njit(pipeline_class=WholeProgramCompiler, error_model="numpy")


@compiled
def order_of_fault(arena, base, o_vma, page, pte):
    return swapin_order(device_at(arena, base, 0), o_vma, page, pte)[0]


@compiled
def reason_of_fault(arena, base, o_vma, page, pte, wanted, got):
    return fallback.swapin_reason(device_at(arena, base, 0), o_vma, page, pte, wanted, got)


@compiled
def take_slots(arena, base, order, o_slot):
    return get_swap_pages(device_at(arena, base, 0), 1, order, o_slot)


@compiled
def give_slots(arena, base, slot, n):
    range_free(device_at(arena, base, 0), slot, n)


@compiled
def reason_of_refusal(arena, base, order):
    return fallback.swapout_reason(device_at(arena, base, 0), order)


class Device:
    """A device that runs a script, and requests beside it."""

    def __init__(self, text):
        self.compiled = compile_script(parse_script(text))
        self.arena = Arena([(self.compiled.blueprint, 1)], ONE_THREAD)
        self.arena.init()
        self.record = self.arena.records[0]
        self.handle = self.arena.records, self.arena.base
        self.arrays = DeviceArrays(self.arena.view(0))
        self.cell = self.arrays.scalar("o_cpu") + layout.CPU_SLOT

    def steps(self):
        """Run the script; yields after every operation."""
        for step in self.compiled.steps:
            self.arena.run(self.compiled.program, step.first, step.end)
            yield step

    def run(self):
        for _ in self.steps():
            pass
        return self

    def regions(self):
        """Record offset, flags, first virtual page and PTEs of every region."""
        dev = self.arrays
        of_process = dev.scalar("n_vmas")
        for i, row in enumerate(dev.vma.tolist()):
            if row[layout.VMA_FLAGS] & bits.VMA_USED and dev.proc[i // of_process, layout.PROC_USED]:
                first = row[layout.VMA_PTE]
                ptes = dev.pte[first : first + row[layout.VMA_PAGES]].tolist()
                offset = dev.scalar("o_vma") + i * layout.VMA_WORDS
                yield offset, row[layout.VMA_FLAGS], row[layout.VMA_START], ptes

    def entries(self):
        """Swap entries whose faults take the direct path (spec 05 §5.1): a region, a page and its PTE."""
        for region in self.regions():
            for page, pte in enumerate(region[3]):
                slot = pte & bits.PTE_PAYLOAD
                if pte >> bits.KIND_SHIFT == bits.SWAP and self.arrays.map[slot] & 0x3F == 1:
                    yield region, page, pte

    def take(self, order):
        """Slots as `get_swap_pages` gives them: the first one, or 0."""
        got = take_slots(*self.handle, order, self.cell)
        return int(self.arrays.w[self.cell]) if got else 0

    def give(self, slot, order):
        give_slots(*self.handle, slot, 1 << order)

    def refusal(self, order):
        """Why there were none."""
        return SWAPOUT_REASONS[reason_of_refusal(*self.handle, order)]


def sysfs_orders(device, flags):
    """Orders that sysfs and madvise allow (spec 05 §5.3, filter 3; the global setting is `madvise` here)."""
    if flags & bits.VMA_NOHUGEPAGE:
        return 0
    orders = int(device.record["thp_always"])
    if flags & bits.VMA_HUGEPAGE:
        orders |= int(device.record["thp_madvise"]) | int(device.record["thp_inherit"])
    return orders


def largest(mask):
    """Largest order of a mask that a fault could use, or 0."""
    return max((k for k in range(2, 9) if mask >> k & 1), default=0)


def ruled_out_by(device, region, page, pte, order):
    """Name of the test that a block of this order does not pass (spec 05 §5.3), or "later"."""
    _, flags, start, ptes = region
    dev = device.arrays
    n = 1 << order
    slot, index = pte & bits.PTE_PAYLOAD, (start + page) % n
    allowed = sysfs_orders(device, flags) & ~int(device.record["swapin_denied"])
    if device.record["zswap_ever"] or flags & bits.VMA_UFFD or not allowed >> order & 1:
        return "policy"
    if page < index or page - index + n > len(ptes):
        return "vma_bounds"
    if slot % n != index:
        return "order_mismatch"
    slots = list(range(slot - index, slot - index + n))
    block = ptes[page - index : page - index + n]
    if any(other >> 24 != pte >> 24 or other & 0xFFFFFF != at for other, at in zip(block, slots, strict=True)):
        return "not_contiguous"
    zero = {int(dev.zeromap[at // 8]) >> at % 8 & 1 for at in slots}
    if device.compiled.script.config.kernel == "6.12" and len(zero) > 1:
        return "zeromap_mixed"
    return "swap_cache" if any(dev.map[at] & 0x40 for at in slots) else "later"


def reason_name(code):
    """Name of an answer of `swapin_reason`."""
    named = {SwapinReason.REFUSED_LATER: "later", SwapinReason.NOT_SMALLER: "not smaller"}
    return named.get(code) or SWAPIN_REASONS[code]


def programs(share, name):
    random = Random(f"{name} {share}")  # noqa: S311 (no secrets here)
    for _ in range(PROGRAMS):
        yield random_script(random, random.randrange(4, 30)), random


def test_names_and_numbers():
    assert SWAPIN_REASONS == (
        "policy",
        "order_mismatch",
        "vma_bounds",
        "not_contiguous",
        "zeromap_mixed",
        "swap_cache",
        "allocation",
        "charge",
        "margin",
    )
    assert SWAPOUT_REASONS == ("swap_full", "no_aligned_hole", "order_mismatch", "not_reached", "charge")
    assert len(SWAPIN_REASONS) == counters.N_SWAPIN_REASONS
    assert len(SWAPOUT_REASONS) == counters.N_SWAPOUT_REASONS


D64 = "cfg thp 16=always 64=always\ncfg zram 64M lz4\ncfg page_cluster 0\n"
FOLIO = D64 + "map A 16 9 hugepage\nwrite A 0 16 text:1\npageout A 0 16\n"


@pytest.mark.parametrize(
    ("text", "page", "reason"),
    [
        (FOLIO, 5, "not smaller"),
        (FOLIO + "zswap", 5, "policy"),
        (FOLIO + "advise A uffd", 5, "policy"),
        (FOLIO + "advise A nohugepage", 5, "policy"),
        # T7 b: order 2 for A[1], nothing but the hole in the way of order 4.
        (FOLIO + "dontneed A 4 4", 1, "not_contiguous"),
        # T4: A[i] in slot 1 + i.
        (
            "cfg thp 64=always\ncfg zram 2560K lz4\nmap A 16 9 hugepage\nwrite A 0 16 text:1\npageout A 0 16",
            0,
            "order_mismatch",
        ),
        # Single pages from slot 512 on, in regions that begin or end inside of a block of 16.
        (D64 + "map A 12 9 nohugepage\nwrite A 0 12 text:1\npageout A 0 12\nadvise A hugepage", 8, "vma_bounds"),
        (
            D64 + "map A 16 3 nohugepage\nmap B 8 9 nohugepage\nwrite B 0 8 text:1\nwrite A 0 16 text:1\n"
            "pageout B 0 8\npageout A 0 16\nadvise A hugepage",
            0,
            "vma_bounds",
        ),
        # T11, and the same in v7, where the fault would end in SIGBUS.
        (
            D64 + "map A 16 9 nohugepage\nwrite A 0 16 text:1\nwrite A 0 1 zero\npageout A 0 16\nadvise A hugepage",
            5,
            "zeromap_mixed",
        ),
        (
            "cfg kernel v7\n" + D64 + "map A 16 9 nohugepage\nwrite A 0 16 text:1\nwrite A 0 1 zero\n"
            "pageout A 0 16\nadvise A hugepage",
            5,
            "not smaller",
        ),
        # T15 with page_cluster 0: the child's A[3] came in, its slot is in the swap cache until the child ends.
        (FOLIO + "fork child\n@child read A 3 1\n@child dontneed A 8 8\n@child dontneed A 0 3", 8, "swap_cache"),
    ],
)
def test_known_swapins(text, page, reason):
    device = Device(text).run()
    region, _, pte = next(entry for entry in device.entries() if entry[1] == page)
    got = order_of_fault(*device.handle, region[0], page, pte)
    # What the region asked for before its advice was taken back.
    wanted = 1 << 2 | 1 << 4 if "64M" in text else 1 << 4
    assert reason_name(reason_of_fault(*device.handle, region[0], page, pte, wanted, got)) == reason


def test_sizes_that_the_policy_denies():
    device = Device(FOLIO).run()
    region, page, pte = next(device.entries())

    def reason(wanted, got):
        return reason_name(reason_of_fault(*device.handle, region[0], page, pte, wanted, got))

    device.record["swapin_denied"] = 1 << 4
    assert reason(1 << 2 | 1 << 4, 2) == "policy"
    assert reason(1 << 2, 0) == "later"
    device.record["swapin_denied"] = 1 << 2
    assert reason(1 << 2 | 1 << 4, 2) == "later"
    assert reason(1 << 2 | 1 << 4 | 1 << 9, 4) == "not smaller", "no fault brings in 2 MiB"
    assert reason(0, 0) == "not smaller"


@pytest.mark.parametrize("share", range(SHARES))
def test_swapins_of_random_programs(share):
    seen = Counter()
    for text, random in programs(share, "swapin"):
        device = Device(text).run()
        entries = list(device.entries())
        verdicts = int(device.record["verdicts"])
        for region, page, pte in random.sample(entries, min(len(entries), 40)):
            memory = device.arena.memory.copy()

            def agree(wanted, got, region=region, page=page, pte=pte, device=device, text=text):
                reason = reason_name(reason_of_fault(*device.handle, region[0], page, pte, wanted, got))
                expected = "not smaller"
                if largest(wanted) > got:
                    expected = ruled_out_by(device, region, page, pte, largest(wanted))
                assert reason == expected, f"page {page}, PTE {pte:#x}, got {got} of {wanted:#x}\n{text}"
                seen[reason] += 1
                return reason

            got = order_of_fault(*device.handle, region[0], page, pte)
            device.arena.memory[:] = memory
            assert agree(sysfs_orders(device, region[1]), got) != "later" or verdicts, "only a verdict refuses here"
            # Any mask, any policy.
            device.record["zswap_ever"] = random.randrange(4) == 0
            device.record["swapin_denied"] = random.randrange(1 << 10) & random.choice((0, 0, 0x1FF))
            device.record["thp_always"] = random.randrange(1 << 10) | random.choice((0, 0x1FF))
            agree(random.randrange(1 << 10), random.choice((0, 0, 2, 4)))
            agree(random.choice((0xC, 0x1C, 0x10)), 0)
            device.arena.memory[:] = memory
    assert set(seen) == {"not smaller", "later", *SWAPIN_REASONS[:6]}


def search(device, order):
    """Why there is no entry of this order, by looking at every slot (spec 02 §2.1-2.2)."""
    dev = device.arrays
    n = 1 << order
    free = dev.map == 0
    if np.count_nonzero(free) < n:
        return "swap_full"
    windows = free[: dev.slots // n * n].reshape(-1, n).all(axis=1).nonzero()[0] * n
    if not len(windows):
        return "no_aligned_hole"
    words = dev.cluster[windows // 512]
    own = (words >> bits.CLUSTER_FLAGS_SHIFT == bits.FLAG_FREE) | (words >> bits.CLUSTER_ORDER_SHIFT & 15 == order)
    return "not_reached" if own.any() else "order_mismatch"


D640 = "cfg zram 2560K lz4\nmap A 639 9 nohugepage\nwrite A 0 639 text:1\npageout A 0 639\n"
SCATTERED = D640 + "".join(f"dontneed A {at} 2\n" for at in range(0, 639, 8))
"""All slots of a device of 640 in use, page i in slot i + 1, then two of eight free: 1, 2, 9, 10, ..."""
# Cluster 1, of 512 slots, full of pages that parent and child both map: they are in the swap cache. Less than half of
# swap is in use, so they stay there. A request for 64 slots makes it more than half.
CACHED = """cfg zram 4400K lz4
cfg page_cluster 0
map A 512 9 nohugepage
write A 0 512 text:1
pageout A 0 512
fork child
read A 0 512
@child read A 0 512
"""


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        # Clusters 0 and 1, neither of which was ever wholly free, serve single pages only (spec 01 §1.7).
        ("cfg zram 2560K lz4", dict.fromkeys(range(2, 9), "order_mismatch") | {9: "no_aligned_hole"}),
        ("cfg zram 40K lz4", {2: "order_mismatch", 3: "no_aligned_hole", 4: "swap_full", 9: "swap_full"}),
        (D640, dict.fromkeys(LARGE, "swap_full")),
        # 160 slots are free.
        (SCATTERED, dict.fromkeys(range(2, 8), "no_aligned_hole") | dict.fromkeys((8, 9), "swap_full")),
        # Slots 1 to 10 are free: of 4 and 8, only 4..7 is aligned and 8..15 is not free.
        (SCATTERED + "dontneed A 2 6", {2: "order_mismatch", 3: "no_aligned_hole", 4: "no_aligned_hole"}),
        # Eight refills took 512 slots for 449 pages; the 63 left in the allocation cache are not free (spec 03 §3.2).
        (
            "cfg zram 2560K lz4\nmap A 449 9 nohugepage\nwrite A 0 449 text:1\npageout A 0 449",
            {6: "order_mismatch", 7: "swap_full"},
        ),
        # Slot 0 is never free, nor is what lies past the end: 385 slots are 1 to 384, so 384..511 holds one.
        ("cfg zram 1540K lz4", {7: "order_mismatch", 8: "no_aligned_hole", 9: "swap_full"}),
        # A free cluster comes to be behind the allocator's back: dropping the full one's folios (spec 02 §2.1 step 3).
        (CACHED, {6: "not_reached"}),
    ],
    ids=["fresh", "ten slots", "full", "scattered", "hole of four", "allocation cache", "tail", "dropped"],
)
def test_known_refusals(text, reasons):
    for order, reason in reasons.items():
        device = Device(text).run()
        assert device.take(order) == 0
        assert device.refusal(order) == reason, order
        assert search(device, order) == reason, order
    if text != CACHED:
        device = Device(text).run()
        for order, reason in [*reasons.items(), *reversed(reasons.items())]:
            assert device.take(order) == 0
            assert device.refusal(order) == reason, order


def test_what_is_remembered():
    device = Device(SCATTERED).run()
    where = ("hole_slot", "hole_frees", "hole_order")
    frees = int(device.arrays.counter[counters.NOTIFY_FREE])
    assert device.refusal(3) == "no_aligned_hole"
    assert [int(device.record[name]) for name in where] == [0, frees, 3]
    assert device.refusal(2) == "no_aligned_hole"
    assert [int(device.record[name]) for name in where] == [0, frees, 2]
    # Nothing was freed: the answer is not looked for again, even if it became wrong by magic.
    device.arrays.map[512:] = 0
    assert [device.refusal(order) for order in (2, 3)] == ["no_aligned_hole"] * 2
    device.arrays.counter[counters.NOTIFY_FREE] += 1
    assert device.refusal(3) == "order_mismatch"
    assert [int(device.record[name]) for name in where] == [512, frees + 1, 0]
    # As long as the hole is there it answers for every size, whatever is freed.
    device.arrays.counter[counters.NOTIFY_FREE] += 1
    assert device.refusal(2) == "order_mismatch"
    assert [int(device.record[name]) for name in where] == [512, frees + 2, 0]
    # Taken: the search goes on from there and comes round to the front.
    device.arrays.map[513] = 1
    device.arrays.map[4:8] = 0
    assert device.refusal(2) == "order_mismatch"
    assert int(device.record["hole_slot"]) == 516
    device.arrays.map[513::2] = 1
    assert device.refusal(2) == "order_mismatch"
    assert int(device.record["hole_slot"]) == 4


def crowded(random):
    """A script that leaves up to half of swap to pages that parent and child have both read back: all in the cache."""
    sizes = " ".join(f"{kb}=always" for kb in random.sample((16, 32, 64, 128, 256), random.randrange(1, 4)))
    pages = random.choice((512, 512, 1024, random.randrange(200, 1100)))
    lines = [
        f"cfg thp {sizes}",
        f"cfg page_cluster {random.choice((0, 0, 3))}",
        f"cfg zram {4 * (2 * pages + random.randrange(60, 700))}K lz4",
        f"map A {pages} 9 {random.choice(('hugepage', 'hugepage', 'nohugepage'))}",
        f"write A 0 {pages} text:1",
        f"pageout A 0 {pages}",
        "fork child",
        f"read A 0 {pages}",
        f"@child read A 0 {pages}",
    ]
    for _ in range(random.choice((0, 1, 2, 6))):
        first = random.randrange(pages)
        n = random.choice((1, 2, 8, 64))
        name = random.choice(("dontneed", "pageout", "write"))
        line = f"{name} A {first} {min(pages - first, n)}" + " text:2" * (name == "write")
        lines += random.choice(([line], [line, f"@child {line}"]))
    return "\n".join(lines) + "\n"


def request(device, random, held, seen):
    """Ask for slots and keep them; compare the reason if there are none. Now and then some are given back."""
    order = random.choice((0, 2, 2, 3, 4, 4, 5, 6, 7, 8, 9))
    slot = device.take(order)
    if slot:
        held.append((slot, order))
    elif order:
        reason = device.refusal(order)
        assert reason == search(device, order), f"order {order}"
        seen[reason] += 1
    if held and random.randrange(3) == 0:
        device.give(*held.pop(random.randrange(len(held))))


@pytest.mark.parametrize("share", range(SHARES))
def test_refusals_of_random_programs(share):
    seen = Counter()
    for text, random in programs(share, "swapout"):
        device = Device(text)
        for _ in device.steps():
            held = []
            for _ in range(random.choice((0, 1, 3, 6))):
                request(device, random, held, seen)
            for one in held:
                device.give(*one)
    assert set(seen) >= {"swap_full", "no_aligned_hole", "order_mismatch"}


@pytest.mark.parametrize("share", range(SHARES))
def test_refusals_with_a_swap_cache(share):
    # The allocator drops cached folios once less than half of swap is free: holes come to be while it searches.
    seen = Counter()
    random = Random(f"crowded {share}")  # noqa: S311 (no secrets here)
    for _ in range(PROGRAMS // 2):
        device, held = Device(crowded(random)).run(), []
        for _ in range(60):
            request(device, random, held, seen)
    assert set(seen) == set(SWAPOUT_REASONS[:4])
