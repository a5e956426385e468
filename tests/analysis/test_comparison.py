"""Comparison of two policies: same result from simulation and from run directories, and what is refused.

Simulated numbers are never expected here: figures are made up by hand, or two ways to the same figures must agree.
"""

from __future__ import annotations

import copy
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleetswap.analysis.comparison import (
    Comparison,
    check_same_fleet,
    pair,
    read_manifest,
    row,
    rows_table,
)
from fleetswap.analysis.explanations import explain
from fleetswap.analysis.labels import labels, settings_in_effect, settings_of
from fleetswap.cli import main
from fleetswap.errors import InputError
from fleetswap.report.page import render_comparison
from fleetswap.scenario.file import load_fleet_scenario
from fleetswap.scenario.model import FleetScenario
from fleetswap.workload.metrics import METRICS
from fleetswap_kernels.backend.contract import Backend
from tests.analysis.simulated import compare, simulate

SMALL = ("page_scale=512", "steps_per_day=3", "behaviour.switches_per_day=45")
DEVICES = 14
OFF, ON = "policy.large_swapin=off", "policy.large_swapin=on"


def fleet(*settings: str, devices: int = DEVICES, seed: int = 0) -> FleetScenario:
    return load_fleet_scenario("phones", (*SMALL, *settings), devices, seed)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Finished runs with large swap-in off and on."""
    folder = tmp_path_factory.mktemp("runs")
    for name, setting in (("off", OFF), ("on", ON)):
        words = [word for one in (*SMALL, setting) for word in ("--set", one)]
        assert main(["run", "phones", "--devices", str(DEVICES), *words, "--out", str(folder / name)]) == 0
    return folder / "off", folder / "on"


@pytest.fixture(scope="module")
def compared() -> Comparison:
    return compare(fleet(OFF), fleet(ON))


# One result, whatever it is made from


def test_run_directories_give_what_simulation_gives(runs: tuple[Path, Path], compared: Comparison) -> None:
    expected = compared.to_dict()
    assert compare(*runs).to_dict() == expected
    assert compare(runs[0], fleet(ON)).to_dict() == expected
    assert compare(fleet(OFF), runs[1], shards=3).to_dict() == expected
    assert json.loads(json.dumps(expected)) == expected


def test_backend_and_shards_change_nothing(compared: Comparison, backend: Backend) -> None:
    expected = copy.deepcopy(compared.to_dict())
    for side in "ab":
        expected[side]["backend"] = backend.name
    assert compare(fleet(OFF), fleet(ON), backend=backend, shards=7).to_dict() == expected


def test_a_policy_differs_in_nothing_from_itself() -> None:
    same = compare(fleet(ON), fleet(ON))
    assert (same.label_a, same.label_b) == ("A: phones", "B: phones")
    assert same.a == same.b
    assert {one["title"] for one in same.to_dict()["explanations"]} <= {"Large folios become harder to get over uptime"}
    for one in same.rows:
        assert one["a"] == one["b"]
        assert one["better"] == "unclear"
        assert one["equal_devices"] + one["undefined_devices"] == one["devices"]
        assert one["difference"] in (0, None)
        assert {one[f"difference_{q}"] for q in ("p5", "p50", "p95", "p99")} <= {0, None}


def test_the_same_policy_written_differently_gives_the_same_bits() -> None:
    # "on" is up to the largest size; a size in bytes and one in K are the same.
    a = fleet(ON)
    b = fleet("policy.large_swapin=1M", "policy.swapin_sizes={65536='on'}")
    assert a.resolved() != b.resolved()
    found: dict[int, Any] = dict(simulate([a, b]))
    assert (found[0].counters == found[1].counters).all()
    for metric in METRICS:
        assert (found[0].metrics[metric] == found[1].metrics[metric]).all()


def test_shards_are_simulated_side_by_side() -> None:
    simulated = simulate([fleet(OFF), fleet(ON)], shards=2)
    found = [(number, shard.shard.first, shard.shard.end) for number, shard in simulated]
    assert found == [(0, 0, 7), (1, 0, 7), (0, 7, 14), (1, 7, 14)]


def test_progress_counts_all_device_steps() -> None:
    steps: list[int] = []
    compare(fleet(OFF), fleet(ON), reference=fleet(OFF), shards=2, progress=steps.append)
    assert sum(steps) == 3 * 3 * DEVICES


# What is told


def test_rows_are_by_metric_and_class(compared: Comparison) -> None:
    rows = compared.rows
    classes = [name for name, n in compared.a["devices"].items() if n]
    assert [(one["metric"], one["class"]) for one in rows] == [(m, c) for m in METRICS for c in classes]
    for one in rows:
        # A share of nothing is not in the summary.
        figures = compared.a["metrics"][one["class"]].get(one["metric"], {"total": 0})
        assert one["a"] == figures["total"]
        assert one["devices"] == compared.a["devices"][one["class"]]
    for metric, found in compared.metrics.items():
        worst = [one["class"] for one in rows if one["metric"] == metric and one["worst"]]
        assert worst == [found.worst_class]


def test_a_figure_is_the_same_in_rows_and_summaries(compared: Comparison) -> None:
    for one in compared.rows:
        for side, summary in (("a", compared.a), ("b", compared.b)):
            figures = summary["metrics"][one["class"]].get(one["metric"], {})
            assert {q: one[f"{side}_{q}"] for q in ("p5", "p50", "p95", "p99")} == {
                q: figures.get(q) for q in ("p5", "p50", "p95", "p99")
            }


def test_labels_are_what_differs(compared: Comparison) -> None:
    assert (compared.label_a, compared.label_b) == ("large_swapin off", "large_swapin on")
    other = compare(fleet("policy.margin_rule=true"), fleet("app_class.game.share=9", "policy.lmkd.enabled=false"))
    assert other.label_b == "margin_rule off, enabled off, game share 9"


def test_the_report_takes_it(compared: Comparison, tmp_path: Path) -> None:
    page = render_comparison(compared.to_dict())
    assert "large_swapin off or large_swapin on" in page.replace("Large_swapin", "large_swapin")
    assert compared.report_html(tmp_path / "r.html").read_text(encoding="utf-8") == page


def test_a_plain_metric_by_hand() -> None:
    # Four devices of two classes: faults 10, 20, 30, 40 become 5, 20, 40, 20.
    a, b = np.array([10, 20, 30, 40]), np.array([5, 20, 40, 20])
    found = pair("pgmajfault", a, b, np.array([0, 0, 1, 1]), ["x", "y"])
    told = row("pgmajfault", found.overall)
    assert (told["class"], told["devices"], told["a"], told["b"]) == ("all", 4, 100, 85)
    assert told["difference"] == pytest.approx(-15 / 4)
    assert told["relative"] == pytest.approx(-0.15)
    assert [told[f"{n}_devices"] for n in ("better", "worse", "equal", "undefined")] == [2, 1, 1, 0]
    assert told["worse_devices_permille"] == 250
    assert (told["a_p50"], told["b_p50"], told["difference_p50"], told["difference_p99"]) == (20, 20, -5, 10)
    # Of the relative change: within classes a deviates by -5, 5, -5, 5 and b by -7.5, 7.5, 10, -10. Squares 100 and
    # 312.5, products -25; 0.85 for 1.
    apart = 0.85**2 * 100 + 312.5
    assert told["pairing_gain"] == pytest.approx(apart / (apart + 2 * 0.85 * 25))
    assert told["pairing_gain_difference"] == pytest.approx(412.5 / (412.5 + 50))
    assert told["correlation"] == pytest.approx(-25 / math.sqrt(100 * 312.5))
    # x: mean 15 becomes 12.5; y: 35 becomes 30. The smaller gain is the worse one.
    assert found.worst_class == "x"


def test_a_share_by_hand() -> None:
    # Fallbacks of folios offered: 1/4 and 3/4, then 1/10 and 1/2; together 4/8, then 2/12.
    a, b = np.array([[1, 4], [3, 4]]), np.array([[1, 10], [1, 2]])
    told = row("fallback_permyriad", pair("fallback_permyriad", a, b, np.array([0, 0]), ["x"]).overall)
    assert (told["a"], told["b"]) == (5000, 1666)
    assert told["difference"] == pytest.approx(10_000 * (2 / 12 - 4 / 8))
    assert (told["a_p5"], told["a_p95"], told["b_p5"], told["b_p95"]) == (2500, 7500, 1000, 5000)
    assert (told["difference_p5"], told["difference_p95"]) == (-2500, -1500)


def test_more_is_better_where_the_metric_says_so() -> None:
    a = np.array([100, 101, 99, 100, 102, 98])
    for metric, better in (("memory_saved_bytes", "b"), ("pswpin", "a")):
        assert row(metric, pair(metric, a, a + 50, np.zeros(6, int), ["x"]).overall)["better"] == better
        assert row(metric, pair(metric, a + 50, a, np.zeros(6, int), ["x"]).overall)["better"] == "ab".replace(
            better, ""
        )


def test_the_gain_is_of_the_difference_where_there_is_no_relative_one() -> None:
    # Nothing under A: the differences vary as B does.
    told = row("kills", pair("kills", np.zeros(3, int), np.array([1, 2, 6]), np.zeros(3, int), ["x"]).overall)
    assert (told["relative"], told["pairing_gain"], told["correlation"]) == (None, 1.0, None)


def test_the_table_holds_sums_beyond_64_bits() -> None:
    great = np.full(6, 1 << 61)
    told = row("stall_ns", pair("stall_ns", great, great, np.zeros(6, int), ["x"]).overall)
    table = rows_table([told, told])
    assert [int(n) for n in table["a"].to_pylist()] == [6 << 61] * 2
    assert str(table["relative"].type) == "double"


def test_a_table_that_is_a_value_is_one_label() -> None:
    one, two = (fleet(f"policy.mthp={table}").resolved() for table in ("{16K='always',64K='never'}", "{}"))
    assert labels(one, two, "x", "y") == ("mthp 16K always and 64K never", "mthp none")
    # One of a class says whose it is; what it does not name is the policy's.
    of_class = fleet("device_class.phone-4g.mthp={64K='always'}").resolved()
    assert labels(fleet().resolved(), of_class, "x", "y") == (
        "phone-4g mthp as the policy's",
        "phone-4g mthp 64K always",
    )
    # A name changes nothing.
    named = fleet("title=other").resolved()
    assert settings_of(named) == settings_of(fleet().resolved())


NONE_IN_A_CLASS = "{64K='never'}"


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        # phones has 64K always for every class.
        ("policy.mthp={64K='always'}", "device_class.phone-4g.mthp={64K='always'}", True),
        ("policy.mthp={64K='always'}", "device_class.phone-4g.mthp={64K='madvise'}", False),
        ("policy.mthp={64K='always'}", "policy.mthp={64K='always',16K='never'}", True),
        ("policy.mthp={64K='always'}", "policy.mthp={64K='always',16K='inherit'}", False),
        ("policy.large_swapin=off", "policy.swapin_sizes={16K='off',32K='off',64K='off',128K='off'}", True),
        ("policy.large_swapin=off", "policy.swapin_sizes={16K='off',32K='off'}", False),
        ("policy.large_swapin=64K", "policy.large_swapin=on", True),
        ("policy.large_swapin=1M", "policy.swapin_sizes={32K='off'}", True),
        ("device_class.phone-8g.zram=50p", "device_class.phone-8g.zram=4G", True),
        ("device_class.phone-8g.zram=50p", "device_class.phone-8g.zram=49p", False),
        ("system.content={java_tool=1,native_db=2}", "system.content={java_tool=3,native_db=6}", True),
        ("system.content={java_tool=1,native_db=2}", "system.content={java_tool=3,native_db=7}", False),
        ("policy.reclaim.min_free_kib=0", "policy.reclaim.min_free_kib=8192", True),
        ("policy.reclaim.min_free_kib=0", "policy.reclaim.min_free_kib=200000", False),
        ("policy.large_swapin=64K", "policy.swapin_sizes={128K='off',256K='off',512K='off',1M='off'}", True),
        ("policy.large_swapin=64K", "policy.large_swapin=32K", False),
    ],
)
def test_scenarios_that_say_one_thing_in_different_words_are_alike(a: str, b: str, alike: bool) -> None:
    one, two = (settings_in_effect(fleet(setting).resolved()) for setting in (a, b))
    assert (one == two) is alike


def test_a_policy_that_every_class_overrides_is_no_difference() -> None:
    classes = [f"device_class.{name}.mthp={NONE_IN_A_CLASS}" for name in fleet().device_class]
    one, two = (fleet(*classes, f"policy.mthp={table}").resolved() for table in ("{64K='always'}", "{}"))
    assert settings_in_effect(one) == settings_in_effect(two)


# What is refused


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"devices": 15}, "devices: 14 and 15"),
        ({"seed": 7}, "seed: 0 and 7"),
        ({"settings": ["days=2"]}, "days: 1 and 2"),
        ({"settings": ["steps_per_day=4"]}, "steps_per_day: 3 and 4"),
        ({"settings": ["page_scale=256"]}, "page_scale: 512 and 256"),
        ({"settings": ["device_class.phone-4g.share=17"]}, "device_class.phone-4g.share: 16 and 17"),
    ],
)
def test_different_fleets_are_refused(other: dict[str, Any], message: str) -> None:
    keys = {key: value for key, value in other.items() if key != "settings"}
    with pytest.raises(InputError) as error:
        compare(fleet(), fleet(*other.get("settings", ()), **keys), names=("x", "y"))
    assert str(error.value) == f"x and y are different fleets: {message}; allowed is the same fleet"


def test_all_that_differs_is_named() -> None:
    with pytest.raises(InputError, match=r"devices: 14 and 3; seed: 0 and 2; device_class: phone-2g, .* and tight-4g;"):
        check_same_fleet(
            fleet().resolved(), load_fleet_scenario("thrash", (*SMALL, "days=1"), 3, 2).resolved(), "phones", "thrash"
        )


def test_sizes_and_apps_may_differ() -> None:
    other = fleet("device_class.phone-4g.zram=60p", "app_class.game.hot_percent=40", OFF).resolved()
    check_same_fleet(fleet().resolved(), other, "x", "y")


@pytest.mark.parametrize("name", ["devices.parquet", "summary.json"])
def test_a_file_that_was_changed_is_refused(runs: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    shutil.copytree(runs[0], tmp_path / "run")
    with (tmp_path / "run" / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(InputError, match=f"{name}: differs from what the run wrote; run it again"):
        compare(tmp_path / "run", fleet(ON))


@pytest.mark.parametrize("name", ["devices.parquet", "manifest.json"])
def test_a_directory_that_is_not_whole_is_refused(runs: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    shutil.copytree(runs[0], tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    with pytest.raises(InputError, match=f"{name}: cannot be read: No such file or directory; expected a finished run"):
        compare(tmp_path / "run", fleet(ON))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": 1, "scenario": [], "files": {}}'])
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_manifest(tmp_path)
    assert str(error.value) == f"{tmp_path / 'manifest.json'}: is not the manifest of a run"


def test_other_runs_are_refused(tmp_path: Path) -> None:
    manifest = {"schema_version": 1, "scenario": {"scenario": "allocator-test", "devices": 2}, "files": {}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(InputError, match="is a run of allocator-test; allowed are runs of fleets"):
        compare(tmp_path, fleet(ON))
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 9}), encoding="utf-8")
    with pytest.raises(InputError, match="schema_version: 9 is not possible; allowed is 1"):
        read_manifest(tmp_path)


# Explanations, from figures made up by hand


def figures(**changes: Any) -> dict[str, Any]:
    """A comparison of large swap-in off and on in which every metric of A is 1000 and nothing is clear."""
    rows = []
    for metric in METRICS:
        a, b, clear = changes.get(metric, (1000, 1000, False))
        low, high = ((b - a) / 2, (b - a) * 2) if clear else (-1.0, 1.0)
        ends = {"difference_low": min(low, high), "difference_high": max(low, high)}
        rows.append({"metric": metric, "class": "all", "a": a, "b": b, **ends})
    side = {
        "scenario": {"policy": {"margin_rule": False, "large_pool": {"share_percent": 0, "size": "64K"}}},
        "allocation": {},
        "census": {"0": 75, "4": 25},
        "fallback": {"swapin": {"margin": 0}},
        "counters": {"kills_low_swap": 4, "kills_thrashing": 2, "kills_no_memory": 1},
    }
    return {"a": side, "b": copy.deepcopy(side), "label_a": "off", "label_b": "on", "rows": rows, "reference": None}


def titles(told: dict[str, Any]) -> list[str]:
    return [one["title"] for one in explain(told)]


LARGE = {"swapin_large_permyriad": (0, 6000, True), "pgmajfault": (1000, 700, True)}


def test_nothing_clear_is_explained() -> None:
    assert explain(figures()) == []
    assert explain(figures(pgmajfault=(1000, 400, True), pswpin=(1000, 3000, True))) == []


def test_amplification() -> None:
    (one,) = explain(figures(**LARGE, pswpin=(1000, 1500, True), pswpout=(2000, 2500, True)))
    assert one["title"] == "Large swap-in cuts major faults, but reads more pages"
    for text in ("60.0 %", "Major faults: -30.0 %", "pages read from zram: +50.0 %", "2.14", "1.00", "+25.0 % pages"):
        assert text in one["text"]
    (one,) = explain(figures(**LARGE, pswpin=(1000, 900, True)))
    assert one["title"] == "Large swap-in cuts major faults"
    # The other way round it is the same finding.
    turned = figures(swapin_large_permyriad=(6000, 0, True), pgmajfault=(700, 1000, True), pswpin=(1500, 1000, True))
    assert "Major faults: -30.0 %; pages read from zram: +50.0 %" in explain(turned)[0]["text"]


def test_the_margin_rule_brings_back_a_part_of_the_extra_pages() -> None:
    told = figures(pswpin=(1500, 1100, True))
    told["b"]["scenario"]["policy"]["margin_rule"] = True
    assert titles(told) == []
    told["b"]["fallback"]["swapin"]["margin"] = 12_345
    (one,) = explain(told)
    assert "12,345 large swap-ins were refused" in one["text"]
    assert "-26.7 %" in one["text"]
    assert "extra" not in one["text"]
    told["reference"] = {"metrics": {"all": {"pswpin": {"total": 1000}}}}
    # 500 pages more than the reference, of which 400 are gone.
    assert "the rule brings back 80.0 % of the extra pages" in explain(told)[0]["text"]


def test_allocation_over_uptime() -> None:
    told = figures()
    steps = [{"step": i, "wanted": 100, "granted": n} for i, n in enumerate((90, 80, 60, 40, 30, 20, 20, 10))]
    told["a"]["allocation"] = {"64K": steps}
    told["b"]["allocation"] = {"64K": [{**step, "granted": 95} for step in steps]}
    told["b"]["scenario"]["policy"]["large_pool"]["share_percent"] = 25
    (one,) = explain(told)
    assert "off: 64K folios granted in the first quarter of the run 85.0 %, in the last 15.0 %." in one["text"]
    assert "in the last 95.0 %, with 25 % of RAM reserved" in one["text"]
    # The pool serves one size (tests/properties/test_buddy.py).
    told["b"]["scenario"]["policy"]["large_pool"]["size"] = "1M"
    assert "reserved" not in explain(told)[0]["text"]
    told["b"]["allocation"] = {"1024K": told["b"]["allocation"]["64K"]}
    assert "with 25 % of RAM reserved" in explain(told)[0]["text"]
    told["b"]["allocation"] = {"64K": told["b"]["allocation"]["1024K"]}
    told["a"]["allocation"] = told["b"]["allocation"]
    assert titles(told) == []


def test_fragmentation_of_swap_and_memory() -> None:
    changes = {"swapin_large_permyriad": (0, 6000, True), "fallback_permyriad": (4000, 300, True)}
    told = figures(**changes, fragmentation_permille=(500, 250, True))
    told["b"]["census"] = {"0": 1, "4": 3}
    swap, memory = explain(told)
    assert "40.0 % with off, 3.0 % with on" in swap["text"]
    assert "25.0 % lie so that a large folio could bring them back, with on 75.0 %" in swap["text"]
    assert "50.0 % with off, 25.0 % with on" in memory["text"]
    # Where large swap-in fragments more, nothing is claimed.
    assert titles(figures(**changes | {"fallback_permyriad": (300, 4000, True)})) == []


def test_kills() -> None:
    told = figures(kills=(7, 10, True))
    told["b"]["counters"]["kills_thrashing"] = 5
    (one,) = explain(told)
    assert "+42.9 %, mostly for thrashing (2 to 5)" in one["text"]
