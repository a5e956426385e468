"""Scenario files: inheritance, settings, built-ins, digests, the schema, and what `fleetswap show` prints."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fleetswap.cli import main
from fleetswap.scenario.content_library import measured_path
from fleetswap.scenario.file import built_in, json_schema, load_fleet_scenario
from fleetswap.scenario.model import FleetScenario
from fleetswap.scenario.units import parse_size, shown_size, zram_bytes

SCENARIOS = Path(__file__).parents[2] / "fleetswap/data/scenarios"
GIB = 1 << 30
FLEETS = ("low-ram", "phones", "thrash", "uptime-week")
SMALL = """
title = "One phone"
description = "A test."
[device_class.a]
share = 1
ram = "4G"
zram = "50p"
[app_class.b]
share = 1
anon_10s_mib = 100
anon_5min_mib = 200
content = { java_app = 1 }
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _written(name: str, text: str) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def _shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["show", *words]) == 0
    return capsys.readouterr().out


# built-ins


def test_the_built_in_fleets_are_those_of_the_issue():
    assert built_in() == FLEETS


@pytest.mark.parametrize("name", FLEETS)
def test_a_built_in_loads_without_warnings(name):
    fleet = load_fleet_scenario(name)
    assert fleet.name == name
    assert fleet.warnings == []
    assert "ASSUMPTION" in fleet.description.upper()


