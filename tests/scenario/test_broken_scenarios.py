"""What is said about scenarios that cannot be: one line with file, key path, value and what is allowed; exit code 2.

The expected lines are written by hand from the table of keys in the issue and the bounds in `fleet_scenario`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fleetswap.cli import main
from fleetswap.errors import InputError
from fleetswap.scenario.file import load_fleet_scenario

PHONES = 'inherits = "phones"\n'
ONE_CLASS = """
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
FOLIOS = "16K, 32K, 64K, 128K, 256K, 512K, 1M, 2M"
SCALES = "1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024"
DEVICE_KEYS = (
    "known are share, ram, zram, codec, block, cpus, page_cluster, mem_limit, cost, unavailable_percent, "
    "installed_apps, cached_apps, mthp"
)
SIZES_OF_ZRAM = "sizes 1M to 256G, in steps of 4K, or 1p to 200p of RAM"
CLASS_NAMES = "1 to 32 of a-z, 0-9, _ and -, the first a letter or digit"
SMALLEST = "device_class.phone-2g: ram = 2G, unavailable_percent = 40"
TOP_KEYS = (
    "known are title, description, devices, days, steps_per_day, page_scale, content_library, policy, behaviour, "
    "device_class, app_class, system, inherits, replaces"
)
NOT = "is not possible; allowed"

