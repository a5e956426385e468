"""Counters that are parts of a whole: they add up to it in every run, and a run in which they do not is refused."""

from __future__ import annotations

import numpy as np
import pytest

from fleetswap.check.counters import check_counters
from fleetswap.check.findings import Findings
from fleetswap.fleet.pieces import Shard
from fleetswap.fleet.shard import BrokenDeviceError, run_shard
from fleetswap.scenario.file import built_in, load_fleet_scenario
from fleetswap.workload.lay_out import lay_out
from fleetswap.workload.metrics import columns
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.layout import counters

COLUMN = columns()
SMALL = ("page_scale=512", "days=1", "steps_per_day=2", "behaviour.switches_per_day=30")
DEVICES = 6


def run(name, *settings, blocks=""):
    """Counters of each device of a built-in fleet, by name."""
    settings = (*SMALL, *settings)
    if blocks:
        classes = load_fleet_scenario(name, settings).device_class
        settings += tuple(f"device_class.{one}.block={blocks}" for one in classes)
    scenario = load_fleet_scenario(name, settings, DEVICES)
    rows = run_shard(lay_out(scenario), Shard(0, 0, DEVICES), ONE_THREAD).counters
    return {column: rows[:, i] for column, i in COLUMN.items()}


def total(count, start):
    return sum(values for name, values in count.items() if name.startswith(start)).tolist()


@pytest.mark.parametrize("name", built_in())
@pytest.mark.parametrize("fallback", ["false", "true"])
def test_reasons_add_up_to_refusals_with_64k_folios_and_blocks(name, fallback):
    count = run(name, f"policy.block_fallback={fallback}", blocks="64K")
    # 64K is the only size: a swap-in that was not refused for another reason has asked for one, and only once.
    refused = count["folio_refused_64kB"] - count["anon_fault_fallback_64kB"]
    assert count["swapin_fallback_allocation"].tolist() == refused.tolist()
    large = count["folio_alloc_64kB"] - count["anon_fault_alloc_64kB"]
    assert total(count, "swapin_fallback_") == (count["pgmajfault"] - large).tolist()
    assert total(count, "swapout_fallback_") == total(count, "swpout_fallback_")
    assert sum(total(count, "swapin_fallback_")) > 0
    if name == "low-ram":
        assert refused.sum() > 0


@pytest.mark.parametrize(
    "settings",
    [
        ("policy.margin_rule=true",),
        ("policy.large_swapin=off",),
        ("policy.mthp.64K=never",),
        ("policy.mthp.16K=always", "policy.mthp.256K=always", "policy.large_swapin=16K"),
        ("policy.mthp.64K=madvise", "app_class.game.madvise_hugepage=true", "policy.mthp.16K=always"),
    ],
    ids=lambda settings: settings[0],
)
def test_reasons_add_up_whatever_the_policy(settings):
    names = load_fleet_scenario("phones").app_class
    settings = tuple(one.replace(".game.", f".{next(iter(names))}.") for one in settings)
    count = run("low-ram", *settings)
    assert total(count, "swapout_fallback_") == total(count, "swpout_fallback_")
    assert all(np.array(total(count, "swapin_fallback_")) <= count["pgmajfault"])


ORDER_4 = 1 << 4
# One fault got a folio of 64K, one was refused it; a third reached beyond its region. Two folios found no slots.
SOUND = {
    "pgmajfault": 3,
    "folio_wanted_64kB": 4,
    "folio_refused_64kB": 2,
    "folio_alloc_64kB": 2,
    "anon_fault_alloc_64kB": 1,
    "anon_fault_fallback_64kB": 1,
    "swapin_fallback_allocation": 1,
    "swapin_fallback_vma_bounds": 1,
    "swpout_fallback_64kB": 1,
    "swpout_fallback_2048kB": 1,
    "thp_swpout_fallback": 1,
    "swapout_fallback_swap_full": 2,
    "workingset_refault_anon": 5,
    "refault_distance_2^3": 5,
}


def complaints(plain=ORDER_4, advised=ORDER_4, **changed):
    rows = np.zeros((1, counters.N_COUNTERS), dtype=np.int64)
    for name, value in (SOUND | changed).items():
        rows[0, COLUMN[name]] = value
    found = Findings()
    check_counters(rows, plain, advised, found)
    return " ".join(found.lines)


def test_counters_that_add_up_are_sound():
    assert complaints() == ""


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"swapin_fallback_allocation": 0}, "reasons of swap-in"),
        ({"swapin_fallback_allocation": 0, "swapin_fallback_margin": 1}, "got no folio"),
        ({"swapout_fallback_swap_full": 1}, "reasons of swap-out"),
        ({"swpout_fallback_64kB": 2}, "reasons of swap-out"),
        ({"thp_swpout_fallback": 0}, "thp_swpout_fallback"),
        ({"folio_refused_64kB": 1}, "order 4"),
        ({"refault_distance_2^3": 4}, "distance"),
    ],
)
def test_a_part_that_is_missing_is_found(changed, word):
    assert word in complaints(**changed)


def test_what_only_some_regions_may_have_bounds_the_reasons():
    # 16K for all, 64K with advice; of three faults one got 64K, so one or two were smaller than their region's most.
    bounds = {"plain": 1 << 2, "advised": ORDER_4 | 1 << 2}
    assert complaints(**bounds) == ""
    assert "reasons of swap-in" in complaints(**bounds, swapin_fallback_vma_bounds=2)
    assert "reasons of swap-in" in complaints(**bounds, swapin_fallback_allocation=0)
    # Without advice none: the reasons may be fewer.
    assert complaints(plain=0, swapin_fallback_allocation=0) == ""


def test_a_run_whose_counters_do_not_add_up_ends_with_an_error(monkeypatch):
    monkeypatch.setattr(
        "fleetswap.fleet.shard.check_counters", lambda _rows, _plain, _advised, findings: findings.report("lost")
    )
    with pytest.raises(BrokenDeviceError, match="lost"):
        run("low-ram")
