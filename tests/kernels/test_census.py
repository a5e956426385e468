"""The contiguity census against worked traces and a recount, page by page, from the rules of spec 05 §5.1-5.3."""

from __future__ import annotations

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
from fleetswap_kernels.device.swap.census import CENSUS_QUADS, take_census
from fleetswap_kernels.device.swap.swapin import swapin_order
from fleetswap_kernels.layout import device as layout
from fleetswap_kernels.layout import words as bits
from tests.properties.programs import random_script

SHARES = 4
PROGRAMS = 200
"""Random programs of each share."""
SCRATCH = layout.Q_VERDICT
"""Thirty quads that nothing reads as long as a device has no verdicts."""

# As the entry points are: linked any other way, a call of a rare function may end in the code of another program.
compiled = numba.njit(pipeline_class=WholeProgramCompiler, error_model="numpy")


@compiled
def count_census(arena, base, orders, o_quad):
    take_census(device_at(arena, base, 0), orders, o_quad)


@compiled
def order_of_fault(arena, base, o_vma, page, pte):
    return swapin_order(device_at(arena, base, 0), o_vma, page, pte)[0]


class Device:
    """A device that has run a script."""

    def __init__(self, text):
        compiled = compile_script(parse_script(text))
        self.arena = Arena([(compiled.blueprint, 1)], ONE_THREAD)
        self.arena.init()
        self.arena.run(compiled.program, 0, len(compiled.program))
        self.view = self.arena.view(0)
        self.handle = self.arena.records, self.arena.base
        self.arrays = DeviceArrays(self.view)
        self.uniform_zeromap = compiled.script.config.kernel == "6.12"

    def census(self, orders=bits.FAULT_ORDERS):
        """Pages by order and runs by length, without the zeros."""
        before = self.arena.memory.copy()
        result = self.view.q[SCRATCH : SCRATCH + CENSUS_QUADS]
        result[:] = 77
        count_census(*self.handle, orders, SCRATCH)
        found = result.tolist()
        result[:] = before.view(np.uint64)[SCRATCH : SCRATCH + CENSUS_QUADS]
        assert (self.arena.memory == before).all(), "a census changes nothing but its result"
        return nonzero(found[:10]), nonzero(found[10:])

    def regions(self):
        """Record offset, first virtual page and PTEs of every region."""
        dev = self.arrays
        of_process = dev.scalar("n_vmas")
        for i, row in enumerate(dev.vma.tolist()):
            if row[layout.VMA_FLAGS] & bits.VMA_USED and dev.proc[i // of_process, layout.PROC_USED]:
                first = row[layout.VMA_PTE]
                ptes = dev.pte[first : first + row[layout.VMA_PAGES]].tolist()
                yield dev.scalar("o_vma") + i * layout.VMA_WORDS, row[layout.VMA_START], ptes


def nonzero(counts):
    return {i: n for i, n in enumerate(counts) if n}


def entry(pte):
    """Slot and exclusive bit of a swap entry; nothing for another PTE."""
    if pte >> bits.KIND_SHIFT != bits.SWAP:
        return None
    return pte & bits.PTE_PAYLOAD, bool(pte & bits.PTE_EXCLUSIVE)


def may_come_together(device, start, ptes, page, order):
    """Whether a block qualifies for a fault on one of its pages (spec 05 §5.3, filters 4, 5 and 7)."""
    n = 1 << order
    slot, exclusive = entry(ptes[page])
    index = (start + page) % n
    first = page - index
    if slot % n != index or first < 0 or first + n > len(ptes):
        return False
    slots = range(slot - index, slot - index + n)
    if [entry(pte) for pte in ptes[first : first + n]] != [(at, exclusive) for at in slots]:
        return False
    zero = {int(device.arrays.zeromap[at // 8]) >> at % 8 & 1 for at in slots}
    if device.uniform_zeromap and len(zero) > 1:
        return False
    return all(device.arrays.map[at] < 0x40 for at in slots)


def recount(device, orders):
    """Pages by order and runs by length, one page after the other."""
    pages, runs = [0] * 10, [0] * 10
    for _, start, ptes in device.regions():
        length = 0
        for page, pte in enumerate(ptes):
            if entry(pte) is None:
                continue
            slot, _ = entry(pte)
            order = 0
            # Only an entry that nobody shares is not read ahead (spec 05 §5.1).
            if device.arrays.map[slot] & 0x3F == 1:
                order = max(
                    (k for k in range(2, 9) if orders >> k & 1 and may_come_together(device, start, ptes, page, k)),
                    default=0,
                )
            pages[order] += 1
            length += 1
            after = entry(ptes[page + 1]) if page + 1 < len(ptes) else None
            if after is None or after[0] != slot + 1:
                runs[min(9, length.bit_length() - 1)] += 1
                length = 0
    return nonzero(pages), nonzero(runs)


def programs(share, n, name="census"):
    random = Random(f"{name} {share}")  # noqa: S311 (no secrets here)
    for _ in range(n):
        yield random_script(random, random.randrange(4, 30))


# Slots of these: spec 10, T1 and those named. 64 KiB folios begin at slot 512, single pages too.
ONE_FOLIO = "cfg thp 64=always\ncfg zram 64M lz4\ncfg page_cluster 0\nmap A 16 9 hugepage\nwrite A 0 16 text:1\n"
ALL_SIZES = "cfg thp 16=always 32=always 64=always 128=always 256=always 512=always 1024=always\ncfg zram 64M lz4\n"
SINGLES = "cfg zram 64M lz4\nmap A 16 9 none\n"


@pytest.mark.parametrize(
    ("text", "pages", "runs"),
    [
        pytest.param(ONE_FOLIO, {}, {}, id="nothing is swapped"),
        pytest.param(ONE_FOLIO + "pageout A 0 16", {4: 16}, {4: 1}, id="one folio"),
        # T7: of order 4 there remain whole blocks of order 2 and 3; 12 pages in runs of 4 and 8.
        pytest.param(ONE_FOLIO + "pageout A 0 16\ndontneed A 4 4", {2: 4, 3: 8}, {2: 1, 3: 1}, id="a hole of four"),
        pytest.param(
            ONE_FOLIO + "pageout A 0 16\ndontneed A 5 1", {0: 3, 2: 4, 3: 8}, {2: 1, 3: 1}, id="a hole of one"
        ),
        # Count 2 everywhere: every fault reads ahead, in both processes.
        pytest.param(ONE_FOLIO + "pageout A 0 16\nfork child", {0: 32}, {4: 2}, id="shared by fork"),
        # 13 entries of the parent have it alone now; the block is still one batch.
        pytest.param(
            ONE_FOLIO + "pageout A 0 16\nfork child\n@child dontneed A 3 13",
            {0: 6, 4: 13},
            {1: 1, 4: 1},
            id="part shared",
        ),
        # T15: with page_cluster 0 only page 3 comes in, and slot 515 stays in the swap cache; slots 512-514 of the
        # parent are a run, 516-527 another. The child's entry of page 3 counts alone, all others have count 2.
        pytest.param(ONE_FOLIO + "pageout A 0 16\nfork child\nread A 3 1", {0: 31}, {1: 1, 3: 1, 4: 1}, id="cached"),
        # As before, and the child gone: the parent's entries are single, slot 515 is in the cache but not in the way
        # of other blocks.
        pytest.param(
            ONE_FOLIO + "pageout A 0 16\nfork child\nread A 3 1\n@child exit",
            {0: 3, 2: 4, 3: 8},
            {1: 1, 3: 1},
            id="left",
        ),
        # The child's page 3 lies in the cache: it blocks the block of 4 around it, and all larger ones.
        pytest.param(
            ONE_FOLIO + "pageout A 0 16\nfork child\nread A 3 1\ndontneed A 0 3\ndontneed A 4 12",
            {0: 4, 2: 4, 3: 8},
            {4: 1},
            id="cached in the other",
        ),
        pytest.param(ONE_FOLIO + "write A 0 16 zero\npageout A 0 16", {4: 16}, {4: 1}, id="all zero"),
        # T11: A[0] zero, swapped out page by page.
        pytest.param(
            SINGLES + "write A 0 16 text:1\nwrite A 0 1 zero\npageout A 0 16", {0: 4, 2: 4, 3: 8}, {4: 1}, id="zeros"
        ),
        # The same before 6.12, which did not look at the bits (spec 07 §7.1).
        pytest.param(
            "cfg kernel v7\n" + SINGLES + "write A 0 16 text:1\nwrite A 0 1 zero\npageout A 0 16",
            {4: 16},
            {4: 1},
            id="zeros in v7",
        ),
        # T10: larger than they went out, here as single pages.
        pytest.param(
            "cfg zram 64M lz4\nmap A 600 9 none\nwrite A 0 600 text:1\npageout A 0 600",
            {3: 8, 4: 16, 6: 64, 8: 512},
            {9: 1},
            id="singles in a row",
        ),
        # T4: slots 1.. on a device of 640, so page i has slot i + 1.
        pytest.param(
            "cfg zram 2560K lz4\nmap A 16 9 none\nwrite A 0 16 text:1\npageout A 0 16", {0: 16}, {4: 1}, id="misaligned"
        ),
        # The region begins 4 pages behind a multiple of 512, slots at 512 for page 4: congruent modulo 4 only.
        pytest.param(
            "cfg zram 64M lz4\nmap A 4 9 none\nmap B 16 2 none\nwrite B 0 16 text:1\npageout B 0 16",
            {2: 16},
            {4: 1},
            id="congruent modulo 4",
        ),
        # Neighbours in slots and in the PTE array, but not in the address space.
        pytest.param(
            "cfg zram 64M lz4\nmap A 16 9 none\nmap B 16 9 none\nwrite A 0 16 text:1\nwrite B 0 16 text:1\n"
            "pageout A 0 16\npageout B 0 16",
            {4: 32},
            {4: 2},
            id="two regions",
        ),
        # Pages 8..15 of the parent are in the child too: the batch breaks in the middle, the run of slots does not.
        pytest.param(
            "cfg zram 64M lz4\nmap A 16 9 none\nwrite A 0 16 text:1\nfork child\n@child exit\nwrite A 0 8 text:2\n"
            "pageout A 0 16",
            {3: 16},
            {4: 1},
            id="half exclusive",
        ),
        # T12: 16K at A[4..15] in slots 512..523 and at A[32..35] in 524..527, 64K at A[16..31] in 1024..1039.
        pytest.param(
            "cfg thp 16=always 64=always\ncfg zram 64M lz4\nmap A 36 2 hugepage\nwrite A 0 32 text:1\npageout A 0 36",
            {2: 16, 4: 16},
            {2: 1, 3: 1, 4: 1},
            id="several sizes",
        ),
    ],
)
def test_known_layouts(text, pages, runs):
    assert Device(text).census() == (pages, runs)


def test_a_mask_of_orders():
    device = Device(ONE_FOLIO + "pageout A 0 16")
    sizes = {orders: device.census(orders)[0] for orders in (0, 1 << 9 | 3, 1 << 2, 1 << 3 | 1 << 5, 1 << 5)}
    assert sizes == {0: {0: 16}, 1 << 9 | 3: {0: 16}, 1 << 2: {2: 16}, 1 << 3 | 1 << 5: {3: 16}, 1 << 5: {0: 16}}


def test_what_no_region_holds_does_not_count():
    device = Device(ONE_FOLIO + "pageout A 0 16")
    device.view.w[device.arrays.scalar("o_vma") + layout.VMA_FLAGS] = 0
    assert device.census() == ({}, {})


@pytest.mark.parametrize("share", range(SHARES))
def test_random_programs_against_a_recount(share):
    seen = set()
    for text in programs(share, PROGRAMS):
        device = Device(text)
        random = Random(text)  # noqa: S311 (no secrets here)
        for orders in (bits.FAULT_ORDERS, random.randrange(1 << 10)):
            expected = recount(device, orders)
            assert device.census(orders) == expected, f"orders {orders:#x}\n{text}"
            seen |= set(expected[0])
    assert seen >= {0, 2, 3, 4, 5, 6}


@pytest.mark.parametrize("share", range(SHARES))
def test_a_fault_brings_in_what_the_census_counts(share):
    # The order that swap-in chooses with every size enabled and nothing refused, page by page.
    for text in programs(share, PROGRAMS // 2, "fault"):
        device = Device(text)
        expected = [0] * 10
        before = device.arena.memory.copy()
        record = device.arena.records[0]
        for name, value in (
            ("zswap_ever", 0),
            ("verdicts", 0),
            ("swapin_denied", 0),
            ("thp_always", bits.FAULT_ORDERS),
        ):
            record[name] = value
        for o_vma, _, ptes in device.regions():
            device.view.w[o_vma + layout.VMA_FLAGS] &= ~np.uint32(bits.VMA_UFFD | bits.VMA_NOHUGEPAGE)
            for page, pte in enumerate(ptes):
                if entry(pte) is not None:
                    single = device.arrays.map[entry(pte)[0]] & 0x3F == 1
                    expected[order_of_fault(*device.handle, o_vma, page, pte) if single else 0] += 1
        device.arena.memory[:] = before
        assert device.census()[0] == nonzero(expected), text