@pytest.mark.parametrize("name", FLEETS)
def test_every_number_of_a_built_in_has_a_comment(name):
    lines = (SCENARIOS / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    texts = ("title", "description", "inherits", "replaces")
    values = [(above, line) for above, line in zip(["", *lines], lines, strict=False) if re.match(r"\w+ = ", line)]
    bare = [line for above, line in values if " # " not in line and not above.startswith("# ")]
    assert [line for line in bare if line.split(" = ")[0] not in texts] == []


def test_phones_are_those_of_the_notes():
    fleet = load_fleet_scenario("phones")
    # workload notes 1: RAM 2/3/4/6/8/12/16 GB; Ariadne table 1 (10 s / 5 min) and table 3 (N = 2)
    assert [device.ram // GIB for device in fleet.device_class.values()] == [2, 3, 4, 6, 8, 12, 16]
    apps = {name: (a.anon_10s_mib, a.anon_5min_mib, a.locality_percent) for name, a in fleet.app_class.items()}
    assert apps == {
        "video": (177, 358, 86),
        "social": (182, 273, 81),
        "browser": (560, 716, 69),
        "maps": (273, 429, 77),
        "game": (326, 821, 61),
    }
    assert {(a.similarity_percent, a.reuse_percent) for a in fleet.app_class.values()} == {(70, 98)}
    assert fleet.policy.reclaim.min_free_kib == 27_386
    assert fleet.policy.mthp == {65536: "always"}


def test_the_issue_wants_a_week_on_eight_gigabytes_without_a_pool():
    fleet = load_fleet_scenario("uptime-week")
    assert (fleet.days, [d.ram for d in fleet.device_class.values()]) == (7, [8 * GIB])
    assert fleet.policy.large_pool.share_percent == 0


# sizes


@pytest.mark.parametrize(
    ("written", "size", "shown"),
    [
        (65536, 65536, "64K"),
        ("64k", 65536, "64K"),
        ("1024M", GIB, "1G"),
        ("1536M", 1536 << 20, "1536M"),
        ("0", 0, "0"),
        ("4097", 4097, "4097"),
    ],
)
def test_a_size(written, size, shown):
    assert parse_size(written) == size
    assert shown_size(size) == shown


@pytest.mark.parametrize("bad", ["", "K", "4 K", "4KB", "-4K", "0x4K", "4.5G", "04K", "\u0664K", -1, True, 4.0, None])
def test_no_size(bad):
    with pytest.raises(ValueError, match="is no size"):
        parse_size(bad)


@pytest.mark.parametrize(
    ("zram", "size"),
    [
        ("2g", 2 * GIB), ("3g", 3 * GIB), ("4g", 4 * GIB), ("5g", 5 * GIB), ("6g", 6 * GIB),
        # 40 and 60 % of 8 GiB: 3435973836.8 and 5153960755.2 bytes, in whole pages upwards, as zram aligns disksize
        ("40p", 838861 * 4096), ("50p", 4 * GIB), ("60p", 1258292 * 4096), ("50%", 4 * GIB),
    ],
)  # fmt: skip
def test_the_presets_of_pixel(zram, size):
    fleet = load_fleet_scenario("phones", [f"device_class.phone-8g.zram={zram}"])
    assert fleet.device_class["phone-8g"].zram_bytes == size


def test_zram_in_whole_pages():
    assert zram_bytes("1p", 1 << 20) == 3 * 4096  # 10485.76 bytes


# the miniature


def test_frames_and_slots_of_a_miniature():
    fleet = load_fleet_scenario("phones", ["page_scale=64"])
    # 8 GiB are 2,097,152 pages; half of them zram
    assert (fleet.frames_of("phone-8g"), fleet.slots_of("phone-8g")) == (32_768, 16_384)


def test_a_device_class_overrides_folio_sizes():
    name = _written("a.toml", 'inherits = "phones"\n[device_class.phone-4g.mthp]\n64K = "never"\n16K = "always"\n')
    fleet = load_fleet_scenario(name)
    assert fleet.mthp_of("phone-4g") == {16384: "always", 65536: "never"}
    assert fleet.mthp_of("phone-6g") == {65536: "always"}


@pytest.mark.parametrize(
    ("settings", "kib"),
    [
        (["policy.large_swapin=off"], []),
        (["policy.large_swapin=on"], [16, 32, 64, 128, 256, 512, 1024]),
        (["policy.large_swapin=64K"], [16, 32, 64]),
        (["policy.large_swapin=64K", "policy.swapin_sizes.32K=off"], [16, 64]),
        (["policy.large_swapin=off", "policy.swapin_sizes.1M=on"], [1024]),
    ],
)
def test_sizes_of_large_swapin(settings, kib):
    assert [size // 1024 for size in load_fleet_scenario("phones", settings).policy.swapin_bytes] == kib


# inheritance


def test_sections_merge_and_the_rest_is_replaced():
    name = _written("a.toml", 'inherits = "phones"\ndays = 2\n[app_class.game]\nhot_percent = 1\n')
    fleet, phones = load_fleet_scenario(name), load_fleet_scenario("phones")
    assert (fleet.name, fleet.days, fleet.app_class["game"].hot_percent) == ("a", 2, 1)
    assert fleet.app_class["game"].anon_5min_mib == phones.app_class["game"].anon_5min_mib
    assert list(fleet.app_class) == list(phones.app_class)
    assert fleet.device_class == phones.device_class


@pytest.mark.parametrize("form", ["[policy.mthp]\n16K = 'always'", "policy.mthp = { 16K = 'always' }",
                                  "policy.mthp.16K = 'always'"])  # fmt: skip
def test_a_table_that_is_a_value_replaces_the_inherited_one(form):
    # phones has 64K = "always"; only the section around it merges.
    fleet = load_fleet_scenario(_written("a.toml", f'inherits = "phones"\n{form}\n'))
    assert fleet.policy.mthp == {16384: "always"}
    assert fleet.policy.lmkd == load_fleet_scenario("phones").policy.lmkd
    _written("b.toml", "inherits = 'a.toml'\npolicy.mthp = {}\n[app_class.game.content]\nmedia = 1\n")
    fleet = load_fleet_scenario("b.toml")
    assert (fleet.policy.mthp, fleet.app_class["game"].content) == ({}, {"media": 1})
    assert fleet.app_class["game"].share == 15


def test_replaces_drops_what_was_inherited():
    text = 'inherits = "phones"\nreplaces = ["device_class", "policy.mthp", "app_class.game.content"]\n'
    text += '[device_class.x]\nshare = 1\nram = "4G"\nzram = "2G"\n[app_class.game.content]\nmedia = 1\n'
    fleet = load_fleet_scenario(_written("a.toml", text))
    assert list(fleet.device_class) == ["x"]
    assert fleet.policy.mthp == {}
    assert fleet.app_class["game"].content == {"media": 1}
    assert fleet.app_class["game"].share == 15


def test_a_chain_of_files_in_other_folders():
    Path("sub").mkdir()
    _written("sub/parent.toml", 'inherits = "phones"\ndays = 3\nsteps_per_day = 3\n')
    fleet = load_fleet_scenario(_written("child.toml", 'inherits = "sub/parent.toml"\nsteps_per_day = 4\n'))
    assert (fleet.days, fleet.steps_per_day) == (3, 4)


def test_files_are_named_relative_to_the_file_that_names_them():
    Path("sub").mkdir()
    _written("sub/cost.toml", 'inherits = "patch-phone"\nfault_ns = 1\n')
    _written("sub/parent.toml", 'inherits = "phones"\n[device_class.phone-4g]\ncost = "cost.toml"\n')
    fleet = load_fleet_scenario(_written("child.toml", 'inherits = "sub/parent.toml"\n'))
    assert fleet.device_class["phone-4g"].cost == str(Path("sub/cost.toml").absolute())


# settings


@pytest.mark.parametrize(
    ("settings", "mthp"),
    [
        (['policy.mthp={16K="always"}'], {16: "always"}),
        (["policy.mthp={}"], {}),
        (["policy.mthp.16K=always"], {16: "always", 64: "always"}),
        (['policy.mthp={16K="always"}', "policy.mthp.32K=never"], {16: "always", 32: "never"}),
        (["policy.mthp.32K=never", 'policy.mthp={16K="always"}'], {16: "always"}),
    ],
)
def test_a_table_replaces_and_a_dotted_key_changes_one_entry(settings, mthp):
    fleet = load_fleet_scenario("phones", settings)
    assert fleet.policy.mthp == {kib * 1024: setting for kib, setting in mthp.items()}


def test_a_dotted_key_changes_one_entry_of_a_default():
    words = ["system.content.native_db=50"]
    text = 'title = "x"\ndescription = "x"\n[device_class.a]\nshare = 1\nram = "4G"\nzram = "2G"\n[app_class.b]\n'
    text += "share = 1\nanon_10s_mib = 1\nanon_5min_mib = 1\ncontent = { media = 1 }\n"
    content = {"java_tool": 40, "native_compiler": 30, "native_db": 50}
    assert load_fleet_scenario(_written("a.toml", text), words).system.content == content


def test_a_class_can_be_added_whole():
    table = "{ share = 1, ram = '4G', zram = '2G', mthp = { 16K = 'always' } }"
    fleet = load_fleet_scenario("phones", [f"device_class.new={table}"])
    assert fleet.mthp_of("new") == {16384: "always", 65536: "always"}
    assert len(fleet.device_class) == 8


def test_settings_change_single_values():
    settings = ["app_class.video.hot_percent=40", "policy.kernel=6.12", 'policy.thp="never"', "policy.margin_rule=true"]
    settings += ["device_class.phone-4g.ram=4294967296", "policy.mthp={ 64K = 'never', 16K = 'inherit' }"]
    fleet = load_fleet_scenario("phones", settings)
    assert fleet.app_class["video"].hot_percent == 40
    assert (fleet.policy.kernel, fleet.policy.thp, fleet.policy.margin_rule) == ("6.12", "never", True)
    assert fleet.device_class["phone-4g"].ram == 4 * GIB
    assert fleet.policy.mthp == {16384: "inherit", 65536: "never"}


def test_the_last_setting_counts():
    assert load_fleet_scenario("phones", ["days=2", "days=3"]).days == 3


def test_a_weight_of_zero_leaves_a_content_out():
    fleet = load_fleet_scenario("phones", ["app_class.video.content.media=0", "app_class.video.content.js_app=5"])
    assert fleet.app_class["video"].content == {"gpu_raster": 30, "java_app": 40, "js_app": 5}


def test_devices_and_seed_come_from_the_command_line():
    fleet = load_fleet_scenario("phones", devices=7, seed=9)
    assert (fleet.devices, fleet.seed) == (7, 9)
    assert load_fleet_scenario("phones").devices == 10_000


def test_warnings():
    settings = ["device_class.phone-4g.block=1M", "device_class.phone-4g.cached_apps=31"]
    assert load_fleet_scenario("phones", settings).warnings == [
        "device_class.phone-4g.block: no folio size of 1M or more is enabled: not used",
        "device_class.phone-4g.cached_apps: 31 are no fewer than all apps but the one in front: no limit",
    ]
    # madvise helps nobody where no app asks, inherit asks the global setting
    small = load_fleet_scenario(_written("a.toml", SMALL), ["policy.mthp.64K=madvise"])
    (said,) = small.warnings
    assert said.startswith("policy.large_swapin: ")
    assert "on all devices" in said
    for settings in (["app_class.b.madvise_hugepage=true"], ["policy.mthp.64K=inherit", "policy.thp=always"]):
        assert load_fleet_scenario("a.toml", ["policy.mthp.64K=madvise", *settings]).warnings == []


# resolved form and digest


def _keys(value: Any, at: str = "") -> set[str]:
    if not isinstance(value, dict):
        return {at}
    return {key for name, inner in value.items() for key in _keys(inner, f"{at}.{name}")} | {at}


def test_resolved_has_every_key_in_canonical_form():
    told = load_fleet_scenario(_written("a.toml", SMALL)).resolved()
    assert json.loads(json.dumps(told)) == told
    assert (told["scenario"], told["devices"], told["seed"]) == ("a", 10_000, 0)
    assert set(told) == set(FleetScenario.model_fields) - {"name"} | {"scenario"}
    device = told["device_class"]["a"]
    assert (device["ram"], device["zram"], device["block"], device["mem_limit"]) == ("4G", "50p", "4K", "0")
    assert told["policy"]["compaction"]["min_rss_kib"] == 12_000
    assert ".policy.large_pool.size" in _keys(told)


def test_equal_scenarios_have_equal_digests():
    one = _written("one.toml", SMALL)
    head, device, app = re.split(r"(?=^\[)", SMALL, flags=re.MULTILINE)
    other = head + app + device
    other = other.replace('"4G"', "4294967296").replace('"50p"', '"50%"')
    two = _written("two.toml", "days = 1\n" + other)
    assert load_fleet_scenario(one).digest() == load_fleet_scenario(two).digest()


def test_the_order_of_classes_does_not_matter():
    more = '[device_class.{}]\nshare = 1\nram = "4G"\nzram = "2G"\n'
    names = ("p-2g", "p-12g", "p-4g")
    one = load_fleet_scenario(_written("a.toml", SMALL + "".join(map(more.format, names))))
    two = load_fleet_scenario(_written("b.toml", SMALL + "".join(map(more.format, reversed(names)))))
    assert list(one.device_class) == list(two.device_class) == ["a", "p-2g", "p-4g", "p-12g"]
    assert one.digest() == two.digest()


@pytest.mark.parametrize(
    "changed", [{"devices": 5}, {"seed": 1}, {"settings": ["days=2"]}, {"settings": ["policy.lmkd.enabled=false"]}]
)
def test_what_changes_the_digest(changed):
    assert load_fleet_scenario("phones", **changed).digest() != load_fleet_scenario("phones").digest()


def test_files_count_by_what_is_in_them():
    for folder in ("a", "b"):
        Path(folder).mkdir()
        _written(f"{folder}/cost.toml", 'inherits = "patch-phone"\nfault_ns = 1\n')
        Path(f"{folder}/lib.npz").write_bytes(measured_path().read_bytes())
        text = 'inherits = "phones"\ncontent_library = "lib.npz"\n[device_class.phone-4g]\ncost = "cost.toml"\n'
        _written(f"{folder}/x.toml", text)
    told = load_fleet_scenario("a/x.toml").resolved()
    cost = hashlib.sha256(Path("a/cost.toml").read_bytes()).hexdigest()
    assert told["device_class"]["phone-4g"]["cost"] == f"sha256:{cost}"
    assert told["content_library"] == f"sha256:{hashlib.sha256(measured_path().read_bytes()).hexdigest()}"
    assert load_fleet_scenario("a/x.toml").digest() == load_fleet_scenario("b/x.toml").digest()
    _written("b/cost.toml", 'inherits = "patch-phone"\nfault_ns = 2\n')
    assert load_fleet_scenario("a/x.toml").digest() != load_fleet_scenario("b/x.toml").digest()


# schema


def _unknown(schema: dict[str, Any], node: dict[str, Any], value: Any, at: str) -> list[str]:
    """Keys of a file that its schema does not know."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    if not isinstance(value, dict):
        return []
    found = []
    for name, inner in value.items():
        rest = [node["additionalProperties"]] if isinstance(node.get("additionalProperties"), dict) else []
        rest += list(node.get("patternProperties", {}).values())
        below = node.get("properties", {}).get(name) or (rest[0] if rest else None)
        found += [f"{at}.{name}"] if below is None else _unknown(schema, below, inner, f"{at}.{name}")
    return found


@pytest.mark.parametrize("name", FLEETS)
def test_the_schema_knows_the_keys_of_every_built_in(name):
    table = tomllib.loads((SCENARIOS / f"{name}.toml").read_text(encoding="utf-8"))
    assert _unknown(json_schema(), json_schema(), table, "") == []


def test_every_key_of_the_schema_is_described():
    for name, table in {"": json_schema(), **json_schema()["$defs"]}.items():
        for key, node in table["properties"].items():
            assert node.get("description"), (name, key)


@pytest.mark.parametrize("name", FLEETS)
def test_the_schema_accepts_every_built_in(name):
    table = tomllib.loads((SCENARIOS / f"{name}.toml").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(json_schema()).validate(table)


# fleetswap show


def test_show_prints_the_default_fleet(capsys):
    assert _shown(capsys) == _shown(capsys, "phones")


@pytest.mark.parametrize("name", FLEETS)
@pytest.mark.parametrize(
    "settings", [[], ["policy.mthp.16K=inherit", "policy.swapin_sizes.64K=off", 'title=a \u00e9 \\ \x7f"']]
)
def test_what_show_prints_loads_to_the_same_digest(name, settings, capsys):
    words = [word for setting in settings for word in ("--set", setting)]
    text = _shown(capsys, name, *words)
    again = load_fleet_scenario(_written("again.toml", text))
    assert again.digest() == load_fleet_scenario(name, settings).digest()
    assert f"digest {again.digest()}" in text.splitlines()[0]


def test_show_says_where_values_come_from(capsys):
    text = _shown(capsys, "thrash", "--set", "days=2", "--devices", "3")
    for line in (
        "days = 2  # set with --set",
        "devices = 3  # set with --devices",
        "min_free_kib = 27386  # notes 1: Pixel, AOSP hardware/google/pixel",
        "background_touch_percent = 20  # assumption",
        "swapin_sizes = {}  # default",
        "# vm.min_free_kbytes of the real device, divided by page_scale",
    ):
        assert line in text.splitlines()


def test_show_says_nothing_of_what_was_replaced(capsys):
    for text in ("[policy.mthp]\n16K = 'always' # mine\n", "policy.mthp.16K = 'always' # mine\n"):
        name = _written("a.toml", f'inherits = "phones"\n{text}')
        assert 'mthp = { 16K = "always" }  # mine' in _shown(capsys, name).splitlines()


def test_show_as_json(capsys):
    told = json.loads(_shown(capsys, "low-ram", "--json", "--set", "days=2"))
    fleet = load_fleet_scenario("low-ram", ["days=2"])
    assert told == {"resolved": fleet.resolved(), "digest": fleet.digest(), "warnings": []}


def test_show_tells_warnings_on_stderr(capsys):
    assert main(["show", "phones", "--set", "device_class.phone-4g.block=1M"]) == 0
    assert capsys.readouterr().err == (
        "warning: device_class.phone-4g.block: no folio size of 1M or more is enabled: not used\n"
    )


def test_show_the_schema(capsys):
    assert json.loads(_shown(capsys, "--schema")) == json_schema()


@pytest.mark.parametrize("name", ["allocator-test", "breakeven"])
def test_show_the_other_scenarios(name, capsys):
    from fleetswap.scenario.experiments import load_scenario

    told = load_scenario(name, 3, 5, ()).resolved()
    words = (name, "--devices", "3", "--seed", "5")
    assert json.loads(_shown(capsys, *words, "--json"))["resolved"] == told
    assert tomllib.loads(_shown(capsys, *words)) == told
