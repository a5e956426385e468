"""The checks themselves: a busy device is sound, and every single damage to it is found."""

from __future__ import annotations

import numpy as np
import pytest

from fleetswap.check.arrays import DeviceArrays
from fleetswap.check.device import Checker
from fleetswap.script.language import parse_script
from fleetswap.script.program import compile_script
from fleetswap_kernels.backend.arena import Arena
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout import device as layout
from fleetswap_kernels.layout import words as bits
from tests.properties.contents import wrong_pages

BUSY = """
cfg cpus 2
cfg thp 16=always 64=always 2048=always
cfg page_cluster 3
cfg zram 12M lz4 mem_limit=280K
map A 64 9 hugepage
map B 40 1 nohugepage
map C 600 9 hugepage
map D 4 0 none
map E 16 9 hugepage
write C 0 512 text:1
write A 0 64 mix:1
write B 0 40 text:2
write E 0 16 rand:1
pageout A 0 48
pageout B 0 40
pageout E 0 16
read B 0 5
fork child
@child dontneed B 11 1
@child write A 0 4 zero
read B 12 1
@child read B 12 3
dontneed A 49 2
cpu 1
write D 0 4 text:3
pageout D 0 3
fault_begin D 1 read
map F 1 0 none
read F 0 1
"""


@pytest.fixture
def dev():
    """Arrays of a device with something of everything in it."""
    compiled = compile_script(parse_script(BUSY))
    arena = Arena([(compiled.blueprint, 1)], ONE_THREAD)
    arena.init()
    arena.run(compiled.program, 0, len(compiled.program))
    view = arena.view(0)
    arrays = DeviceArrays(view)
    checker = Checker(view)
    assert checker.violations() == []
    assert len(wrong_pages(checker)) == 0
    arrays.checker = checker
    return arrays


DAMAGES = {}


def found_as(message):
    """Register a damage with a part of the line that must report it."""

    def register(damage):
        DAMAGES[damage.__name__] = message, damage
        return damage

    return register


def first(condition):
    where = np.flatnonzero(condition)
    assert len(where), "the busy device lacks what this damage needs"
    return where[0]


def add(dev, name, change):
    field = layout.HEADER.fields[name][1] // 4
    dev.w[field] = int(dev.w[field]) + change


def kinds(dev):
    return dev.pte >> bits.KIND_SHIFT


def free_slot(dev):
    return first(dev.map == 0)


def orders(dev):
    """Order of the folio of every live frame, -1 for a frame that no PTE maps."""
    return np.where(dev.mapcount > 0, dev.frame.astype(np.int64) >> bits.FRAME_ORDER_SHIFT & 15, -1)


@found_as("slots in use of cluster")
def a_slot_too_many(dev):
    dev.map[free_slot(dev)] = bits.HAS_CACHE


@found_as("inuse: ")
def wrong_inuse(dev):
    add(dev, "inuse", 1)


@found_as("nr_swap_pages: ")
def wrong_nr_swap_pages(dev):
    add(dev, "nr_swap_pages", -1)


@found_as("the header's slot")
def header_slot_free(dev):
    dev.map[0] = 0


@found_as("the count of a slot")
def a_reference_too_many(dev):
    dev.map[first(dev.map == 1)] = 2


@found_as("a slot cannot be so")
def continued_count(dev):
    dev.map[first(dev.map == 1)] = 0x81


