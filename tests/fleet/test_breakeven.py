"""When large blocks pay: what must hold at no and at full success, that a run does not depend on how it is cut.

A small fleet: 3 devices of 8 MiB, 2048 pages each, written, swapped out and read once. Expectations follow from the
rules: every page is read once, in order; a folio or a compressed block that cannot be had is as if there were none.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import fleetswap
from fleetswap.analysis.breakeven import Point, _below_zero, crossings
from fleetswap.cli import main
from fleetswap.fleet.directory import digest_run
from fleetswap.fleet.log_histogram import LogHistogram
from fleetswap.scenario.experiments import load_scenario
from fleetswap.script.language import parse_script
from fleetswap.script.program import compile_script
from fleetswap.workload.breakeven import METRICS, VARIANTS, contents_of, script_text
from tests.analysis.histograms import histogram

DEVICES = 3
PAGES = 2048
SMALL = ("--set", "memory_mib=8", "--set", "rounds=1", "--set", "step_percent=50")
CODECS = ("lz4", "lzo-rle", "zstd")
FILES = ("devices.parquet", "series.parquet", "summary.json")
KEY = ("codec", "block_kib", "fallback", "success_percent")

Rows = list[dict[str, Any]]


@dataclass
class Result:
    """What a command did."""

    exit_code: int
    stdout: str
    stderr: str


def invoke(*arguments: str | Path) -> Result:
    """Run the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Result(code, out.getvalue(), err.getvalue())


def run(folder: Path, *arguments: str | Path) -> Path:
    """Run the small fleet into a folder."""
    result = invoke("run", "breakeven", "--devices", str(DEVICES), *SMALL, "--out", folder, *arguments)
    assert result.exit_code == 0, result.stderr
    return folder


def devices_of(folder: Path) -> Rows:
    """Rows of devices.parquet: what a device does and pays in its rounds, what it keeps after each swap-out, added up.

    Single pages, which need no large folio and have no rate, stand at every rate.
    """
    rates = range(0, 101, summary_of(folder)["scenario"]["step_percent"])
    rows = []
    for row in pq.read_table(folder / "devices.parquet").to_pylist():
        steps = {name: row.pop(f"{name}_by_step") for name in METRICS}
        del row["class"]
        row["cpu_ns"] -= steps["cpu_ns"][0]  # mkswap
        row["pool_bytes"], row["compr_data_size"] = (
            sum(steps[name][1::2]) for name in ("mem_used_bytes", "compressed_bytes")
        )
        at = rates if row["success_percent"] is None else [row["success_percent"]]
        rows += [{**row, "success_percent": percent} for percent in at]
    return rows