# A file, and the line behind "fleetswap: bad.toml: ".
FILES = [
    # TOML itself
    ('title = "a\n', "line 1, column 11: is no TOML: Illegal character '\\n'"),
    ("days = 1\ndays = 2\n", "line 2, column 9: is no TOML: Cannot overwrite a value"),
    ("days = 1\n[policy\n", "line 2, column 8: is no TOML: Expected ']' at the end of a table declaration"),
    ("days =", "line 1: is no TOML: Invalid value"),
    ("days = 1\ntitle = " + "[" * 9000 + "\n", "is nested too deeply; allowed are 8 levels"),
    ("days = " + "9" * 5000 + "\n", "is no TOML: a number is too long"),
    # where it comes from
    ('inherits = "phone"\n', "inherits: unknown scenario 'phone'; did you mean phones? (files end in .toml)"),
    ("inherits = 7\n", f"inherits: 7 {NOT} are low-ram, phones, thrash, uptime-week, or a .toml file"),
    ('inherits = "none.toml"\n', "inherits: none.toml: cannot be read: No such file or directory"),
    ('inherits = "bad.toml"\n', f"inherits: 'bad.toml' {NOT} are 8 ancestors, and none twice"),
    (
        PHONES + 'replaces = "device_class"\n',
        f"replaces: 'device_class' {NOT} is a list of names of tables, as [\"device_class\"]",
    ),
    (
        PHONES + 'replaces = ["device_clas"]\n',
        "replaces: 'device_clas' is no inherited table; did you mean device_class?",
    ),
    ('replaces = ["policy"]\n' + ONE_CLASS, "replaces: 'policy' is no inherited table; this file inherits none"),
    (PHONES + "seed = 1\n", "seed: cannot be set in a file; it is given with --seed"),
    (PHONES + 'name = "x"\n', "name: cannot be set in a file; the file's name gives it"),
    # unknown keys
    (PHONES + "day = 1\n", "day: unknown key; did you mean days?"),
    ('inherit = "phones"\n' + ONE_CLASS, "inherit: unknown key; did you mean inherits?"),
    (PHONES + "polcy" + ".a" * 3000 + " = 1\n", "polcy: unknown key; did you mean policy?"),
    (PHONES + "[polcy]\n", "polcy: unknown key; did you mean policy?"),
    (
        PHONES + "[policy.reclaim]\nminfree_kib = 1\n",
        "policy.reclaim.minfree_kib: unknown key; did you mean min_free_kib?",
    ),
    (PHONES + "[device_class.phone-4g]\nxyz = 1\n", f"device_class.phone-4g.xyz: unknown key; {DEVICE_KEYS}"),
    (
        PHONES + '"a b" = 1\n[app_class.video]\nanon10s_mib = 1\n',
        (
            "app_class.video.anon10s_mib: unknown key; did you mean anon_10s_mib?; "
            f'bad.toml: "a b": unknown key; {TOP_KEYS}'
        ),
    ),
    # keys that are missing
    (ONE_CLASS.replace('title = "One phone"\n', ""), "title: is missing; allowed are texts of 1 to 120 characters"),
    (
        ONE_CLASS.replace('ram = "4G"\n', ""),
        "device_class.a.ram: is missing; allowed are sizes 64M to 256G, in steps of 4K",
    ),
    (
        ONE_CLASS.replace("anon_5min_mib = 200\n", ""),
        "app_class.b.anon_5min_mib: is missing; allowed are whole numbers 1 to 65536",
    ),
    (
        'title = "a"\ndescription = "b"\n[device_class.a]\nshare = 1\nram = "4G"\nzram = "2G"\n',
        "app_class: is missing; allowed are 1 to 32 tables",
    ),
    # numbers
    (PHONES + "days = 0\n", f"days: 0 {NOT} are whole numbers 1 to 365"),
    (PHONES + 'days = "1"\n', f"days: '1' {NOT} are whole numbers 1 to 365"),
    (PHONES + "days = 1.0\n", f"days: 1.0 {NOT} are whole numbers 1 to 365"),
    (PHONES + "days = true\n", f"days: true {NOT} are whole numbers 1 to 365"),
    (PHONES + "days = 1979-05-27\n", f"days: 1979-05-27 {NOT} are whole numbers 1 to 365"),
    (PHONES + "days = [1, 2]\n", f"days: a list of 2 {NOT} are whole numbers 1 to 365"),
    (PHONES + "devices = 10000001\n", f"devices: 10000001 {NOT} are whole numbers 1 to 10000000"),
    (PHONES + "page_scale = 63\n", f"page_scale: 63 {NOT} are {SCALES}"),
    (PHONES + "page_scale = true\n", f"page_scale: true {NOT} are {SCALES}"),
    (
        PHONES + "[app_class.game]\nhot_percent = 101\n",
        f"app_class.game.hot_percent: 101 {NOT} are whole numbers 0 to 100",
    ),
    (
        PHONES + "[app_class.game]\nspread_percent = 91\n",
        f"app_class.game.spread_percent: 91 {NOT} are whole numbers 0 to 90",
    ),
    (
        PHONES + "[policy.large_pool]\nshare_percent = -1\n",
        f"policy.large_pool.share_percent: -1 {NOT} are whole numbers 0 to 90",
    ),
    (
        PHONES + "[device_class.phone-4g]\ncpus = 65\n",
        f"device_class.phone-4g.cpus: 65 {NOT} are whole numbers 1 to 64",
    ),
    (
        PHONES + "[device_class.phone-4g]\npage_cluster = 6\n",
        f"device_class.phone-4g.page_cluster: 6 {NOT} are whole numbers 0 to 5",
    ),
    (PHONES + "[system]\nprocesses = 21\n", f"system.processes: 21 {NOT} are whole numbers 1 to 20"),
    # choices and switches
    (PHONES + '[policy]\nkernel = "6.6"\n', f"policy.kernel: '6.6' {NOT} are 6.12, v7"),
    (PHONES + "[policy]\nkernel = 6.12\n", f"policy.kernel: 6.12 {NOT} are 6.12, v7"),
    (PHONES + '[policy]\nzeromap = "yes"\n', f"policy.zeromap: 'yes' {NOT} are on, off, v7"),
    (PHONES + '[policy]\nmargin_rule = "on"\n', f"policy.margin_rule: 'on' {NOT} are true, false"),
    (PHONES + "[policy]\nmargin_rule = 1\n", f"policy.margin_rule: 1 {NOT} are true, false"),
    (
        PHONES + '[policy]\ndefrag = "sometimes"\n',
        f"policy.defrag: 'sometimes' {NOT} are always, defer, defer+madvise, madvise, never",
    ),
    (PHONES + '[policy.mthp]\n64K = "on"\n', f"policy.mthp.64K: 'on' {NOT} are always, madvise, inherit, never"),
    (
        PHONES + '[device_class.phone-4g]\ncodec = "lzo"\n',
        f"device_class.phone-4g.codec: 'lzo' {NOT} are lz4, lzo-rle, zstd",
    ),
    (PHONES + '[policy.swapin_sizes]\n64K = "always"\n', f"policy.swapin_sizes.64K: 'always' {NOT} are on, off"),
    # sizes
    (
        PHONES + '[policy]\nlarge_swapin = "2M"\n',
        f"policy.large_swapin: '2M' {NOT} are off, on, or up to one of 16K, 32K, 64K, 128K, 256K, 512K, 1M",
    ),
    (
        PHONES + "[policy]\nlarge_swapin = true\n",
        f"policy.large_swapin: true {NOT} are off, on, or up to one of 16K, 32K, 64K, 128K, 256K, 512K, 1M",
    ),
    (PHONES + '[policy.mthp]\n48K = "always"\n', f"policy.mthp.48K: '48K' {NOT} are {FOLIOS}"),
    (
        PHONES + '[policy.swapin_sizes]\n2M = "on"\n',
        f"policy.swapin_sizes.2M: '2M' {NOT} are 16K, 32K, 64K, 128K, 256K, 512K, 1M",
    ),
    (
        PHONES + '[policy.mthp]\n64K = "always"\n65536 = "never"\n',
        f"policy.mthp: a table of 2 {NOT} is one entry a size, 64K has two",
    ),
    (
        PHONES + '[device_class.phone-4g]\nram = "4GB"\n',
        f"device_class.phone-4g.ram: '4GB' {NOT} are sizes 64M to 256G, in steps of 4K",
    ),
    (
        PHONES + "[device_class.phone-4g]\nram = 4294967297\n",
        f"device_class.phone-4g.ram: 4294967297 {NOT} are sizes 64M to 256G, in steps of 4K",
    ),
    (
        PHONES + '[device_class.phone-4g]\nblock = "12K"\n',
        f"device_class.phone-4g.block: '12K' {NOT} are 4K, 8K, {FOLIOS}",
    ),
    (
        PHONES + '[device_class.phone-4g]\nzram = "201p"\n',
        f"device_class.phone-4g.zram: '201p' {NOT} are {SIZES_OF_ZRAM}",
    ),
    (
        PHONES + '[device_class.phone-4g]\nzram = "half"\n',
        f"device_class.phone-4g.zram: 'half' {NOT} are {SIZES_OF_ZRAM}",
    ),
    (
        PHONES + '[device_class.phone-4g]\nmem_limit = "512K"\n',
        f"device_class.phone-4g.mem_limit: '512K' {NOT} are 0 for none, or sizes 1M to 8T, in steps of 4K",
    ),
    # tables and names
    (PHONES + 'policy = "off"\n', f"policy: 'off' {NOT} is a table"),
    (
        PHONES + 'replaces = ["app_class"]\n[app_class]\n',
        "app_class: 0 tables are not possible; allowed are 1 to 32 tables",
    ),
    (PHONES + "[[device_class]]\nshare = 1\n", f"device_class: a list of 1 {NOT} are 1 to 32 tables"),
    (
        PHONES + "[device_class.'Big Phone']\nshare = 1\nram = '8G'\nzram = '4G'\n",
        f"device_class.\"Big Phone\": 'Big Phone' {NOT} are {CLASS_NAMES}",
    ),
    (PHONES + f'title = "{"x" * 121}"\n', f"title: '{'x' * 39}...{'x' * 9}' {NOT} are texts of 1 to 120 characters"),
    (PHONES + 'description = ""\n', f"description: '' {NOT} are texts of 1 to 4000 characters"),
    # contents and costs
    (
        PHONES + "[app_class.video.content]\nmedai = 10\nmedia = 1\njava_app = 1\ngpu_raster = 1\n",
        f"app_class.video.content: a table of 4 {NOT} are 1 to 3 content classes with a weight above 0",
    ),
    (
        PHONES + "[app_class.video.content]\nmedai = 10\n",
        "app_class.video.content.medai: unknown content class; did you mean media?",
    ),
    (
        PHONES + "[app_class.video.content]\nmedia = 1001\n",
        f"app_class.video.content.media: 1001 {NOT} are whole numbers 0 to 1000",
    ),
    (
        PHONES + "[system.content]\nmedia = 0\n",
        f"system.content: a table of 1 {NOT} are 1 to 3 content classes with a weight above 0",
    ),
    (PHONES + 'content_library = "mine"\n', f"content_library: 'mine' {NOT} are measured, or a .npz file"),
    (
        PHONES + '[device_class.phone-4g]\ncost = "phone"\n',
        f"device_class.phone-4g.cost: 'phone' {NOT} are patch-phone, x86-server, or a .toml file",
    ),
    # what does not go together
    (
        PHONES + '[device_class.phone-4g]\nram = "128M"\n',
        f"device_class.phone-4g.ram: '128M' {NOT} are sizes from 256M to below 4T with page_scale = 64",
    ),
    (
        PHONES + '[device_class.phone-4g]\nzram = "60M"\n',
        f"device_class.phone-4g.zram: '60M' {NOT} are sizes from 64M to below 4T with page_scale = 64",
    ),
    (
        PHONES + '[device_class.phone-4g]\nzram = "1p"\n',
        f"device_class.phone-4g.zram: '1p' {NOT} are sizes from 64M to below 4T with page_scale = 64",
    ),
    (
        PHONES + "[device_class.phone-4g]\ncached_apps = 40\n[system]\nprocesses = 20\nprocess_mib = 9\n",
        (
            f"device_class.phone-4g.cached_apps: 40 {NOT} are at most 38 with system.processes = 20: "
            "a device has 60 processes or fewer"
        ),
    ),
    # 2048 MiB, 60 % of them, with a quarter more for the largest app: 983.04 MiB
    (
        PHONES + "[app_class.game]\nanon_5min_mib = 984\n",
        f"app_class.game.anon_5min_mib: 984 {NOT} are at most 983 with spread_percent = 25 and {SMALLEST}",
    ),
    (
        PHONES + "[app_class.video]\nanon_10s_mib = 359\n",
        f"app_class.video.anon_10s_mib: 359 {NOT} are at most anon_5min_mib, 358",
    ),
    # 1228 MiB of 2 GiB are for apps, 48 of them zygote's; a sixth of the rest
    (
        PHONES + "[system]\nprocess_mib = 197\n",
        f"system.process_mib: 197 {NOT} are at most 196 with system.processes = 6, zygote_mib = 48 and {SMALLEST}",
    ),
    (
        PHONES + "days = 365\n[behaviour]\nswitches_per_day = 274\n",
        f"behaviour.switches_per_day: 274 {NOT} are at most 273 with days = 365: a run has 100000 switches or fewer",
    ),
    (
        PHONES + "days = 7\nsteps_per_day = 1440\n",
        f"steps_per_day: 1440 {NOT} are at most 1428 with days = 7: a series has 10000 steps or fewer",
    ),
    (
        PHONES + "[behaviour]\nsession_minutes = 13\n",
        (
            f"behaviour.session_minutes: 13 {NOT} are at most 5 with behaviour.switches_per_day = 120, "
            "behaviour.switches_spread_percent = 50: the busiest user's day has 1440 minutes"
        ),
    ),
    (
        PHONES + "[behaviour]\nsession_minutes = 13\nswitches_spread_percent = 0\n",
        (
            f"behaviour.session_minutes: 13 {NOT} are at most 12 with behaviour.switches_per_day = 120, "
            "behaviour.switches_spread_percent = 0: the busiest user's day has 1440 minutes"
        ),
    ),
    (
        PHONES + "[policy.large_pool]\nshare_percent = 56\n",
        (
            f"policy.large_pool.share_percent: 56 {NOT} are at most 55 with "
            "device_class.phone-2g.unavailable_percent = 40: 5 % of RAM must remain"
        ),
    ),
    # a quarter of 60 % of 2 GiB: 314572.8 KiB
    (
        PHONES + "[policy.reclaim]\nmin_free_kib = 314573\n",
        (
            f"policy.reclaim.min_free_kib: 314573 {NOT} are at most 314572, a quarter of what is available, "
            f"with {SMALLEST}"
        ),
    ),
]