@found_as("a free slot, less 1, has contents")
def zeromap_bit_of_a_free_slot(dev):
    slot = free_slot(dev)
    dev.zeromap[slot // 8] |= 1 << slot % 8


@found_as("a free slot, less 1, has contents")
def stored_page_of_a_free_slot(dev):
    dev.stored[free_slot(dev)] = 1


@found_as("do not enclose")
def wrong_highest_bit(dev):
    add(dev, "highest_bit", -1)


@found_as("has flags")
def cluster_with_two_flags(dev):
    dev.cluster[1] |= 3 << bits.CLUSTER_FLAGS_SHIFT


@found_as("not all of them belong there")
def cluster_of_another_order(dev):
    dev.cluster[first(dev.cluster >> bits.CLUSTER_FLAGS_SHIFT == bits.FLAG_NONFULL)] ^= 1 << bits.CLUSTER_ORDER_SHIFT


@found_as("clusters on lists: ")
def cluster_on_no_list(dev):
    head = dev.list_head[bits.LIST_FREE]
    dev.list_head[bits.LIST_FREE] = dev.cluster_next[head]
    dev.cluster_prev[dev.list_head[bits.LIST_FREE]] = bits.NIL


@found_as("the link back")
def wrong_link_back(dev):
    dev.cluster_prev[dev.list_tail[bits.LIST_FREE]] = 0


@found_as("does not end")
def list_is_a_ring(dev):
    dev.cluster_next[dev.list_tail[bits.LIST_FREE]] = dev.list_head[bits.LIST_FREE]


@found_as("with tail")
def wrong_tail(dev):
    dev.list_tail[bits.LIST_FREE] = dev.list_head[bits.LIST_FREE]


@found_as("frag_nr of order 0: ")
def wrong_frag_nr(dev):
    dev.frag_nr[0] += 1


@found_as("no such entry fits")
def next_between_entries(dev):
    dev.cpu[0, 4] = 17


@found_as("two owners")
def slot_in_both_caches(dev):
    row = dev.cpu[0]
    row[layout.CPU_RET + row[layout.CPU_RET_NR]] = row[layout.CPU_ALLOC + row[layout.CPU_ALLOC_CUR]]
    row[layout.CPU_RET_NR] += 1


@found_as("HAS_CACHE and no owner")
def slot_cache_forgets(dev):
    dev.cpu[0, layout.CPU_ALLOC_NR] -= 1


@found_as("which they cannot")
def inactive_caches_with_slots(dev):
    add(dev, "cache_active", -1)


@found_as("the swap cache's table")
def slot_without_its_folio(dev):
    dev.cache[first(dev.cache)] = 0


@found_as("pages in the swap cache: ")
def wrong_swap_cache_pages(dev):
    add(dev, "swap_cache_pages", 1)


@found_as("not a multiple of its size")
def misaligned_swap_cache_folio(dev):
    head = int(dev.cache[first(dev.cache)]) - 1
    while int(dev.frame[head]) >> bits.FRAME_ORDER_SHIFT & 15 == 0:
        head = int(dev.cache[first(dev.cache > head + 1)]) - 1
    dev.frame[head] += 1


@found_as("a clean swap-cache page differs")
def clean_page_changed(dev):
    clean = (dev.frame & bits.FRAME_DIRTY == 0) & (dev.frame & bits.FRAME_CACHED != 0) & (dev.frame < bits.FRAME_FREE)
    dev.content[first(clean & (dev.mapcount == 0))] += 1


@found_as("the mapcount of a frame")
def wrong_mapcount(dev):
    dev.mapcount[first(dev.mapcount)] += 1


@found_as("neither free nor part of a whole folio")
def free_block_on_no_list(dev):
    dev.block_head[first(dev.block_head != bits.FRAME_NIL)] = bits.FRAME_NIL


@found_as("neither free nor part of a whole folio")
def pages_of_one_folio_disagree(dev):
    dev.frame[first(orders(dev) == 4)] = 2 << bits.FRAME_ORDER_SHIFT


@found_as("a frame has odd flags")
def tail_page_with_flags(dev):
    frame = first(orders(dev) == 4)
    dev.frame[frame | 1] |= bits.FRAME_DIRTY


@found_as("free frames: ")
def wrong_frames_free(dev):
    add(dev, "frames_free", 1)


@found_as("not merged with its buddy")
def free_block_in_halves(dev):
    order = first(dev.block_head[1:] != bits.FRAME_NIL)
    low = dev.block_head[order + 1]
    high = low + (1 << order)
    dev.block_head[order + 1] = dev.frame[low] & bits.FRAME_LINK
    dev.frame[high] = bits.FRAME_FREE | order << bits.FRAME_ORDER_SHIFT | dev.block_head[order]
    dev.frame[low] = bits.FRAME_FREE | order << bits.FRAME_ORDER_SHIFT | high
    dev.content[low], dev.content[high] = bits.FRAME_NIL, low
    dev.block_head[order] = low


@found_as("nothing holds a folio")
def folio_without_a_user(dev):
    at = first((kinds(dev) == bits.PRESENT) & (dev.pte & bits.PTE_EXCLUSIVE != 0))
    assert orders(dev)[dev.pte[at] & bits.PTE_PAYLOAD] == 0
    dev.mapcount[dev.pte[at] & bits.PTE_PAYLOAD] = 0
    dev.pte[at] = bits.PTE_ZERO
    dev.proc[at // (len(dev.pte) // dev.procs), layout.PROC_ANONPAGES] -= 1


@found_as("nr_anon of an order")
def wrong_nr_anon(dev):
    dev.counter[counters.mthp_index("nr_anon", 4)] += 1


@found_as("nr_anon_partially_mapped of an order")
def wrong_nr_anon_partially_mapped(dev):
    dev.counter[counters.mthp_index("nr_anon_partially_mapped", 4)] -= 1


@found_as("queued as partially mapped, which it is not")
def whole_folio_queued(dev):
    dev.frame[first(orders(dev) == 9)] |= bits.FRAME_PARTIAL


@found_as("MM_ANONPAGES")
def wrong_anon_pages(dev):
    dev.proc[0, layout.PROC_ANONPAGES] += 1


@found_as("MM_SWAPENTS")
def wrong_swap_entries(dev):
    dev.proc[1, layout.PROC_SWAPENTS] += 1


@found_as("mapped exclusively has other mappings")
def shared_page_exclusive(dev):
    dev.pte[first((kinds(dev) == bits.PRESENT) & (dev.pte & bits.PTE_EXCLUSIVE == 0))] |= bits.PTE_EXCLUSIVE


@found_as("not the only one")
def shared_entry_exclusive(dev):
    shared = (kinds(dev) == bits.SWAP) & (dev.map[np.minimum(dev.pte & bits.PTE_PAYLOAD, dev.slots - 1)] == 2)
    dev.pte[first(shared)] |= bits.PTE_EXCLUSIVE


@found_as("its kind does not have")
def dirty_swap_entry(dev):
    dev.pte[first(kinds(dev) == bits.SWAP)] |= bits.PTE_DIRTY


@found_as("mapped as a whole, but its PTEs are not")
def table_as_huge_page(dev):
    dev.pmd[first(dev.pmd == bits.PMD_TABLE)] = bits.PMD_HUGE


@found_as("without a page table")
def range_without_a_table(dev):
    dev.pmd[first(dev.pmd == bits.PMD_TABLE)] = bits.PMD_NONE


@found_as("outside of all regions")
def pte_outside_of_regions(dev):
    used = np.zeros(len(dev.pte), dtype=bool)
    for flags, _, pages, pte, *_ in dev.vma.tolist():
        used[pte : pte + pages] |= bool(flags)
    dev.pte[first(~used)] = bits.PTE_ZERO


@found_as("fork would not copy")
def region_without_anon_pages(dev):
    dev.vma[0, layout.VMA_FLAGS] &= ~np.uint32(bits.VMA_ANON)


@found_as("the wrong address")
def region_moved_by_a_page(dev):
    dev.vma[0, layout.VMA_START] += 1


@found_as("pages_stored: ")
def wrong_pages_stored(dev):
    dev.counter[counters.PAGES_STORED] += 1


@found_as("compr_data_size: ")
def wrong_compressed_size(dev):
    dev.counter[counters.COMPR_DATA_SIZE] += 1


@found_as("the objects of a zspage differ")
def lost_object(dev):
    dev.stored[first((dev.content_bytes[dev.stored] > 0) & (dev.map == 1))] = 0


@found_as("objects is in zspage group")
def zspage_in_another_group(dev):
    group = first(dev.zgroup[:-1] != bits.NIL)
    group, other = (group, group + 1) if dev.zgroup[group + 1] == bits.NIL else (group + 1, group)
    dev.zgroup[other], dev.zgroup[group] = dev.zgroup[group], dev.zgroup[other]


@found_as("pool_pages: ")
def wrong_pool_pages(dev):
    dev.counter[counters.POOL_PAGES] -= 1


@found_as("more than its peak or its limit")
def pool_above_its_limit(dev):
    dev.counter[counters.POOL_PAGES] += 1000


@found_as("the chain of unused zspages")
def unused_zspages_lost(dev):
    add(dev, "zspage_unused", 1)


@found_as("nothing holds a folio")
def halted_fault_forgotten(dev):
    dev.cpu[1, layout.CPU_FAULT + layout.FAULT_FRAME] = 0


@found_as("holds a folio of another order")
def halted_fault_of_another_order(dev):
    dev.cpu[1, layout.CPU_FAULT + layout.FAULT_ORDER] = 2


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_is_found(dev, name):
    message, damage = DAMAGES[name]
    damage(dev)
    found = dev.checker.violations()
    assert any(message in line for line in found), found


@pytest.mark.parametrize("kind", [bits.PRESENT, bits.ZERO, bits.SWAP])
def test_a_page_with_other_contents_is_found(dev, kind):
    # Not a cached one: its contents are in a frame.
    slot = dev.pte & bits.PTE_PAYLOAD
    uncached = (kinds(dev) != bits.SWAP) | (dev.cache[np.minimum(slot, dev.slots - 1)] == 0)
    at = first((kinds(dev) == kind) & uncached & (dev.expect > bits.CONTENT_ZERO if kind != bits.ZERO else True))
    if kind == bits.PRESENT:
        dev.content[slot[at]] += 1
    elif kind == bits.ZERO:
        dev.expect[at] = 2
    else:
        dev.zeromap[slot[at] // 8] |= 1 << slot[at] % 8
    assert at in wrong_pages(dev.checker)