def summary_of(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on one thread and one shard."""
    return run(tmp_path_factory.mktemp("breakeven") / "one", "--threads", "1", "--shards", "1")


@pytest.fixture(scope="module")
def devices(finished: Path) -> Rows:
    """Its devices.parquet."""
    return devices_of(finished)


def select(rows: Rows, **key: Any) -> Rows:
    """Rows with these values, by codec and device."""
    found = [row for row in rows if all(row[name] == value for name, value in key.items())]
    assert found
    return sorted(found, key=lambda row: (row["codec"], row.get("device", 0)))


def without_key(rows: Rows) -> Rows:
    """Without what tells points apart, and without what is counted of folios that could not be had, by their size."""
    own = ("block_kib", "fallback")
    return [{name: value for name, value in row.items() if name not in own and name[-2:] != "kB"} for row in rows]


def test_every_point_and_device_has_a_row(devices: Rows) -> None:
    keys = [(row["device"], *(row[name] for name in KEY)) for row in devices]
    kinds = [(4, False), (16, False), (16, True), (64, False), (64, True)]
    wanted = {(d, c, *kind, p) for d in range(3) for c in CODECS for kind in kinds for p in (0, 50, 100)}
    assert len(keys) == len(set(keys))
    assert set(keys) == wanted


@pytest.mark.parametrize("kib", [16, 64])
@pytest.mark.parametrize("fallback", [False, True])
def test_without_any_large_folio_blocks_are_single_pages(devices: Rows, kib: int, fallback: bool) -> None:
    single = select(devices, block_kib=4, success_percent=0)
    blocks = select(devices, block_kib=kib, fallback=fallback, success_percent=0)
    assert without_key(blocks) == without_key(single)


def test_single_pages_need_no_large_folio(devices: Rows) -> None:
    single = [select(devices, block_kib=4, success_percent=percent) for percent in (0, 50, 100)]
    without_rate = [[{**row, "success_percent": 0} for row in rows] for rows in single]
    assert without_rate[0] == without_rate[1] == without_rate[2]


@pytest.mark.parametrize("kib", [16, 64])
def test_if_every_large_folio_can_be_had_the_fallback_is_never_needed(devices: Rows, kib: int) -> None:
    plain = select(devices, block_kib=kib, fallback=False, success_percent=100)
    assert without_key(plain) == without_key(select(devices, block_kib=kib, fallback=True, success_percent=100))


@pytest.mark.parametrize("kib", [4, 16, 64])
@pytest.mark.parametrize("percent", [0, 100])
def test_a_fault_brings_a_folio_at_full_success_and_a_page_at_none(devices: Rows, kib: int, percent: int) -> None:
    faults = PAGES * 4 // kib if percent else PAGES
    for row in select(devices, block_kib=kib, success_percent=percent):
        # Zero-filled folios are major faults too (spec 05 §5.1). Written by as many faults as they are read.
        assert row["pgmajfault"] == row["swapout_folios"] == faults
        assert row["pgfault"] == 2 * faults
        assert row["fault_pages"] == 2 * PAGES
        assert row["pswpin"] + row["swpin_zero"] == row["pswpout"] + row["swpout_zero"] == PAGES
        assert row["anon_pages"] == PAGES


@pytest.mark.parametrize("kib", [16, 64])
def test_at_half_success_half_of_the_folios_can_be_had(devices: Rows, kib: int) -> None:
    folio = kib // 4
    plain = select(devices, codec="lz4", block_kib=kib, fallback=False, success_percent=50)
    # Every block is asked for once when written; refused, it is written page by page.
    granted = [(PAGES - row["swapout_folios"]) // (folio - 1) for row in plain]
    assert [PAGES - n * (folio - 1) for n in granted] == [row["swapout_folios"] for row in plain]
    asked = DEVICES * PAGES // folio
    assert abs(sum(granted) - asked / 2) < 6 * (asked / 4) ** 0.5
    assert len(set(granted)) > 1, "devices should differ in luck"
    # Once more when read, for those that were granted and maybe for single pages that lie as a folio would (spec 05
    # §5.3: the size at swap-out is not recorded anywhere).
    read = [(PAGES - row["pgmajfault"]) // (folio - 1) for row in plain]
    assert [PAGES - n * (folio - 1) for n in read] == [row["pgmajfault"] for row in plain]
    assert sum(read) > sum(granted) / 2 - 6 * (sum(granted) / 4) ** 0.5
    assert sum(read) < asked / 2 + 6 * (asked / 4) ** 0.5


@pytest.mark.parametrize("kib", [16, 64])
def test_writing_has_the_same_luck_with_every_codec_and_fallback(devices: Rows, kib: int) -> None:
    # All memory is written before any is read, and numbers depend on seed, device and draw alone.
    luck = {
        (codec, fallback): [
            row["swapout_folios"]
            for row in select(devices, codec=codec, block_kib=kib, fallback=fallback, success_percent=50)
        ]
        for codec in CODECS
        for fallback in (False, True)
    }
    assert len(set(map(tuple, luck.values()))) == 1


@pytest.mark.parametrize("kib", [16, 64])
@pytest.mark.parametrize("percent", [0, 50, 100])
def test_a_block_is_decompressed_once_or_for_every_page(devices: Rows, kib: int, percent: int) -> None:
    pages = kib // 4
    for fallback in (False, True):
        for row in select(devices, block_kib=kib, fallback=fallback, success_percent=percent):
            assert row["blk_decomp_bytes"] == row["blk_decomp"] * kib * 1024
            whole = row["blk_decomp"] - row["blk_partial_read"]
            # A partial read brings one page (spec 08 §8.5).
            assert row["blk_pages_read"] == whole * pages + row["blk_partial_read"]
            assert (row["blk_decomp"] > 0) == (percent > 0)
            partly = percent == 50 and not fallback
            assert (row["blk_partial_read"] > 0) == partly
            # The pages of a block that is read page by page are all read, each at the block's price.
            assert row["blk_partial_read"] % pages == 0


@pytest.mark.parametrize("kib", [16, 64])
def test_small_folios_save_faults_and_decompression(devices: Rows, kib: int) -> None:
    plain = select(devices, block_kib=kib, fallback=False, success_percent=50)
    small = select(devices, block_kib=kib, fallback=True, success_percent=50)
    for a, b in zip(plain, small, strict=True):
        # Same writes, so the same blocks in zram. A block whose folio cannot be had is one fault instead of its pages.
        assert a["swapout_folios"] == b["swapout_folios"]
        saved, rest = divmod(a["pgmajfault"] - b["pgmajfault"], kib // 4 - 1)
        assert saved > 0
        assert rest == 0
        assert b["stall_ns"] < a["stall_ns"]
        assert b["decompressed_bytes"] < a["decompressed_bytes"]
        assert (b["pool_bytes"], b["compr_data_size"]) == (a["pool_bytes"], a["compr_data_size"])
        # Whether in blocks or pages, all that was compressed is read once.
        assert b["blk_pages_read"] == b["blk_decomp"] * kib // 4


@pytest.mark.parametrize("options", [("--threads", "2"), ("--shards", "3"), ("--threads", "2", "--shards", "2")])
def test_shards_and_threads_change_no_byte(finished: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    other = run(tmp_path / "other", "--threads", "1", *options)
    for name in FILES:
        assert (other / name).read_bytes() == (finished / name).read_bytes(), name
    assert digest_run(other) == digest_run(finished)
    assert invoke("digest", other).stdout.split()[0] == digest_run(finished)


def test_a_device_does_not_depend_on_the_others(finished: Path, tmp_path: Path) -> None:
    alone = run(tmp_path / "alone", "--devices", "1")
    assert devices_of(alone) == [row for row in devices_of(finished) if row["device"] == 0]


@pytest.mark.parametrize("seed", ["1", str(1 << 32)])
def test_another_seed_gives_other_contents_and_luck_and_another_digest(
    finished: Path, tmp_path: Path, seed: str
) -> None:
    other = run(tmp_path / "other", "--seed", seed)
    assert digest_run(other) != digest_run(finished)
    for name, key in (("compr_data_size", {"block_kib": 4}), ("swapout_folios", {"block_kib": 64})):
        before, after = (
            [row[name] for row in select(devices_of(folder), success_percent=50, **key)] for folder in (finished, other)
        )
        assert before != after, name


def test_a_setting_gives_another_digest(finished: Path, tmp_path: Path) -> None:
    assert digest_run(run(tmp_path / "other", "--set", "cost=x86-server")) != digest_run(finished)


def test_costs_change_the_price_and_nothing_else(devices: Rows, tmp_path: Path) -> None:
    other = devices_of(run(tmp_path / "other", "--set", "cost=x86-server"))
    paid = ("stall_ns", "cpu_ns")
    for a, b in zip(devices, other, strict=True):
        assert {k: v for k, v in a.items() if k not in paid} == {k: v for k, v in b.items() if k not in paid}
        assert all(b[name] != a[name] for name in paid)


def test_devices_and_summary_agree(finished: Path, devices: Rows) -> None:
    points = summary_of(finished)["points"]
    assert len(points) == 45
    for point in points:
        key = {name: point.pop(name) for name in KEY}
        of_point = select(devices, **key)
        assert len(of_point) == DEVICES
        assert point == {name: sum(row[name] for row in of_point) for name in point}
        assert set(point) == {"stall_ns", "cpu_ns", "decompressed_bytes", "pool_bytes", "compr_data_size"}


def test_devices_and_series_agree(finished: Path) -> None:
    series = pq.read_table(finished / "series.parquet").to_pylist()
    rows = pq.read_table(finished / "devices.parquet").to_pylist()
    classes = {row["class"] for row in rows}
    # Single pages are simulated once a codec; a round has two steps, mkswap has one.
    assert len(classes) == 3 * (1 + 4 * 3)
    assert len(series) == len(classes) * len(METRICS) * 3
    for row in series:
        values = [d[f"{row['metric']}_by_step"][row["step"]] for d in rows if d["class"] == row["class"]]
        assert LogHistogram.from_dict(row).to_dict() == histogram(values).to_dict()
        assert (row["numerator"], row["base"]) == (sum(values), 0)


def test_one_program_serves_all_points() -> None:
    scenario = load_scenario("breakeven", 1, 0, ("memory_mib=8", "rounds=2"))
    library, weights = contents_of(scenario.content)
    texts = [script_text(codec, v, scenario.memory_mib, scenario.rounds, weights) for codec in CODECS for v in VARIANTS]
    compiled = [compile_script(parse_script(text, "breakeven", tuple(weights)), library) for text in texts]
    assert all(np.array_equal(one.program, compiled[0].program) for one in compiled)
    ends = [[step.first for step in one.steps if step.op.name == "dump"] for one in compiled]
    assert ends == [ends[0]] * len(compiled)
    assert len(ends[0]) == 2 * 2


def test_stall_is_part_of_the_cpu_time(devices: Rows) -> None:
    assert all(0 < row["stall_ns"] < row["cpu_ns"] for row in devices)


def test_the_pool_holds_what_was_compressed(devices: Rows) -> None:
    for row in devices:
        assert row["pool_bytes"] % 4096 == 0
        assert 0 < row["compr_data_size"] <= row["pool_bytes"]


def test_crossings_are_where_blocks_take_less(finished: Path) -> None:
    summary = summary_of(finished)
    points = {tuple(point[name] for name in KEY): point for point in summary["points"]}
    names = {"16K": (16, False), "16K small folios": (16, True), "64K": (64, False), "64K small folios": (64, True)}
    found = {(row["codec"], row["variant"], row["metric"]): row["pays"] for row in summary["crossings"]}
    assert set(found) == {(c, n, m) for c in CODECS for n in names for m in ("stall_ns", "cpu_ns", "pool_bytes")}
    assert len(summary["crossings"]) == len(found)
    for (codec, name, metric), pays in found.items():
        for percent in (0, 50, 100):
            block, single = (points[codec, *kind, percent][metric] for kind in (names[name], (4, False)))
            inside = any(a <= percent <= b for a, b in pays)
            assert inside or block >= single, (codec, name, metric, percent)
            assert block <= single or not inside, (codec, name, metric, percent)


def test_the_summary_counts_the_pages_of_all_rounds(finished: Path, tmp_path: Path) -> None:
    assert summary_of(finished)["pages"] == 3 * 8 * 256
    twice = run(tmp_path / "twice", "--set", "rounds=2", "--set", "step_percent=100")
    assert summary_of(twice)["pages"] == 2 * 3 * 8 * 256
    for row in select(devices_of(twice), block_kib=64, success_percent=100):
        assert row["pgmajfault"] == 2 * PAGES // 16
        assert row["pswpout"] + row["swpout_zero"] == 2 * PAGES


def test_the_manifest_names_the_scenario(finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["scenario"] == {
        "scenario": "breakeven", "devices": 3, "memory_mib": 8, "rounds": 1, "step_percent": 50,
        "cost": "patch-phone", "content": "patch-mix", "seed": 0,
    }  # fmt: skip
    assert manifest["scenario"] == summary_of(finished)["scenario"]
    assert manifest["scenario_hash"] == summary_of(finished)["digest"]
    assert [(shard["first"], shard["end"]) for shard in manifest["shards"]] == [(0, 39 * 3)]


def test_people_and_programs_read_the_same(finished: Path, tmp_path: Path) -> None:
    options = ("--devices", str(DEVICES), *SMALL)
    shown = invoke("run", "breakeven", *options, "--out", tmp_path / "shown").stdout
    for words in (*CODECS, "Blocks take less than single pages", "50 %"):
        assert words in shown
    document = json.loads(invoke("run", "breakeven", *options, "--out", tmp_path / "json", "--json").stdout)
    assert document.pop("run_directory") == str(tmp_path / "json")
    assert document == summary_of(finished)


# Curves and the stretches in which they lie below zero, by hand.
CURVES: list[tuple[str, list[tuple[int, int]], list[list[float]]]] = [
    ("always", [(0, -1), (50, -2), (100, -1)], [[0, 100]]),
    ("never", [(0, 1), (50, 3), (100, 2)], []),
    ("from 25 on", [(0, 10), (50, -10), (100, -30)], [[25, 100]]),
    ("up to 75", [(0, -30), (100, 10)], [[0, 75]]),
    ("from a third on", [(0, 1), (100, -2)], [[33.33, 100]]),
    ("between", [(0, 10), (50, -10), (100, 10)], [[25, 75]]),
    ("below over several points", [(0, 10), (20, -10), (40, -1), (60, -5), (80, -20), (100, 20)], [[10, 90]]),
    ("two stretches", [(0, -10), (25, 10), (50, 10), (75, -10), (100, -10)], [[0, 12.5], [62.5, 100]]),
    ("two stretches in neighbours", [(0, -10), (50, 10), (100, -30)], [[0, 25], [62.5, 100]]),
    ("touches zero from above", [(0, 5), (50, 0), (100, 5)], []),
    ("starts at zero", [(0, 0), (100, -5)], [[0, 100]]),
    ("ends at zero", [(0, -5), (100, 0)], [[0, 100]]),
    ("stays at zero", [(0, -5), (50, 0), (100, 0)], [[0, 50]]),
    ("is zero", [(0, 0), (50, 0), (100, 0)], []),
    ("large numbers", [(0, 10**18), (100, -(10**18))], [[50, 100]]),
]


@pytest.mark.parametrize(("curve", "below"), [c[1:] for c in CURVES], ids=[c[0] for c in CURVES])
def test_a_curve_lies_below_zero_where_it_does(curve: list[tuple[int, int]], below: list[list[float]]) -> None:
    assert _below_zero(curve) == below


def test_a_curve_that_touches_zero_from_below_lies_below_it_elsewhere() -> None:
    # One stretch or two: one point is of no length.
    stretches = _below_zero([(0, -1), (50, 0), (100, -1)])
    assert (stretches[0][0], stretches[-1][1], sum(b - a for a, b in stretches)) == (0, 100, 100)


def test_crossings_compare_fleets_of_one_codec_at_each_rate() -> None:
    def points(codec: str, variant: int, totals: tuple[int, int, int]) -> list[Point]:
        return [
            Point(codec, VARIANTS[variant], percent, {"cpu_ns": total})
            for percent, total in zip((0, 50, 100), totals, strict=True)
        ]

    given = [
        *points("lz4", 0, (100, 100, 100)),
        *points("lz4", 1, (120, 80, 60)),
        *points("lz4", 3, (90, 110, 90)),
        *points("zstd", 0, (1000, 1000, 1000)),
        *points("zstd", 1, (999, 999, 999)),
        *points("zstd", 4, (1001, 1000, 1003)),
    ]
    found = {(row["codec"], row["variant"]): row["pays"] for row in crossings(given[::-1], "cpu_ns")}
    assert {key: pays for key, pays in found.items() if pays} == {
        ("lz4", "16K"): [[25, 100]],
        ("lz4", "64K"): [[0, 25], [75, 100]],
        ("zstd", "16K"): [[0, 100]],
    }
    assert ("zstd", "64K small folios") in found


STEPS = "1, 2, 4, 5, 10, 20, 25, 50, 100"


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("memory_mib=0", ["memory_mib: 0", "1 to 1024"]),
        ("memory_mib=1025", ["memory_mib: 1025", "1 to 1024"]),
        ("memory_mib=-1", ["memory_mib: -1", "whole numbers 1 to 1024"]),
        ("memory_mib=8.5", ["memory_mib", "'8.5'", "whole numbers 1 to 1024"]),
        ("memory_mib=", ["memory_mib", "''", "whole numbers 1 to 1024"]),
        ("rounds=0", ["rounds: 0", "1 to 1000"]),
        ("rounds=1001", ["rounds: 1001", "1 to 1000"]),
        ("step_percent=0", ["step_percent: 0", STEPS]),
        ("step_percent=3", ["step_percent: 3", STEPS]),
        ("step_percent=101", ["step_percent: 101", STEPS]),
        ("memory_mb=8", ["unknown key 'memory_mb'", "did you mean memory_mib?"]),
        ("contents=media", ["unknown key 'contents'", "did you mean content?"]),
        ("zzz=1", ["unknown key 'zzz'", "memory_mib, rounds, step_percent, cost, content"]),
        # Settings of the other scenario, and options that are no settings.
        ("zram_mib=8", ["unknown key 'zram_mib'"]),
        ("devices=2", ["unknown key 'devices'"]),
        ("memory_mib", ["'memory_mib'", "KEY=VALUE"]),
        ("content=nothing", ["content", "'nothing'", "patch-mix", "java_app", ".npz"]),
        ("content=nowhere.npz", ["nowhere.npz", "No such file"]),
        ("cost=nothing", ["cost", "'nothing'", "patch-phone, x86-server", ".toml"]),
        ("cost=nowhere.toml", ["nowhere.toml", "No such file"]),
    ],
)
def test_a_bad_setting_is_one_line_and_exit_2(tmp_path: Path, setting: str, names: list[str]) -> None:
    result = invoke("run", "breakeven", "--set", setting, "--out", tmp_path / "run")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    for name in names:
        assert name in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_all_bad_settings_are_told_at_once() -> None:
    result = invoke("run", "breakeven", "--set", "rounds=0", "--set", "memory_mib=x", "--set", "step_percent=7")
    assert result.exit_code == 2
    for key in ("rounds", "memory_mib", "step_percent"):
        assert key in result.stderr


def test_files_that_are_no_library_and_no_profile_are_refused(tmp_path: Path) -> None:
    for key, name in (("content", "bad.npz"), ("cost", "bad.toml")):
        (tmp_path / name).write_text("no, it is not\n")
        result = invoke("run", "breakeven", "--set", f"{key}={tmp_path / name}", "--out", tmp_path / "run")
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert str(tmp_path / name) in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_class_of_the_library_can_be_the_content(finished: Path, tmp_path: Path) -> None:
    options = ("--set", "step_percent=100", "--set")
    media, native = (run(tmp_path / name, *options, f"content={name}") for name in ("media", "native_db"))
    sizes = [summary_of(folder)["points"][0]["compr_data_size"] for folder in (media, native, finished)]
    assert len(set(sizes)) == 3


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `fleetswap calibrate` makes of 2 MiB of noise, of which no page and no block compresses."""
    folder = tmp_path_factory.mktemp("calibrated")
    dump = folder / "noise.raw"
    dump.write_bytes(np.random.default_rng(0).integers(0, 256, 2 << 20, dtype=np.uint8).tobytes())
    result = invoke("calibrate", "mine", "--dump", dump, "--out", folder, "--max-mib", "2", "--jobs", "1", "--json")
    assert result.exit_code == 0, result.stderr
    return folder


def test_a_run_takes_the_library_and_profile_of_a_calibration(calibrated: Path, tmp_path: Path) -> None:
    library, profile = calibrated / "mine.npz", calibrated / "mine.toml"
    options = ("--set", f"content={library}", "--set", f"cost={profile}", "--set", "step_percent=100")
    once, thrice = run(tmp_path / "once", *options), run(tmp_path / "thrice", *options, "--set", "rounds=3")
    scenario = summary_of(once)["scenario"]
    # What a file holds names a run, not where it lies.
    hashes = [f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in (library, profile)]
    assert [scenario["content"], scenario["cost"]] == hashes
    data = Path(fleetswap.__file__).parent / "data/cost/x86-server.toml"
    server, mine = (tomllib.loads(path.read_text()) for path in (data, profile))
    assert mine["inherits"] == "x86-server"
    codecs = server["codec"] | mine["codec"]
    # Written and read: each page is mapped twice, cleared once, copied from zram once.
    both_faults = 2 * server["map_page_ns"] + server["fill_page_ns"] + server["copy_page_ns"] + server["object_read_ns"]
    for row, later in zip(devices_of(once), devices_of(thrice), strict=True):
        # Noise is stored as it is, page by page, and copied back.
        assert row["huge_pages_since"] == row["huge_reads"] == row["pswpin"] == PAGES
        assert (row["decompressed_bytes"], row["swpin_zero"], row["blk_decomp"]) == (0, 0, 0)
        faults = PAGES * 4 // row["block_kib"] if row["success_percent"] else PAGES
        assert row["stall_ns"] == 2 * faults * server["fault_ns"] + PAGES * both_faults
        assert later["stall_ns"] == 3 * row["stall_ns"]
        # Two rounds more: swapped out page by page, each is compressed, in the measured time, and stored.
        if faults == PAGES:
            swapout = server["swapout_folio_ns"] + server["swapout_page_ns"] + server["object_write_ns"]
            swapout += codecs[row["codec"]]["compress_ns"][0]
            assert later["cpu_ns"] - later["stall_ns"] - (row["cpu_ns"] - row["stall_ns"]) == 2 * PAGES * swapout
        # In zram are besides the pages the swap header, a small object in a zspage of its own, and after a round of
        # single pages the 64 slots last read, parked in the return cache (spec 03 §3.3).
        parked = 2 * 64 * 4096 if faults == PAGES else 0
        header = row["compr_data_size"] - PAGES * 4096
        zspage = row["pool_bytes"] - PAGES * 4096
        assert 0 < header < 100
        assert 4096 <= zspage <= 8 * 4096
        assert later["compr_data_size"] == 3 * row["compr_data_size"] + parked
        assert later["pool_bytes"] == 3 * row["pool_bytes"] + parked
