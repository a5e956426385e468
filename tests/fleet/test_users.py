"""Users of a fleet: how often each switches between apps, and what is counted in their days."""

from __future__ import annotations

import math

import pytest

from fleetswap.workload.lay_out import lay_out
from fleetswap.workload.metrics import columns
from tests.properties.phones import tiny

COLUMN = columns()
EVERYBODY = 200
"""Devices among which every user is met."""


def counted(name, *settings, devices=EVERYBODY):
    """A counter of each device, after every step."""
    scenario = tiny(*settings, devices=devices)
    laid_out = lay_out(scenario)
    arena, _ = laid_out.arena()
    arena.init()
    found = []
    for first, end in zip(laid_out.marks, laid_out.marks[1:], strict=False):
        arena.run(laid_out.program, first, end)
        found.append(arena.counters()[:, COLUMN[name]].tolist())
    return list(zip(*found, strict=True))


def users(spread):
    return tiny(f"behaviour.switches_spread_percent={spread}").behaviour.activity_q16


def test_users_without_spread_are_alike():
    assert users(0) == [1 << 16] * 16


@pytest.mark.parametrize("spread", [10, 50, 100])
def test_users_are_the_middles_of_sixteenths_of_a_log_normal(spread):
    found = users(spread)
    # As many switches in all as if they were alike, but for rounding.
    assert abs(sum(found) - (16 << 16)) <= 8
    median = math.sqrt(found[7] * found[8])
    shares = [math.erf(math.log(one / median) / (spread / 100) / math.sqrt(2)) / 2 + 0.5 for one in found]
    assert shares == pytest.approx([(i + 0.5) / 16 for i in range(16)], abs=1e-3)


def test_everybody_switches_at_their_own_pace():
    steps = counted("app_switches", "behaviour.switches_per_day=48", "steps_per_day=3")
    assert set(steps) == {tuple(until * one >> 16 for until in (16, 32, 48)) for one in users(50)}


def test_a_user_is_the_same_under_every_policy():
    words = ("behaviour.switches_per_day=12", "steps_per_day=1")
    others = ("policy.large_swapin=off", "policy.mthp.64K=never", "device_class.phone.zram=200p")
    assert counted("app_switches", *words) == counted("app_switches", *words, *others)


@pytest.mark.parametrize(("apps", "switches"), [(1, False), (2, True)])
def test_a_phone_with_one_app_never_leaves_it(apps, switches):
    words = (f"device_class.phone.installed_apps={apps}", "behaviour.switches_spread_percent=0")
    opened = {steps[-1] for steps in counted("app_switches", *words, devices=20)}
    # The first app is opened once; 36 switches a day are between several.
    assert opened == {36 if switches else 1}
    compacted = [steps[-1] for steps in counted("compacted_apps", *words, devices=20)]
    assert any(compacted) == switches
    assert {steps[-1] for steps in counted("trimmed_apps", *words, devices=20)} == {0}


@pytest.mark.parametrize("spread", [0, 25, 50])
def test_the_throttle_of_compaction_is_a_time(spread):
    # Two apps that take turns, each compacted once a day by whoever: three times in three days.
    steps = counted(
        "compacted_apps",
        f"behaviour.switches_spread_percent={spread}",
        "days=3",
        "steps_per_day=1",
        "policy.compaction.throttle_minutes=1440",
        "policy.compaction.min_rss_kib=0",
        "policy.compaction.min_delta_kib=0",
        "policy.compaction.min_free_swap_percent=0",
        "policy.lmkd.enabled=false",
        "device_class.phone.installed_apps=2",
        "device_class.phone.zram=200p",
    )
    assert {days[-1] for days in steps} == {6}
