"""A fleet of phones in shards: cut anyhow it gives the same, classes by share, counters scaled, shares by hand."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fleetswap.cost import Price
from fleetswap.engine import cut
from fleetswap.fleet import ALL, WHOLE_RUN, cells_of, plan_shards, run_shards
from fleetswap.fleet_results import FleetTotals, FleetWriter, devices_table, series_table, summarise, value_of
from fleetswap.log_histogram import LogHistogram
from fleetswap.metrics import METRICS, STATES, Events, columns
from fleetswap.workload.phones import class_of_devices, plan
from fleetswap_kernels import counters
from fleetswap_kernels.arena import ONE_THREAD
from tests.properties.phones import tiny

DEVICES = 23
SHORT = ("steps_per_day=3", "behaviour.switches_per_day=12")


def with_classes(scenario, **classes):
    """A fleet with these classes of devices, told by what they have otherwise than the tiny phone."""
    phone = scenario.device_class["phone"]
    return scenario.model_copy(
        update={"device_class": {name: phone.model_copy(update=changed) for name, changed in classes.items()}}
    )


def fleet(seed=5):
    """Two classes of phones, of one of them twice as many."""
    other = {"share": 2, "zram": "200p", "codec": "zstd", "block": 16384, "page_cluster": 2, "cpus": 2}
    other |= {"unavailable_percent": 25, "installed_apps": 5, "cached_apps": 3}
    return with_classes(tiny(*SHORT, devices=DEVICES, seed=seed), other=other, phone={})


def tables(scenario, shards, backend=ONE_THREAD):
    """Totals, devices and series of a fleet that is cut into so many shards."""
    laid_out = plan(scenario)
    totals = FleetTotals()
    devices = []
    for shard in run_shards(scenario, laid_out, plan_shards(scenario, laid_out, shards), backend, check=True):
        totals.add(shard, laid_out.classes)
        devices.append(devices_table(scenario, shard))
    return totals, pa.concat_tables(devices).unify_dictionaries(), series_table(scenario, totals)


def fingerprint(shards=1, backend=ONE_THREAD):
    """Hash of all that a fleet gives."""
    scenario = fleet()
    totals, devices, series = tables(scenario, shards, backend)
    told = json.dumps([summarise(scenario, totals), devices.to_pydict(), series.to_pydict()], default=str)
    return hashlib.sha256(told.encode()).hexdigest()


@pytest.fixture(scope="module")
def whole():
    return tables(fleet(), 1)


@pytest.mark.parametrize("shards", [1, 3, 7, DEVICES])
def test_shards_and_backends_change_nothing(whole, shards, backend):
    totals, devices, series = tables(fleet(), shards, backend)
    assert devices.equals(whole[1])
    assert series.equals(whole[2])
    assert totals.devices == whole[0].devices
    assert totals.totals.keys() == whole[0].totals.keys()
    assert all((counted == whole[0].totals[at]).all() for at, counted in totals.totals.items())
    assert totals.cells.keys() == whole[0].cells.keys()
    for key, cell in totals.cells.items():
        other = whole[0].cells[key]
        assert (cell.top, cell.bottom) == (other.top, other.bottom)
        assert cell.histogram.to_dict() == other.histogram.to_dict()
    assert summarise(fleet(), totals) == summarise(fleet(), whole[0])


def test_another_seed_is_another_fleet(whole):
    assert not tables(fleet(seed=6), 1)[1].equals(whole[1])


def test_shards_can_be_added_in_any_order():
    scenario = fleet()
    laid_out = plan(scenario)
    shards = list(run_shards(scenario, laid_out, cut(DEVICES, 4), ONE_THREAD))
    one, other = FleetTotals(), FleetTotals()
    for shard in shards:
        one.add(shard, laid_out.classes)
    for shard in reversed(shards):
        other.add(shard, laid_out.classes)
    assert series_table(scenario, one).equals(series_table(scenario, other))


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_the_hash_seed_of_python_changes_nothing(hash_seed):
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", "from tests.fleet.test_fleet import fingerprint; print(fingerprint(2))"],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == fingerprint(), done.stderr


def test_tables_agree_with_each_other(whole):
    # What devices did in the steps sums up to what they did in the run; a state counter of the run is the last step's,
    # a state metric the mean over the steps.
    totals, devices, series = whole
    at = columns()
    steps = range(3)
    rows = series.to_pylist()
    for where in (ALL, "phone", "other"):
        inside = [where in (ALL, kind) for kind in devices.column("class").to_pylist()]
        assert totals.devices[where] == sum(inside)
        for name, index in at.items():
            stepped = [int(totals.totals[where, step][index]) for step in steps]
            run = int(totals.totals[where, WHOLE_RUN][index])
            assert run == (stepped[-1] if name in STATES else sum(stepped)), name
            own = [n for n, counts in zip(devices.column(name).to_pylist(), inside, strict=True) if counts]
            assert sum(own) == run, name
        for name, metric in METRICS.items():
            own = [row for row in rows if row["class"] == where and row["metric"] == name]
            assert len(own) == 3
            top, bottom = (sum(row[part] for row in own) for part in ("numerator", "base"))
            run = totals.cells[where, WHOLE_RUN, name]
            if metric.state and metric.base is None:
                # The mean of each device is rounded down.
                assert 0 <= top - 3 * run.top < 3 * totals.devices[where], name
            elif name not in {"stall_ns", "cpu_ns", "decompressed_bytes"}:
                assert (top, bottom) == (run.top, run.bottom), name
            column = devices.column(f"{name}_of" if metric.base else name).to_pylist()
            assert sum(n for n, counts in zip(column, inside, strict=True) if counts) == run.top, name
    assert devices.column("class").to_pylist() == [
        fleet_class(i) for i in class_of_devices(fleet(), 0, DEVICES).tolist()
    ]


def fleet_class(index):
    """Classes stand in the order of their names."""
    return ("other", "phone")[index]


# Golden-ratio steps: device d stands at the fraction of d * 0.618034: 0, .618, .236, .854, .472, .090, .708, .326, ...


def shares(*parts):
    """A fleet with as many classes, in these shares."""
    return with_classes(tiny(), **{name: {"share": part} for name, part in zip("abcd", parts, strict=False)})


@pytest.mark.parametrize(
    ("parts", "classes"),
    [
        ((7,), [0, 0, 0, 0, 0, 0, 0, 0]),
        ((1, 1), [0, 1, 0, 1, 0, 0, 1, 0]),
        # Edges 1/4 and 3/4, then 1/12 and 2/12.
        ((1, 2, 1), [0, 1, 0, 2, 1, 0, 1, 1]),
        ((1, 1, 10), [0, 2, 2, 2, 2, 1, 2, 2]),
    ],
)
def test_classes_of_the_first_devices(parts, classes):
    assert class_of_devices(shares(*parts), 0, 8).tolist() == classes


def test_classes_depend_on_the_number_alone():
    scenario = shares(3, 5, 1)
    whole = class_of_devices(scenario, 0, 5_000)
    for first, end in ((0, 1), (1, 2), (17, 900), (4_999, 5_000), (2_500, 2_500)):
        assert (class_of_devices(scenario, first, end) == whole[first:end]).all()
    pieces = [class_of_devices(scenario, shard.first, shard.end) for shard in cut(5_000, 7)]
    assert (np.concatenate(pieces) == whole).all()
    assert (class_of_devices(shares(3, 5, 1), 0, 5_000) == whole).all()


@pytest.mark.parametrize("parts", [(1, 1), (3, 5, 1), (100, 1), (997, 2, 30, 7)])
@pytest.mark.parametrize(("first", "n"), [(0, 100), (0, 10_000), (123_456, 1_000), (9_000_000, 100_000)])
def test_every_range_of_devices_has_its_shares(parts, first, n):
    scenario = shares(*parts)
    counts = np.bincount(class_of_devices(scenario, first, first + n), minlength=len(parts))
    for got, part in zip(counts.tolist(), parts, strict=True):
        # Golden-ratio steps stray from n * share by a few devices, the logarithm of n at most.
        assert abs(got - n * part / sum(parts)) <= np.log2(n)


ONCE = {
    "kills_low_swap", "kills_thrashing", "kills_no_memory", "app_switches", "cold_starts", "trimmed_apps",
    "compacted_apps", "compactions", "processes",
    *(f"{index}_index_{4 << order}kB" for index in ("unusable", "extfrag") for order in range(2, 10)),
}  # fmt: skip
"""Apps, processes and what happens to them are as many in a miniature as in the real device; permilles are equal."""


@pytest.mark.parametrize("scale", [1, 64, 1024])
def test_counters_are_scaled_to_real_devices(scale):
    counted = np.tile(np.arange(counters.N_COUNTERS, dtype=np.int64), (2, 1))
    kept = counted.copy()
    events = Events(counted, scale)
    for name, index in columns().items():
        assert events[name].tolist() == [index * (1 if name in ONCE else scale)] * 2, name
    assert (counted == kept).all(), "what the device counted stays"
    assert columns().keys() >= ONCE


def test_columns_are_all_different():
    indices = list(columns().values())
    assert len(set(indices)) == len(indices)
    assert max(indices) < counters.N_COUNTERS


def figures(scale=1, **counted):
    """Value, numerator and denominator of every metric of a device with these counters, all else 0, and of an idle one.

    Waiting costs it 1000 ns and swap-out 5000 ns.
    """
    rows = np.zeros((2, counters.N_COUNTERS), dtype=np.int64)
    for name, value in counted.items():
        rows[0, columns()[name]] = value
    paid = Price(
        stall_ns=np.array([1_000, 0]),
        swapout_ns=np.array([5_000, 0]),
        background_ns=np.array([300, 0]),
        decompressed_bytes=np.array([8_192, 0]),
        parts={},
    )
    events = Events(rows, scale)
    found = {}
    for name, metric in METRICS.items():
        parts = metric.parts(events, paid)
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
    # 1 of 2, 3 of 4, and one that has none: 4 of 6 together, and the histogram has two devices; then 2 of 2.
    parts = [np.array([1, 3, 0, 2]), np.array([2, 4, 0, 2])]
    found = cells_of(METRICS["fallback_permyriad"], parts, {ALL: slice(0, 4), "x": slice(0, 3), "y": slice(2, 4)})
    cell = found["x"]
    assert (cell.top, cell.bottom, cell.histogram.devices) == (4, 6, 2)
    assert (cell.histogram.total, cell.histogram.least, cell.histogram.greatest) == (5_000 + 7_500, 5_000, 7_500)
    assert value_of("fallback_permyriad", cell) == 6_666
    other = found["y"]
    assert (other.top, other.bottom, other.histogram.devices, other.histogram.total) == (2, 2, 1, 10_000)
    cell.merge(other)
    assert (cell.top, cell.bottom, cell.histogram.devices) == (6, 8, 3)
    assert value_of("fallback_permyriad", cell) == 7_500
    assert cell.histogram.to_dict() == found[ALL].histogram.to_dict()
    plain = cells_of(METRICS["kills"], [np.array([3, 0])], {ALL: slice(0, 2)})[ALL]
    assert (plain.top, plain.bottom, plain.histogram.devices) == (3, 0, 2)
    assert value_of("kills", plain) == 3
    idle = cells_of(METRICS["fallback_permyriad"], [np.array([0]), np.array([0])], {ALL: slice(0, 1)})[ALL]
    assert (idle.top, idle.bottom, idle.histogram.devices) == (0, 0, 0)


def test_a_state_of_a_run_is_its_mean_over_the_steps():
    # Saved at the ends of three steps: 10, 20 and 31 pages, 61 / 3 pages together; of another device 1, 0 and 1 bytes.
    saved = METRICS["memory_saved_bytes"]
    (mean,) = saved.mean([np.array([61 * 4096, 2])], 3)
    assert mean.tolist() == [61 * 4096 // 3, 0]
    # Pages stored over pages of the pool: 30 of 10, 10 of 10: 2000 / 1000 as both steps weigh what they held.
    ratio = METRICS["ratio_permille"]
    parts = ratio.mean([np.array([40]), np.array([20])], 2)
    assert [part.tolist() for part in parts] == [[40], [20]]
    assert ratio.value(parts).tolist() == [2_000]


def test_every_row_of_the_series_is_a_whole_histogram(whole):
    totals, _, series = whole
    rows = series.to_pylist()
    cells = {key: cell for key, cell in totals.cells.items() if key[1] != WHOLE_RUN}
    assert len(rows) == len(cells)
    for row in rows:
        cell = cells[row["class"], row["step"], row["metric"]]
        assert LogHistogram.from_dict(row).to_dict() == cell.histogram.to_dict()
        assert (row["numerator"], row["base"]) == (cell.top, cell.bottom)
        if METRICS[row["metric"]].base is None:
            assert row["numerator"] == row["total"]


def test_a_shard_is_not_kept_while_the_next_one_is_simulated(tmp_path):
    scenario = fleet()
    laid_out = plan(scenario)
    gone = []

    def shards():
        last = None
        for shard in run_shards(scenario, laid_out, cut(DEVICES, 3), ONE_THREAD):
            if last is not None:
                gone.append(last() is None)
            last = weakref.ref(shard)
            yield shard
            del shard

    writer = FleetWriter(tmp_path / "run", scenario)
    writer.begin()
    writer.add_all(shards())
    writer.finish({})
    assert gone == [True, True]
    assert writer.step_ns > 0
