"""The census of many processes: both backends against an oracle from the spec, and against the one of a device."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap_kernels.batch.census import census
from fleetswap_kernels.batch.page_tables import PageTables
from fleetswap_kernels.batch.swap_areas import SwapAreas
from fleetswap_kernels.batch.words import words_of_slots
from fleetswap_kernels.device.batch.census import NOT_SWAPPED
from fleetswap_kernels.layout import words as bits
from tests.batch import oracle
from tests.batch.fleets import page_tables, swap_areas
from tests.kernels.test_census import Device, nonzero, programs

ALL = bits.FAULT_ORDERS


def one_region(words, start=0):
    """Page tables of one process with one region."""
    return PageTables(
        np.asarray(words, np.uint64),
        np.array([0, len(words)]),
        np.array([start]),
        np.array([0, 1]),
        np.array([0]),
    )


def equal(one, other):
    return all(
        (getattr(one, name) == getattr(other, name)).all() for name in ("page_order", "order_pages", "run_counts")
    )


@settings(max_examples=60)
@given(page_tables(), swap_areas() | st.just(SwapAreas.unknown()), st.integers(0, 1023) | st.just(ALL))
def test_both_backends_agree_with_the_oracle(cpu, cuda, tables, areas, orders):
    found = census(cpu, tables, areas, orders)
    assert found.page_order.tolist() == oracle.page_orders(tables, areas, orders)
    assert found.run_counts.tolist() == oracle.runs(tables)
    assert equal(found, census(cuda, tables, areas, orders))
    # The pages of a process, added up by their order.
    for p in range(tables.processes):
        first, end = tables.region_offset[tables.process_offset[[p, p + 1]]]
        pages = found.page_order[first:end]
        counts = np.bincount(pages[pages != NOT_SWAPPED], minlength=10)
        assert found.order_pages[p].tolist() == counts.tolist()


@settings(max_examples=20)
@given(page_tables(), swap_areas())
def test_parts_of_a_fleet_are_the_fleet(cpu, tables, areas):
    whole = census(cpu, tables, areas)
    parts = [census(cpu, tables.part(p, p + 1), areas) for p in range(tables.processes)]
    assert np.concatenate([part.page_order for part in parts]).tolist() == whole.page_order.tolist()
    assert np.concatenate([part.order_pages for part in parts]).tolist() == whole.order_pages.tolist()


def of_device(device):
    """A simulated device as arrays."""
    words, offsets, starts = [], [0], []
    for _, start, ptes in device.regions():
        for pte in ptes:
            swapped = pte >> bits.KIND_SHIFT == bits.SWAP
            flag = 1 << 56 if pte & bits.PTE_EXCLUSIVE else 0
            words.append(1 << 62 | flag | (pte & bits.PTE_PAYLOAD) << 5 if swapped else 0)
        offsets.append(len(words))
        starts.append(start)
    tables = PageTables(
        np.array(words, np.uint64),
        np.array(offsets),
        np.array(starts, np.int64),
        np.array([0, len(starts)]),
        np.array([0]),
    )
    bitmap = device.arrays.zeromap[: -(-device.arrays.slots // 8)]
    zeromap = bitmap if device.uniform_zeromap else np.zeros_like(bitmap)  # v7 does not look at it
    return tables, SwapAreas.of([device.arrays.map], [zeromap])


def test_a_device_has_the_census_of_its_arrays(cpu, cuda):
    seen = set()
    for text in programs(0, 100, "batch"):
        device = Device(text)
        tables, areas = of_device(device)
        for orders in (ALL, 1 << 2 | 1 << 4):
            pages, runs = device.census(orders)
            for backend in (cpu, cuda):
                found = census(backend, tables, areas, orders)
                assert nonzero(found.order_pages[0].tolist()) == pages, text
                assert nonzero(found.run_counts[0].tolist()) == runs, text
            seen |= set(pages)
    assert seen >= {0, 2, 3, 4, 5}


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
class TestByHand:
    """Layouts small enough to count on paper."""

    def found(self, request, backend, tables, areas=None, orders=ALL):
        result = census(request.getfixturevalue(backend), tables, areas or SwapAreas.unknown(), orders)
        return nonzero(result.order_pages.sum(axis=0).tolist()), nonzero(result.run_counts.sum(axis=0).tolist())

    def test_a_large_run_is_cut_by_alignment(self, request, backend):
        # Pages 4..35 in slots 516..547: blocks of 4 at 4, 8 at 8, 16 at 16, 4 at 32.
        assert self.found(request, backend, one_region(words_of_slots(np.arange(516, 548)), 4)) == (
            {2: 8, 3: 8, 4: 16},
            {5: 1},
        )

    def test_slots_that_are_not_congruent(self, request, backend):
        assert self.found(request, backend, one_region(words_of_slots(np.arange(513, 529)))) == ({0: 16}, {4: 1})

    def test_only_enabled_orders(self, request, backend):
        tables = one_region(words_of_slots(np.arange(512, 768)))
        for orders, pages in ((1 << 8, {8: 256}), (1 << 9 | 2, {0: 256}), (1 << 4 | 1 << 6, {6: 256}), (0, {0: 256})):
            assert self.found(request, backend, tables, orders=orders)[0] == pages

    def test_a_soft_dirty_page_breaks_the_batch_not_the_run(self, request, backend):
        words = words_of_slots(np.arange(512, 528))
        words[15] |= np.uint64(1 << 55)
        # 8 at 0, 4 at 8; 12..15 are three pages of one kind and one of another.
        assert self.found(request, backend, one_region(words)) == ({0: 4, 2: 4, 3: 8}, {4: 1})

    def test_a_shared_and_a_cached_slot(self, request, backend):
        swap_map = np.ones(32, np.uint8)
        swap_map[17] = 2  # comes back alone; its block is not harmed
        swap_map[18] = 0  # nobody's, which cannot be: not one PTE's either
        swap_map[28] = 0x41  # harms the block
        tables = one_region(words_of_slots(np.arange(16, 32)))
        assert self.found(request, backend, tables, SwapAreas.of([swap_map])) == ({0: 6, 2: 4, 3: 6}, {4: 1})

    def test_a_run_goes_on_where_a_window_ends(self, request, backend):
        # Pages 255 and 256..271: the first alone, then 16 in congruent slots.
        assert self.found(request, backend, one_region(words_of_slots(np.arange(511, 528)), 255)) == (
            {0: 1, 4: 16},
            {4: 1},
        )

    def test_runs_longer_than_the_last_bin(self, request, backend):
        assert self.found(request, backend, one_region(words_of_slots(np.arange(1, 5000))))[1] == {9: 1}


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_a_slot_that_no_area_has(backend, request):
    words = words_of_slots(np.array([5, 9, 10, 11]))
    areas = SwapAreas.of([np.ones(10, np.uint8)])
    with pytest.raises(ValueError, match=r"^pte\[2\] is 0x4000000000000140: slot 10 of swap type 0; allowed are "):
        census(request.getfixturevalue(backend), one_region(words), areas)
    words[0] |= np.uint64(1)
    with pytest.raises(ValueError, match=r"^pte\[0\] .* of swap type 1; .* swap areas 0 to 0$"):
        census(request.getfixturevalue(backend), one_region(words), areas)


def test_nothing_at_all(cpu, cuda):
    tables = PageTables(np.zeros(0, np.uint64), np.zeros(1, np.int64), *[np.zeros(n, np.int64) for n in (0, 1, 0)])
    for backend in (cpu, cuda):
        found = census(backend, tables, SwapAreas.unknown())
        assert (found.page_order.shape, found.order_pages.shape, found.run_counts.shape) == ((0,), (0, 10), (0, 10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pte": np.zeros(3, np.int32)}, r"^pte has shape \(3,\) and type int32; expected \(pages,\) and uint64$"),
        ({"pte": np.zeros((1, 3), np.uint64)}, r"^pte has shape \(1, 3\)"),
        ({"region_offset": np.array([0, 2, 1, 3])}, r"^region_offset\[2\] is 1; expected at least 2"),
        ({"region_offset": np.array([1, 3])}, r"^region_offset\[0\] is 1; expected 0$"),
        ({"region_offset": np.array([0, 4])}, r"^region_offset\[1\] is 4; expected 3, the number of pages$"),
        ({"region_offset": np.array([], np.int64)}, r"^region_offset has shape \(0,\)"),
        ({"process_offset": np.array([0, 2])}, r"^process_offset\[1\] is 2; expected 1, the number of regions$"),
        ({"region_start": np.array([-1])}, r"^region_start\[0\] is -1; allowed are 0 to 2251799813685248$"),
        (
            {"region_start": np.array([1, 2])},
            r"^region_start has shape \(2,\) and type int64; expected \(1,\) and int64",
        ),
        ({"process_area": np.array([0.5])}, r"^process_area has shape \(1,\) and type float64"),
    ],
)
def test_page_tables_that_do_not_fit(change, message):
    good = {
        "pte": np.zeros(3, np.uint64),
        "region_offset": np.array([0, 3]),
        "region_start": np.array([0]),
        "process_offset": np.array([0, 1]),
        "process_area": np.array([0]),
    }
    with pytest.raises(ValueError, match=message):
        PageTables(**good | change)


def test_slots_that_cannot_be():
    with pytest.raises(ValueError, match=r"^slot\[1\] is -2; allowed are -1 \(not swapped out\) to 1125899906842623$"):
        words_of_slots(np.array([4, -2]))


def test_swap_areas_that_do_not_fit():
    with pytest.raises(ValueError, match=r"^swap_map has shape \(10,\) and type uint8; expected \(512,\), uint8$"):
        SwapAreas(np.array([10]), np.ones(10, np.uint8), np.zeros(64, np.uint8))
    with pytest.raises(ValueError, match=r"^zeromap has shape \(3,\); expected \(2,\), a bit for each slot$"):
        SwapAreas.of([np.ones(10, np.uint8)], [np.zeros(3, np.uint8)])
