"""The checks themselves: a busy device is sound, and every single damage to it is found."""

from __future__ import annotations

import numpy as np
import pytest

from fleetswap.arrays import DeviceArrays
from fleetswap.invariants import Checker
from fleetswap.program import compile_script
from fleetswap.script import parse_script
from fleetswap_kernels import bits, counters, layout
from fleetswap_kernels.arena import Arena

BUSY = """
cfg cpus 2
cfg thp 16=always 64=always 2048=always
cfg page_cluster 3
cfg zram 8M lz4 mem_limit=1M
map A 64 9 hugepage
map B 40 1 nohugepage
map C 600 9 hugepage
map E 16 9 hugepage
write C 0 512 text:1
write A 0 64 mix:1
write B 0 40 text:2
write E 0 16 rand:1
pageout A 0 48
pageout B 0 40
read B 0 5
fork child
@child dontneed B 11 1
@child write A 0 4 zero
read B 12 1
@child read B 12 3
dontneed A 49 2
read A 63 1
cpu 1
pageout E 0 16
fault_begin B 11 read
map D 1 0 none
read D 0 1
"""


@pytest.fixture
def dev():
    """Arrays of a device with something of everything in it."""
    compiled = compile_script(parse_script(BUSY))
    arena = Arena([(compiled.blueprint, 1)])
    arena.init()
    arena.run(compiled.program, 0, len(compiled.program))
    view = arena.view(0)
    arrays = DeviceArrays(view)
    checker = Checker(view)
    assert checker.violations() == []
    assert len(checker.wrong_pages()) == 0
    arrays.checker = checker
    return arrays


def set_scalar(dev, name, change):
    field = layout.HEADER.fields[name][1] // 4
    dev.w[field] += np.uint32(change & 0xFFFFFFFF)


def first(condition):
    where = np.flatnonzero(condition)
    assert len(where), "the busy device lacks what this damage needs"
    return where[0]


def pte_of(dev, kind, flags=0):
    return first((dev.pte >> bits.KIND_SHIFT == kind) & (dev.pte & flags == flags))


def order_of(dev, frames):
    return dev.frame[frames] >> bits.FRAME_ORDER_SHIFT & 15


def live(dev):
    """Frames that some PTE maps."""
    return dev.mapcount > 0


def free_slot(dev):
    return first(dev.map == 0)


def damage_map(dev, slot, value):
    dev.map[slot] = value


def swap_words(array, a, b):
    array[[a, b]] = array[[b, a]]


def park_twice(dev):
    row = dev.cpu[0]
    row[layout.CPU_RET + row[layout.CPU_RET_NR]] = row[layout.CPU_ALLOC + row[layout.CPU_ALLOC_CUR]]
    row[layout.CPU_RET_NR] += 1


def unlink_cluster(dev):
    head = dev.list_head[bits.LIST_FREE]
    dev.list_head[bits.LIST_FREE] = dev.cluster_next[head]
    dev.cluster_prev[dev.cluster_next[head]] = bits.NIL


def unlink_block(dev):
    order = first(dev.block_head != bits.FRAME_NIL)
    dev.block_head[order] = bits.FRAME_NIL


def move_zspage(dev):
    group = first(dev.zgroup != bits.NIL)
    other = group + 1 if dev.zgroup[group + 1] == bits.NIL else group - 1
    z = dev.zgroup[group]
    after = dev.zspage[z, layout.ZSPAGE_NEXT]
    dev.zgroup[group] = after
    if after != bits.NIL:
        dev.zspage[after, layout.ZSPAGE_PREV] = bits.NIL
    dev.zgroup[other] = z
    dev.zspage[z, layout.ZSPAGE_NEXT] = bits.NIL


def lose_object(dev):
    slot = first((dev.stored != 0) & (dev.content_bytes[dev.stored] > 0) & (dev.map > 0) & (dev.map < bits.MAP_BAD))
    dev.stored[slot] = 0


def cached_frame(dev):
    return first((dev.frame >> 29 & 5 == 1) & (order_of(dev, slice(None)) <= 9))


def misalign(dev):
    """The swap-cache folio of a write error moves by one slot, in its word and in the table."""
    head = first((dev.frame & bits.FRAME_CACHED != 0) & (dev.frame < bits.FRAME_FREE) & (order_of(dev, slice(None)) > 0))
    dev.frame[head] += np.uint32(1)


