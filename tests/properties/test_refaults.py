"""Pages that come back: how far away they were, and what is not counted twice."""

from __future__ import annotations

from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout import operations as ops
from tests.properties.phone_bench import (
    FOLIOS_64K,
    SMALL_ONLY,
    SWAP,
    Bench,
)


def test_a_fault_that_waits_is_not_counted_as_a_smaller_swapin():
    # Folios of 64 KiB are wanted, but not at swap-in. A fault is halted after it has read its page.
    bench = Bench(*FOLIOS_64K, *SWAP, "policy.large_swapin=off", "device_class.phone.cpus=2").map(0, 1, 16)
    bench.write(0, 1, 0, 16).do((ops.PAGEOUT, 0, 1, 0, 16), (ops.FAULT_BEGIN, 0, 1, 3, 0), (ops.CPU, 0, 1))
    assert bench.count("swapin_fallback_policy") == 1
    bench.read(0, 1, 3).read(0, 1, 3)
    assert bench.count("swapin_waits") == 2
    assert bench.count("swapin_fallback_policy") == 1
    # A child shares the entry: it would go through the swap cache, but has to wait as well.
    bench.do((ops.FORK, 0, 1)).read(1, 1, 3)
    assert bench.count("swapin_waits") == 3
    assert bench.count("swapin_fallback_swap_cache") == 0
    bench.do((ops.CPU, 0, 0), (ops.FAULT_END, 0)).read(1, 1, 3)
    assert bench.count("swapin_fallback_swap_cache") == 1
    assert bench.count("swapin_fallback_policy") == 1


def test_refault_distances():
    # Page i is the i-th to go. Once 20 are out, page i has a distance of 20 - i.
    bench = Bench(*SMALL_ONLY).map(0, 1, 20).poke(0, 1, 0, 20)
    for page in range(20):
        bench.do((ops.PAGEOUT, 0, 1, page, 1))
    assert bench.get("evictions") == 20
    expected = [0] * counters.N_DISTANCES
    for page, power in ((19, 0), (18, 1), (17, 1), (16, 2), (13, 2), (12, 3), (4, 4), (0, 4)):
        bench.read(0, 1, page)
        expected[power] += 1
        assert [bench.count(f"refault_distance_2^{i}") for i in range(counters.N_DISTANCES)] == expected
    # Resident are the pages that are back, the one that comes included: 19, 18, 17 and 16 have at most as many.
    assert bench.count("workingset_activate_anon") == 4
    assert bench.count("workingset_refault_anon") == 8
    assert bench.get("window_refaults") == 8


def test_refault_distance_of_a_large_folio():
    # A folio of 16 pages goes, then 4 pages: the distance is 20 for all 16. Resident are 16.
    bench = Bench(*FOLIOS_64K, *SWAP).map(0, 1, 20).poke(0, 1, 0, 20)
    bench.do((ops.PAGEOUT, 0, 1, 0, 16), (ops.PAGEOUT, 0, 1, 16, 4))
    bench.read(0, 1, 7)
    assert bench.present(0, 0, 16) == 16
    assert bench.count("refault_distance_2^4") == 16 == bench.count("workingset_refault_anon")
    assert bench.count("workingset_activate_anon") == 0
    bench.read(0, 1, 18)
    # Page 18 was the 19th to go.
    assert bench.count("refault_distance_2^1") == 1
    assert bench.count("workingset_activate_anon") == 1