# Settings, and the line behind "fleetswap: phones --set: ".
SETTINGS = [
    (["days"], "'days' is not possible; expected KEY=VALUE"),
    (["=1"], "'=1' is not possible; expected KEY=VALUE"),
    (["policy..thp=never"], "'policy..thp=never' is not possible; expected KEY=VALUE"),
    (["inherits=thrash"], "inherits: cannot be set with --set; only a file has it"),
    (["seed=1"], "seed: cannot be set with --set; it is given with --seed"),
    (["dayz=1"], "dayz: unknown key; did you mean days?"),
    (["days=x"], f"days: 'x' {NOT} are whole numbers 1 to 365"),
    (["days=2.5"], f"days: '2.5' {NOT} are whole numbers 1 to 365"),
    (["days.a=1"], f"days: a table of 1 {NOT} are whole numbers 1 to 365"),
    (["app_class.vidio.hot_percent=40"], "app_class.vidio: unknown class; did you mean video?"),
    (["device_class.phone-4g.zram=5x"], f"device_class.phone-4g.zram: '5x' {NOT} are {SIZES_OF_ZRAM}"),
    (["policy.mthp.64K=sometimes"], f"policy.mthp.64K: 'sometimes' {NOT} are always, madvise, inherit, never"),
    (
        ["policy.lmkd={enabled=false}"],
        f"policy.lmkd: a table of 1 {NOT} are settings of its keys, as policy.lmkd.KEY=VALUE",
    ),
    (["policy={}"], f"policy: a table of 0 {NOT} are settings of its keys, as policy.KEY=VALUE"),
    (
        ["device_class.phone-4g={share=1}"],
        f"device_class.phone-4g: a table of 1 {NOT} are settings of its keys, as device_class.phone-4g.KEY=VALUE",
    ),
    (["device_class={}"], f"device_class: a table of 0 {NOT} are settings of its keys, as device_class.KEY=VALUE"),
    (["policy.mthp.64k=never"], f"policy.mthp: a table of 2 {NOT} is one entry a size, 64K has two"),
    (
        ["days=0", "policy.thp=on"],
        f"days: 0 {NOT} are whole numbers 1 to 365; phones --set: policy.thp: 'on' {NOT} are always, madvise, never",
    ),
    # The second is found although the first hides the rest of its table from pydantic.
    (
        ["behaviour.popularity_permille=-1", "steps_per_day=1440", "days=7"],
        (
            f"behaviour.popularity_permille: -1 {NOT} are whole numbers 0 to 5000; phones --set: "
            f"steps_per_day: 1440 {NOT} are at most 1428 with days = 7: a series has 10000 steps or fewer"
        ),
    ),
]


