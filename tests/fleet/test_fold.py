"""What devices count becomes metrics: changes, scales, shares, means of states, sums and histograms by class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fleetswap.fleet.cells import ALL, cells_of, totals_of
from fleetswap.fleet.pieces import Shard
from fleetswap.fleet.shard import run_shard
from fleetswap.workload.lay_out import lay_out
from fleetswap.workload.metrics import METRICS, STATES, column_table, columns, metric_table, parts_of
from fleetswap_kernels.backend.cpu.units import run_units
from fleetswap_kernels.backend.tally import Folding, flat
from fleetswap_kernels.device.figures.figures import PARTS, FoldMode
from fleetswap_kernels.device.figures.fold import DEVICES, FoldWork
from fleetswap_kernels.device.figures.price import PRICE_WORDS, PriceWord
from fleetswap_kernels.layout import counters
from tests.analysis.histograms import histogram
from tests.properties.phones import tiny

PAID = {"fault_pages": 1, "swapout_folios": 1, "blk_rewrite": 1, "blk_decomp_bytes": 8_192 + 4_096}
"""Waiting costs 1000 ns, swap-out 5000, rewriting 300; 8192 bytes came out of the codec besides what was rewritten."""
ONCE = {
    "kills_low_swap", "kills_thrashing", "kills_no_memory", "app_switches", "cold_starts", "trimmed_apps",
    "compacted_apps", "compactions", "processes",
    *(f"{index}_index_{4 << order}kB" for index in ("unusable", "extfrag") for order in range(2, 10)),
}  # fmt: skip
"""Apps, processes and what happens to them are as many in a miniature as in the real device; permilles are equal."""


class Devices:
    """Devices that have nothing but counters, and what folds them."""

    def __init__(self, groups, classes=1, scale=1):
        prices = np.zeros((classes, PRICE_WORDS), dtype=np.int64)
        prices[:, [PriceWord.MAP_PAGE, PriceWord.SWAPOUT_FOLIO, PriceWord.REWRITE_BLOCK]] = 1_000, 5_000, 300
        self.folding = Folding(
            np.array(groups, dtype=np.int64), prices, column_table(scale), metric_table(METRICS.values())
        )
        n = len(groups)
        self.counted = np.zeros((n, counters.N_COUNTERS), dtype=np.int64)
        self.since, self.change = (np.full((n, counters.N_COUNTERS), -77, dtype=np.int64) for _ in range(2))
        self.sums, self.parts = (np.full((n, PARTS), -77, dtype=np.int64) for _ in range(2))

    def set(self, device, **counted):
        """Change counters of a device."""
        for name, value in counted.items():
            self.counted[device, columns()[name]] = value

    def fold(self, mode=FoldMode.FIRST, steps=0):
        """Fold them; the tally."""
        tally, n = self.folding.empty(), len(self.counted)
        rows = {name: getattr(self, name).reshape(-1) for name in ("since", "change", "sums", "parts")}
        where = {"quads": self.counted.reshape(-1), "base": np.arange(n), "stride": counters.N_COUNTERS}
        work = FoldWork(**where, **rows, **flat(self.folding), **flat(tally), mode=int(mode), steps=steps)
        run_units(0, n, 0, work)
        return tally

    def figures(self, metric):
        """Numerators of a metric, and denominators of a share."""
        return [part.tolist() for part in parts_of(METRICS[metric], self.parts)]


@pytest.mark.parametrize("scale", [1, 64, 1024])
def test_counters_are_scaled_to_real_devices(scale):
    devices = Devices([0, 0], scale=scale)
    devices.counted[:] = np.arange(counters.N_COUNTERS)
    kept = devices.counted.copy()
    devices.fold()
    for name, index in columns().items():
        assert devices.change[:, index].tolist() == [index * (1 if name in ONCE else scale)] * 2, name
    assert (devices.counted == kept).all(), "what the device counted stays"
    assert columns().keys() >= ONCE


def test_a_step_is_what_changed_and_a_state_what_is():
    devices = Devices([0])
    devices.set(0, pswpin=10, swapped_pages=100)
    devices.fold()
    devices.set(0, pswpin=13, swapped_pages=90)
    devices.fold(FoldMode.STEP)
    found = {name: int(devices.change[0, index]) for name, index in columns().items()}
    assert (found["pswpin"], found["swapped_pages"]) == (3, 90)
    assert "swapped_pages" in STATES
    devices.fold(FoldMode.STEP)
    assert devices.change[0, columns()["pswpin"]] == 0
    devices.fold(FoldMode.WHOLE, 3)
    found = {name: int(devices.change[0, index]) for name, index in columns().items()}
    assert (found["pswpin"], found["swapped_pages"]) == (13, 90)


def test_a_negative_gauge_stays_negative():
    devices = Devices([0], scale=64)
    devices.counted.view(np.uint64)[0, columns()["extfrag_index_64kB"]] = 2**64 - 1_000
    devices.fold()
    assert devices.change[0, columns()["extfrag_index_64kB"]] == -1_000


def figures(scale=1, **counted):
    """Value, numerator and denominator of every metric of a device with these counters; of an idle one all are 0."""
    devices = Devices([0, 0], scale=scale)
    devices.set(0, **PAID, **counted)
    devices.fold()
    found = {}
    for name, metric in METRICS.items():
        parts = parts_of(metric, devices.parts)
        values = metric.value(parts)
        found[name] = int(values[0]), int(parts[0][0]), int(parts[1][0]) if metric.base else None
        assert (values[1], parts[0][1]) == (0, 0), name
    return found


@pytest.mark.parametrize(
    ("metric", "counted", "expected"),
    [
        # 10 + 20 of 30 + 10 + 20 folios got no slots: half.
        (
            "fallback_permyriad",
            {"swpout_64kB": 30, "swpout_fallback_64kB": 10, "swpout_fallback_16kB": 20},
            (5_000, 30, 60),
        ),
        # A third, rounded down.
        ("fallback_permyriad", {"swpout_2048kB": 2, "swpout_fallback_2048kB": 1}, (3_333, 1, 3)),
        ("fallback_permyriad", {}, (0, 0, 0)),
        # (5 - 2) * 16 + (4 - 3) * 4 = 52 pages of 100 + 30.
        (
            "swapin_large_permyriad",
            {
                "folio_alloc_64kB": 5,
                "anon_fault_alloc_64kB": 2,
                "folio_alloc_16kB": 4,
                "anon_fault_alloc_16kB": 3,
                "pswpin": 100,
                "swpin_zero": 30,
            },
            (4_000, 52, 130),
        ),
        # 10 + 30 wanted, 5 refused.
        (
            "alloc_success_permyriad",
            {"folio_wanted_16kB": 10, "folio_wanted_64kB": 30, "folio_refused_64kB": 5},
            (8_750, 35, 40),
        ),
        ("ratio_permille", {"pages_stored": 301, "pool_pages": 100}, (3_010, 301, 100)),
        ("memory_saved_bytes", {"pages_stored": 301, "pool_pages": 100}, (201 * 4096, 201 * 4096, None)),
        # Blocks below 64 KiB: 4 * 1 + 2 * 2 + 1 * 4 + 1 * 8 = 20 pages of 36 free.
        (
            "fragmentation_permille",
            {
                "free_blocks_0": 4,
                "free_blocks_1": 2,
                "free_blocks_2": 1,
                "free_blocks_3": 1,
                "free_blocks_4": 1,
                "free_frames": 36,
            },
            (555, 20, 36),
        ),
        ("broken_blocks", {"broken_by_folios_64kB": 3, "broken_by_pool_64kB": 5}, (3, 3, None)),
        ("kills", {"kills_low_swap": 1, "kills_thrashing": 2, "kills_no_memory": 3, "trimmed_apps": 9}, (6, 6, None)),
        ("cold_starts", {"cold_starts": 4, "trimmed_apps": 9}, (4, 4, None)),
        ("pgmajfault", {"pgmajfault": 7, "pgfault": 9}, (7, 7, None)),
        ("refaults", {"workingset_refault_anon": 7, "workingset_activate_anon": 2}, (7, 7, None)),
        # 5000 ns for 100 pages: 50 a page, 7 of which a fault waited for.
        ("stall_ns", {"pswpout": 60, "swpout_zero": 40, "pgsteal_direct": 7}, (1_350, 1_350, None)),
        ("stall_ns", {"pgsteal_direct": 0}, (1_000, 1_000, None)),
        ("decompressed_bytes", {}, (8_192, 8_192, None)),
    ],
)
def test_metrics_by_hand(metric, counted, expected):
    assert figures(**counted)[metric] == expected


def test_a_share_of_a_miniature_is_that_of_the_device():
    counted = {"folio_wanted_16kB": 10, "folio_wanted_64kB": 30, "folio_refused_64kB": 5, "kills_low_swap": 2}
    small, real = figures(**counted), figures(64, **counted)
    assert real["alloc_success_permyriad"] == (8_750, 35 * 64, 40 * 64)
    assert small["kills"] == real["kills"] == (2, 2, None)


def test_a_cell_leaves_out_devices_without_a_base():
    # 1 of 2, 3 of 4, and one that offered none: 4 of 6 together, and the histogram has two devices; then 2 of 2.
    devices = Devices([1, 1, 1, 2], classes=3)
    for device, (refused, offered) in enumerate([(1, 2), (3, 4), (0, 0), (2, 2)]):
        devices.set(device, swpout_fallback_64kB=refused, swpout_64kB=offered - refused)
    tally = devices.fold()
    found = cells_of(tally, ("none", "x", "y"), (*METRICS,), np.array([0, 3, 1]))
    assert {name for name, _ in found} == {ALL, "x", "y"}
    cell = found["x", "fallback_permyriad"]
    assert (cell.top, cell.bottom, cell.histogram.devices) == (4, 6, 2)
    assert (cell.histogram.total, cell.histogram.least, cell.histogram.greatest) == (5_000 + 7_500, 5_000, 7_500)
    assert METRICS["fallback_permyriad"].of_sums(cell.top, cell.bottom) == 6_666
    other = found["y", "fallback_permyriad"]
    assert (other.top, other.bottom, other.histogram.devices, other.histogram.total) == (2, 2, 1, 10_000)
    cell.merge(other)
    assert (cell.top, cell.bottom, cell.histogram.devices) == (6, 8, 3)
    assert METRICS["fallback_permyriad"].of_sums(cell.top, cell.bottom) == 7_500
    assert cell.histogram.to_dict() == found[ALL, "fallback_permyriad"].histogram.to_dict()
    plain = found["x", "kills"]
    assert (plain.top, plain.bottom, plain.histogram.devices) == (0, 0, 3)
    assert found["y", "alloc_success_permyriad"].histogram.devices == 0
    totals = totals_of(tally, ("none", "x", "y"), np.array([0, 3, 1]))
    refused = columns()["swpout_fallback_64kB"]
    assert {name: int(row[refused]) for name, row in totals.items()} == {ALL: 6, "x": 4, "y": 2}


@pytest.mark.parametrize("spread", [0, 40, 1 << 40])
def test_cells_are_those_of_the_values(spread):
    # Written down anew: every value of every device, counted one by one.
    rng = np.random.default_rng(spread)
    groups = rng.integers(0, 3, 50)
    devices = Devices(groups, classes=3)
    for name in ("pswpin", "pswpout", "pages_stored", "pool_pages", "swpout_64kB", "swpout_fallback_64kB"):
        devices.counted[:, columns()[name]] = rng.integers(0, spread + 1, 50)
    counts = np.bincount(groups, minlength=3)
    found = cells_of(devices.fold(), ("a", "b", "c"), (*METRICS,), counts)
    for (name, metric), cell in found.items():
        inside = [d for d in range(50) if name in (ALL, "abc"[groups[d]])]
        parts = [part[inside] for part in parts_of(METRICS[metric], devices.parts)]
        assert [cell.top, cell.bottom] == [*(int(part.sum()) for part in parts), 0][:2]
        known = METRICS[metric].value(parts)[parts[-1] > 0 if METRICS[metric].base else slice(None)].tolist()
        assert cell.histogram.to_dict() == histogram(known).to_dict(), (name, metric)


def test_sums_may_exceed_64_bits():
    devices = Devices([0] * 8)
    devices.counted[:, columns()["pswpin"]] = (1 << 62) + 1
    cell = cells_of(devices.fold(), ("a",), (*METRICS,), np.array([8]))[ALL, "pswpin"]
    assert cell.top == cell.histogram.total == 8 * ((1 << 62) + 1)


def test_a_state_of_a_run_is_its_mean_over_the_steps():
    # Saved at the ends of three steps: 10, 20 and 31 pages, 61 / 3 pages together. Stored over pool of the same steps:
    # 30 of 20, 40 of 20, 41 of 10: the sums, as every step weighs what it held.
    devices = Devices([0])
    modes = [FoldMode.FIRST, FoldMode.STEP, FoldMode.STEP]
    for mode, stored, pool in zip(modes, (30, 40, 41), (20, 20, 10), strict=True):
        devices.set(0, pages_stored=stored, pool_pages=pool)
        devices.fold(mode)
        assert devices.figures("ratio_permille") == [[stored], [pool]]
    tally = devices.fold(FoldMode.WHOLE, 3)
    assert devices.figures("memory_saved_bytes") == [[61 * 4096 // 3]]
    assert devices.figures("ratio_permille") == [[111], [50]]
    assert int(tally.facts[[*METRICS].index("ratio_permille"), DEVICES]) == 1
    # The raw counters of a run are those at its end.
    assert devices.change[0, columns()["pages_stored"]] == 41


def test_what_is_resumed_goes_on_as_if_never_stopped():
    whole, part = Devices([0, 0], scale=64), Devices([0, 0], scale=64)
    for one in (whole, part):
        one.set(0, pswpin=5, pages_stored=8)
        one.fold()
    other = Devices([0, 0], scale=64)
    other.counted[:] = part.counted
    other.sums[:] = part.sums
    kept = other.parts.copy()
    nothing = other.fold(FoldMode.RESUME)
    assert not nothing.bins.any()
    assert not nothing.totals.any()
    assert (other.parts == kept).all()
    for one in (whole, other):
        one.set(0, pswpin=9, pages_stored=2)
        one.set(1, pswpin=1)
    for mode, steps in ((FoldMode.STEP, 0), (FoldMode.WHOLE, 2)):
        a, b = (one.fold(mode, steps) for one in (whole, other))
        assert (a.bins == b.bins).all()
        assert (a.facts == b.facts).all()
        assert (a.totals == b.totals).all()
        assert (whole.parts == other.parts).all()
        assert (whole.change == other.change).all()


def test_two_states_of_one_part_are_refused():
    devices = Devices([0])
    table = devices.folding.metrics
    states = np.flatnonzero(table[:, 3])
    table[states[0], :2] = table[states[1], :2]
    with pytest.raises(ValueError, match="have a part in common"):
        replace(devices.folding, metrics=table)


def test_a_fold_of_a_backend_is_that_of_its_counters(backend):
    # The shard's fold against one of the counters that the same devices have after every step.
    scenario = tiny("steps_per_day=3", devices=5)
    laid_out = lay_out(scenario)
    shard = run_shard(laid_out, Shard(0, 0, 5), backend)
    arena, order = laid_out.arena(backend=backend)
    arena.init()
    devices = Devices([0] * 5, scale=scenario.page_scale)
    for step, (first, end) in enumerate(zip(laid_out.marks, laid_out.marks[1:], strict=False)):
        arena.run(laid_out.program, first, end)
        devices.counted[:] = arena.counters().astype(np.int64)
        tally = devices.fold(FoldMode.STEP if step else FoldMode.FIRST)
        assert (shard.totals[ALL, step] == tally.totals[0]).all()
        expected = cells_of(tally, laid_out.classes, (*METRICS,), np.array([5]))[ALL, "pgmajfault"]
        assert shard.cells[ALL, step, "pgmajfault"].histogram.to_dict() == expected.histogram.to_dict()
    assert (shard.counters[order] == arena.counters().astype(np.int64) * devices.folding.columns[:, 0]).all()