DAMAGES = {
    "count of cluster": ("slots in use of cluster", lambda d: damage_map(d, free_slot(d), bits.HAS_CACHE)),
    "inuse": ("inuse", lambda d: set_scalar(d, "inuse", 1)),
    "nr_swap_pages": ("nr_swap_pages", lambda d: set_scalar(d, "nr_swap_pages", -1)),
    "header slot": ("header's slot", lambda d: damage_map(d, 0, 0)),
    "swap count": ("count of a slot", lambda d: damage_map(d, d.pte[pte_of(d, bits.SWAP)] & bits.PTE_PAYLOAD, 3)),
    "continued": ("cannot be so", lambda d: damage_map(d, first(d.map == 1), 0x81)),
    "zeromap": ("free slot, less 1, has contents", lambda d: d.zeromap.__setitem__(free_slot(d) // 8, 0xFF)),
    "stored": ("free slot, less 1, has contents", lambda d: d.stored.__setitem__(free_slot(d), 1)),
    "highest_bit": ("highest_bit", lambda d: set_scalar(d, "highest_bit", -1)),
    "cluster flags": ("has flags", lambda d: d.cluster.__setitem__(1, d.cluster[1] ^ (3 << bits.CLUSTER_FLAGS_SHIFT))),
    "cluster order": ("cluster list", lambda d: d.cluster.__setitem__(0, d.cluster[0] ^ (1 << bits.CLUSTER_ORDER_SHIFT))),
    "list member": ("clusters on lists", unlink_cluster),
    "list link": ("link back", lambda d: d.cluster_prev.__setitem__(d.list_tail[bits.LIST_FREE], 0)),
    "list tail": ("with tail", lambda d: d.list_tail.__setitem__(bits.LIST_FREE, d.list_head[bits.LIST_FREE])),
    "frag_nr": ("frag_nr", lambda d: d.frag_nr.__setitem__(0, d.frag_nr[0] + 1)),
    "next": ("no such entry fits", lambda d: d.cpu.__setitem__((0, 4), 17)),
    "slot parked twice": ("two owners", park_twice),
    "slot cache lost": ("no owner", lambda d: d.cpu.__setitem__((0, layout.CPU_RET_NR), d.cpu[0, layout.CPU_RET_NR] - 1)),
    "inactive caches": ("which they cannot", lambda d: set_scalar(d, "cache_active", -1)),
    "swap cache table": ("swap cache's table", lambda d: d.cache.__setitem__(first(d.cache), 0)),
    "swap cache gauge": ("pages in the swap cache", lambda d: set_scalar(d, "swap_cache_pages", 1)),
    "misaligned folio": ("not a multiple", misalign),
    "mapcount": ("mapcount", lambda d: d.mapcount.__setitem__(first(live(d)), 9)),
    "leaked frame": ("neither free nor part", unlink_block),
    "frame order": ("part of a whole folio", lambda d: d.frame.__setitem__(
        first(live(d) & (order_of(d, slice(None)) == 2)), 3 << bits.FRAME_ORDER_SHIFT
    )),
    "free frames": ("free frames", lambda d: set_scalar(d, "frames_free", 1)),
    "lost folio": ("nothing holds a folio", lambda d: (
        d.pte.__setitem__(d.pte == d.pte[pte_of(d, bits.PRESENT, bits.PTE_EXCLUSIVE)], bits.PTE_ZERO)
    )),
    "nr_anon": ("nr_anon", lambda d: d.counter.__setitem__(counters.mthp_index("nr_anon", 4), 77)),
    "partially mapped": ("nr_anon_partially_mapped", lambda d: d.counter.__setitem__(
        counters.mthp_index("nr_anon_partially_mapped", 4), 77
    )),
    "ANONPAGES": ("MM_ANONPAGES", lambda d: d.proc.__setitem__((0, layout.PROC_ANONPAGES), 1)),
    "SWAPENTS": ("MM_SWAPENTS", lambda d: d.proc.__setitem__((1, layout.PROC_SWAPENTS), 1)),
    "shared as exclusive": ("mapped exclusively", lambda d: d.pte.__ior__(
        np.where((d.pte >> bits.KIND_SHIFT == bits.PRESENT), np.uint32(bits.PTE_EXCLUSIVE), np.uint32(0))
    )),
    "shared entry as exclusive": ("not the only one", lambda d: d.pte.__ior__(
        np.where((d.pte >> bits.KIND_SHIFT == bits.SWAP), np.uint32(bits.PTE_EXCLUSIVE), np.uint32(0))
    )),
    "stray bit": ("its kind does not have", lambda d: d.pte.__setitem__(pte_of(d, bits.SWAP), d.pte[
        pte_of(d, bits.SWAP)] | bits.PTE_DIRTY
    )),
    "PMD": ("mapped as a whole", lambda d: d.pmd.__setitem__(first(d.pmd == bits.PMD_TABLE), bits.PMD_HUGE)),
    "no page table": ("without a page table", lambda d: d.pmd.__setitem__(first(d.pmd == bits.PMD_TABLE), bits.PMD_NONE)),
    "stray PTE": ("outside of all regions", lambda d: d.pte.__setitem__(-1, bits.PTE_ZERO)),
    "pages_stored": ("pages_stored", lambda d: d.counter.__setitem__(counters.PAGES_STORED, 1)),
    "lost object": ("the objects of a zspage", lose_object),
    "zspage group": ("objects is in zspage group", move_zspage),
    "pool": ("pool_pages", lambda d: d.counter.__setitem__(counters.POOL_PAGES, d.counter[counters.POOL_PAGES] - 1)),
    "unused zspages": ("chain of unused", lambda d: set_scalar(d, "zspage_unused", 1)),
    "halted fault": ("halted", lambda d: d.cpu.__setitem__((1, layout.CPU_FAULT + layout.FAULT_FRAME), 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_is_found(dev, name):
    message, damage = DAMAGES[name]
    damage(dev)
    found = dev.checker.violations()
    assert any(message in line for line in found), found


def test_a_lost_page_is_found(dev):
    at = pte_of(dev, bits.PRESENT)
    dev.content[dev.pte[at] & bits.PTE_PAYLOAD] += np.uint32(1)
    assert at in dev.checker.wrong_pages()
    at = first(dev.zeromap)
    dev.zeromap[:] = 0
    dev.stored[dev.pte[pte_of(dev, bits.SWAP)] & bits.PTE_PAYLOAD] = 2
    assert len(dev.checker.wrong_pages()) > 1