def _line(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command line says about bad input."""
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert "pydantic" not in line
    assert "http" not in line
    return line


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("text", "said"), FILES, ids=[said[:50] for _, said in FILES])
def test_a_broken_file(text, said, capsys):
    Path("bad.toml").write_text(text, encoding="utf-8")
    assert _line(capsys, "show", "bad.toml") == f"fleetswap: bad.toml: {said}"


@pytest.mark.parametrize(("settings", "said"), SETTINGS)
def test_a_broken_setting(settings, said, capsys):
    words = [word for setting in settings for word in ("--set", setting)]
    assert _line(capsys, "show", "phones", *words) == f"fleetswap: phones --set: {said}"


def test_the_table_is_long_enough():
    # The issue asks for 50 broken files.
    assert len(FILES) >= 50


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["phonez"], "unknown scenario 'phonez'; did you mean phones? (files end in .toml)"),
        (
            ["x"],
            (
                "unknown scenario 'x'; known are low-ram, phones, thrash, uptime-week, allocator-test, breakeven "
                "(files end in .toml)"
            ),
        ),
        (["none.toml"], "none.toml: cannot be read: No such file or directory"),
        ([".toml"], ".toml: cannot be read: Is a directory"),
        (["phones", "--devices", "0"], f"phones --devices: devices: 0 {NOT} are whole numbers 1 to 10000000"),
        (["phones", "--seed", "-1"], f"phones --seed: seed: -1 {NOT} are whole numbers 0 to 9223372036854775807"),
    ],
)
def test_a_broken_command_line(words, said, capsys):
    Path(".toml").mkdir()
    assert _line(capsys, "show", *words) == f"fleetswap: {said}"


def test_a_file_that_is_no_text(capsys):
    Path("bad.toml").write_bytes(b'title = "a"\n# \xff\n')
    assert _line(capsys, "show", "bad.toml") == (
        "fleetswap: bad.toml: line 2: byte 0xff is not possible; allowed is UTF-8"
    )


def test_a_problem_names_the_file_that_caused_it(capsys):
    Path("parent.toml").write_text(PHONES + "days = 0\n", encoding="utf-8")
    Path("child.toml").write_text('inherits = "parent.toml"\nsteps_per_day = 0\n', encoding="utf-8")
    assert _line(capsys, "show", "child.toml", "--set", "system.processes=0") == (
        f"fleetswap: parent.toml: days: 0 {NOT} are whole numbers 1 to 365; "
        f"child.toml: steps_per_day: 0 {NOT} are whole numbers 1 to 1440; "
        f"child.toml --set: system.processes: 0 {NOT} are whole numbers 1 to 20"
    )


def test_files_named_inside_are_read():
    Path("cost.toml").write_text('inherits = "patch-phone"\nfault_ns = -1\n', encoding="utf-8")
    Path("bad.toml").write_text(PHONES + '[device_class.phone-4g]\ncost = "cost.toml"\n', encoding="utf-8")
    path = Path("cost.toml").absolute()
    with pytest.raises(InputError) as error:
        load_fleet_scenario("bad.toml")
    said = str(error.value)
    assert said.startswith("bad.toml: device_class.phone-4g.cost: '")
    assert said.endswith(f"cannot be used: {path}: fault_ns: -1 {NOT} are whole numbers 0 to 1000000000")


def test_a_codec_without_a_price(capsys):
    ns = ", ".join("1" * 10)
    costs = ["fault", "map_page", "fill_page", "copy_page", "object_read", "object_write", "split"]
    costs += ["swapout_folio", "swapout_page"]
    lines = ['name = "x"', 'source = "x"', f"alloc_ns = [{ns}]", *(f"{cost}_ns = 1" for cost in costs)]
    lines += ["[codec.lz4]", f"compress_ns = [{ns}]", f"decompress_ns = [{ns}]"]
    Path("c.toml").write_text("\n".join(lines), encoding="utf-8")
    Path("bad.toml").write_text(PHONES + '[device_class.phone-4g]\ncost = "c.toml"\ncodec = "zstd"\n', encoding="utf-8")
    assert _line(capsys, "show", "bad.toml") == (
        f"fleetswap: bad.toml: device_class.phone-4g.codec: 'zstd' {NOT} are lz4, the codecs of cost profile "
        f"{Path('c.toml').absolute()}"
    )


def test_every_problem_is_told():
    keys = ("days", "steps_per_day", "devices", "behaviour.session_minutes", "system.processes", "policy.lmkd.enabled")
    with pytest.raises(InputError) as error:
        load_fleet_scenario("phones", [f"{key}=-1" for key in keys])
    problems = str(error.value).split("; phones --set: ")
    assert len(problems) == len(keys)
    assert all(re.search(rf"{re.escape(key)}: -1 {NOT}", str(error.value)) for key in keys)


def test_nul_in_names_of_files():
    Path("bad.toml").write_text('inherits = "a\\u0000.toml"\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"^bad\.toml: inherits: "):
        load_fleet_scenario("bad.toml")
    Path("bad.toml").write_text(PHONES + '[device_class.phone-4g]\ncost = "a\\u0000.toml"\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"^bad\.toml: device_class\.phone-4g\.cost: "):
        load_fleet_scenario("bad.toml")
