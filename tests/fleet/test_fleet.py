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

from fleetswap.fleet.cells import ALL, WHOLE_RUN
from fleetswap.fleet.fleet_directory import FleetTotals, FleetWriter, devices_table, series_table, summarise
from fleetswap.fleet.log_histogram import LogHistogram
from fleetswap.fleet.pieces import cut
from fleetswap.job.plan import plan_fleet
from fleetswap.workload.laid_out import deal_classes
from fleetswap.workload.lay_out import lay_out
from fleetswap.workload.metrics import METRICS, STATES, columns
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.layout import counters
from tests.fleet.shards import run_shards
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
    laid_out = lay_out(scenario)
    totals = FleetTotals()
    devices = []
    for shard in run_shards(laid_out, plan_fleet([laid_out], shards=shards).pieces, backend, check=True):
        totals.add(shard, laid_out.classes)
        devices.append(devices_table(laid_out, shard))
    return totals, pa.concat_tables(devices).unify_dictionaries(), series_table(laid_out, totals)


def summary_of(scenario, totals, devices):
    """The summary, with values of the devices as their table has them."""
    names = list(scenario.device_class)
    classes = np.array([names.index(name) for name in devices.column("class").to_pylist()])

    def values(metric):
        parts = [metric] if METRICS[metric].base is None else [f"{metric}_of", f"{metric}_base"]
        return np.stack([devices.column(part).to_numpy() for part in parts], axis=1).squeeze()

    return summarise(scenario, totals, classes, values)


def fingerprint(shards=1, backend=ONE_THREAD):
    """Hash of all that a fleet gives."""
    scenario = fleet()
    totals, devices, series = tables(scenario, shards, backend)
    told = json.dumps([summary_of(scenario, totals, devices), devices.to_pydict(), series.to_pydict()], default=str)
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
    assert summary_of(fleet(), totals, devices) == summary_of(fleet(), whole[0], whole[1])


def test_another_seed_is_another_fleet(whole):
    assert not tables(fleet(seed=6), 1)[1].equals(whole[1])


def test_shards_can_be_added_in_any_order():
    laid_out = lay_out(fleet())
    shards = list(run_shards(laid_out, cut(DEVICES, 4), ONE_THREAD))
    one, other = FleetTotals(), FleetTotals()
    for shard in shards:
        one.add(shard, laid_out.classes)
    for shard in reversed(shards):
        other.add(shard, laid_out.classes)
    assert series_table(laid_out, one).equals(series_table(laid_out, other))


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
        fleet_class(i) for i in lay_out(fleet()).classes_of(0, DEVICES).tolist()
    ]


def fleet_class(index):
    """Classes stand in the order of their names."""
    return ("other", "phone")[index]


# Golden-ratio steps: device d stands at the fraction of d * 0.618034: 0, .618, .236, .854, .472, .090, .708, .326, ...


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
    assert deal_classes(parts, 0, 8).tolist() == classes


def test_classes_depend_on_the_number_alone():
    shares = (3, 5, 1)
    whole = deal_classes(shares, 0, 5_000)
    for first, end in ((0, 1), (1, 2), (17, 900), (4_999, 5_000), (2_500, 2_500)):
        assert (deal_classes(shares, first, end) == whole[first:end]).all()
    pieces = [deal_classes(shares, shard.first, shard.end) for shard in cut(5_000, 7)]
    assert (np.concatenate(pieces) == whole).all()
    fleet_of_shares = with_classes(tiny(), **{name: {"share": part} for name, part in zip("abc", shares, strict=True)})
    assert (lay_out(fleet_of_shares).classes_of(0, 5_000) == whole).all()


@pytest.mark.parametrize("parts", [(1, 1), (3, 5, 1), (100, 1), (997, 2, 30, 7)])
@pytest.mark.parametrize(("first", "n"), [(0, 100), (0, 10_000), (123_456, 1_000), (9_000_000, 100_000)])
def test_every_range_of_devices_has_its_shares(parts, first, n):
    counts = np.bincount(deal_classes(parts, first, first + n), minlength=len(parts))
    for got, part in zip(counts.tolist(), parts, strict=True):
        # Golden-ratio steps stray from n * share by a few devices, the logarithm of n at most.
        assert abs(got - n * part / sum(parts)) <= np.log2(n)


def test_columns_are_all_different():
    indices = list(columns().values())
    assert len(set(indices)) == len(indices)
    assert max(indices) < counters.N_COUNTERS


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
    laid_out = lay_out(scenario)
    gone = []

    def shards():
        last = None
        for shard in run_shards(laid_out, cut(DEVICES, 3), ONE_THREAD):
            if last is not None:
                gone.append(last() is None)
            last = weakref.ref(shard)
            yield shard
            del shard

    writer = FleetWriter(tmp_path, laid_out)
    writer.add_all(shards())
    writer.finish()
    assert gone == [True, True]
    assert writer.step_ns > 0
