"""Values that do not act as they read are told, in one line each, and only those."""

from __future__ import annotations

import json

import pytest

from fleetswap.cli import main
from fleetswap.errors import InputError
from fleetswap.scenario.file import load_fleet_scenario
from fleetswap.scenario.model import AppClass, Behaviour, DeviceClass, Policy, SystemMemory
from fleetswap.workload.lay_out import lay_out
from tests.properties.phones import tiny


def warned(*settings, name="phones"):
    return load_fleet_scenario(name, settings).warnings


FREE = "policy.reclaim.min_free_kib"


@pytest.mark.parametrize("kib", [0, 1, 4096, 8192, 16383])
def test_a_lowest_watermark_below_the_miniatures_least_is_told(kib):
    # 64 pages that stand for 64 pages of 4 KiB each.
    (said,) = warned(f"{FREE}={kib}")
    assert said.startswith(f"{FREE}: {kib} acts as 16384 with page_scale = 64")


@pytest.mark.parametrize("kib", [16384, 16640, 30_000])
def test_a_lowest_watermark_that_acts_is_not_told(kib):
    assert warned(f"{FREE}={kib}") == []


def test_values_with_one_warning_run_alike_and_the_first_that_acts_does_not():
    def fields(kib):
        return [dict(b.policy) for b in lay_out(load_fleet_scenario("phones", [f"{FREE}={kib}"])).blueprints]

    assert fields(0) == fields(8192) == fields(16384)
    assert fields(16384 + 256) != fields(16384)


@pytest.mark.parametrize(
    ("settings", "key", "facts"),
    [
        (["page_scale=512"], FREE, ["27386", "131072"]),
        (["policy.large_swapin=32K"], "policy.large_swapin", ["all devices", "policy.mthp.32K"]),
        (["policy.thp=never"], "policy.thp", ["never", "no folio size inherits"]),
        (["policy.defrag=never"], "policy.defrag", ["acts as madvise", "madvise_hugepage"]),
        (["device_class.phone-8g.installed_apps=9", "device_class.phone-8g.cached_apps=8"],
         "device_class.phone-8g.cached_apps", ["8", "the one in front"]),
        (["policy.swapin_sizes.128K=on"], "policy.swapin_sizes.128K", ["not enabled"]),
        (["policy.large_pool.size=2M"], "policy.large_pool.size", ["2M", "share_percent is 0"]),
        (["policy.large_pool.size=32K", "policy.large_pool.share_percent=10"], "policy.large_pool.size", ["32K"]),
        (["policy.compaction.enabled=false", "policy.compaction.throttle_minutes=60"],
         "policy.compaction.throttle_minutes", ["60", "enabled is false"]),
        (["policy.lmkd.enabled=false", "policy.lmkd.thrashing_limit_percent=5"],
         "policy.lmkd.thrashing_limit_percent", ["5", "enabled is false"]),
        # 12 minutes a switch, less than half of that for the busiest of 272 switches: 10.6 minutes for two.
        (["policy.compaction.throttle_minutes=9"], "policy.compaction.throttle_minutes", ["9", "from 11"]),
        (["policy.compaction.min_rss_kib=255"], "policy.compaction.min_rss_kib", ["255 acts as 0", "from 256"]),
        (["policy.reclaim.watermark_scale_permyriad=1"], "policy.reclaim.watermark_scale_permyriad", ["1 has no"]),
        (["policy.reclaim.direct_pages=4096"], "policy.reclaim.direct_pages", ["4096"]),
        (["policy.block_fallback=true"], "policy.block_fallback", ["4K"]),
        (["behaviour.background_apps_per_switch=0", "behaviour.background_touch_percent=5"],
         "behaviour.background_touch_percent", ["background_apps_per_switch is 0"]),
        # The shortest session is 0.155 of the median; an app grows for 5 minutes: 5 / 0.155 = 32.3.
        (["behaviour.switches_per_day=10", "behaviour.session_minutes=40"],
         "behaviour.session_minutes", ["40 acts as 33"]),
        (["app_class.video.similarity_percent=20"], "app_class.video.similarity_percent", ["20 acts as 30"]),
        (["device_class.phone-8g.installed_apps=1"], "device_class.phone-8g.installed_apps", ["foreground"]),
        (["device_class.phone-8g.mem_limit=4G"], "device_class.phone-8g.mem_limit", ["4G has hardly any", "than 4G"]),
        (["policy.large_swapin=1M"], "policy.large_swapin", ["1M acts as 64K"]),
        (["policy.swapin_sizes.32K=off"], "policy.swapin_sizes.32K", ["is off", "not enabled"]),
        (["device_class.phone-8g.cached_apps=30"], "device_class.phone-8g.cached_apps", ["30", "no limit"]),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_that_does_not_act_has_one_warning(settings, key, facts):
    (said,) = warned(*settings)
    assert said.startswith(f"{key}: ")
    assert [fact for fact in facts if fact not in said] == []


def test_a_pool_smaller_than_its_folios():
    # 1 % of 2 GiB is a hundredth of what 512 pages that stand for 64 are; 16 GiB have 163 MiB for 128 MiB folios.
    small = warned("policy.large_pool.share_percent=1", "policy.large_pool.size=2M", "policy.mthp.2M=always")
    assert all(said.startswith("policy.large_pool.share_percent: 1 is less than one folio of 2M") for said in small)
    assert any("device_class.phone-2g" in said for said in small)
    assert not any("device_class.phone-16g" in said for said in small)


def test_a_run_and_show_say_it_once(capsys, tmp_path):
    assert main(["show", "phones", "--set", "policy.large_swapin=32K"]) == 0
    shown = capsys.readouterr().err
    assert shown.count("warning: ") == 1
    words = ["--devices", "1", "--set", "days=1", "--set", "steps_per_day=1", "--set", "behaviour.switches_per_day=1"]
    words += ["--set", "page_scale=128", "--set", f"{FREE}=32768", "--set", "policy.large_swapin=32K"]
    assert main(["run", "phones", *words, "--out", str(tmp_path / "run")]) == 0
    err = capsys.readouterr().err
    assert [line for line in err.splitlines() if line.startswith("warning: ")] == [shown.strip()]
    assert len(json.loads((tmp_path / "run/summary.json").read_text())["warnings"]) == 1


# Systematically: whatever makes the miniature of a whole range of values the same is told.


def _numbers(model, where):
    for name, field in model.model_fields.items():
        bounds = {type(limit).__name__: limit for limit in field.metadata}
        if {"Ge", "Le"} <= bounds.keys():
            yield f"{where}{name}", bounds["Ge"].ge, bounds["Le"].le
        elif hasattr(field.annotation, "model_fields"):
            yield from _numbers(field.annotation, f"{where}{name}.")


KEYS = {
    key: (least, most)
    for where, model in (
        ("policy.", Policy), ("behaviour.", Behaviour), ("system.", SystemMemory),
        ("device_class.phone.", DeviceClass), ("app_class.large.", AppClass),
    )
    for key, least, most in _numbers(model, where)
    if not key.endswith((".share", "switches_per_day"))
}  # fmt: skip


def miniature(*settings):
    """All that a value can change of a tiny phone, and what is told of it; None if it is refused."""
    try:
        scenario = tiny(*settings)
    except InputError:
        return None, []
    (made,) = lay_out(scenario).blueprints
    return (made.sizes, sorted(made.policy.items()), made.habits.tobytes()), scenario.warnings


@pytest.mark.parametrize("key", KEYS)
def test_what_makes_no_difference_to_the_miniature_is_told(key):
    least, most = KEYS[key]
    # A page of the miniature stands for 1 MiB: within it values are rounded.
    page = 1024 if key.endswith("_kib") else 1
    given = ["policy.large_pool.share_percent=10", "behaviour.switches_per_day=12"]
    values = sorted({least, least + page, 2 * least + 3, 40, 70, 99, 3000, most} & set(range(least, most + 1)))
    for value in values:
        made, said = miniature(*given, f"{key}={value}")
        if made is None or any(one.startswith(key) for one in said):
            continue
        others = [v for v in (value - page, value + page) if least <= v <= most]
        same = [v for v in others if miniature(*given, f"{key}={v}")[0] == made]
        # Of a range one end may be told by the value itself: that which acts.
        assert not same or (len(others) > len(same)), f"{key} = {value} is the same as {same}, and nobody says so"


def test_settings_of_huge_pages_that_act_are_not_told():
    assert warned("policy.thp=always", "policy.mthp.16K=inherit") == []
    assert warned("policy.defrag=never", "app_class.video.madvise_hugepage=true") == []
    assert warned("device_class.phone-8g.installed_apps=9", "device_class.phone-8g.cached_apps=7") == []
