"""`fleetswap sweep`: the grid, its checks, and that its figures are those of pairwise comparisons."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fleetswap import cli
from fleetswap.analysis.sweep import Axis, grid, parse_axis, sweep
from fleetswap.errors import InputError
from fleetswap.scenario.file import load_fleet_scenario
from fleetswap_kernels.backend.contract import Backend
from tests.analysis.simulated import compare, simulate

SETTINGS = ("page_scale=512", "steps_per_day=3", "behaviour.switches_per_day=45")
SMALL = ("--devices", "8", *(word for one in SETTINGS for word in ("--set", one)))
SWAPIN = ("--over", "policy.large_swapin=off,on")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("k=1", ("1",)),
        ("k=off, 16K,on", ("off", "16K", "on")),
        ("k={64K='always',32K='never'},{}", ("{64K='always',32K='never'}", "{}")),
        ('k=["a,b", 2],x', ('["a,b", 2]', "x")),
        ("k='a,b',c", ("'a,b'", "c")),
        ("k=a=b,c", ("a=b", "c")),
    ],
)
def test_an_axis(text: str, values: tuple[str, ...]) -> None:
    assert parse_axis(text) == Axis("k", values)


@pytest.mark.parametrize("text", ["", "k", "k=", "=1", "k=1,", "k=1,,2"])
def test_what_is_no_axis(text: str) -> None:
    with pytest.raises(InputError) as error:
        parse_axis(text)
    assert str(error.value) == f"--over {text!r} is not possible; expected KEY=VALUE,VALUE,..."


def test_a_grid_has_every_combination() -> None:
    points = grid(
        "phones", [Axis("policy.large_swapin", ("off", "on")), Axis("days", ("1",)), Axis("title", ("x", "y"))]
    )
    assert [tuple(point.settings.values()) for point in points] == [
        ("off", "1", "x"), ("off", "1", "y"), ("on", "1", "x"), ("on", "1", "y"),
    ]  # fmt: skip
    assert [(p.scenario.policy.large_swapin, p.scenario.title) for p in points] == [
        ("off", "x"), ("off", "y"), ("on", "x"), ("on", "y"),
    ]  # fmt: skip


def test_a_sweep_is_written_whole(capsys: pytest.CaptureFixture[str]) -> None:
    over = [*SWAPIN, "--over", "policy.margin_rule=false,true"]
    words = ["sweep", "phones", *SMALL, *over, "--metrics", "kills,pswpin", "--pareto", "stall_ns,pswpin", "--out", "s"]
    assert cli.main(words) == 0
    shown = capsys.readouterr()
    for text in ("pswpin: pages read", "policy.large_swapin", "off", "true", "front", "front of stall_ns, pswpin"):
        assert text in shown.out
    assert "4 policies on 8 devices" in shown.err
    assert sorted(path.name for path in Path("s").iterdir()) == ["manifest.json", "summary.json", "sweep.parquet"]
    assert [path.name for path in Path().iterdir()] == ["s"]
    assert json.loads(Path("s/manifest.json").read_text())["kind"] == "sweep"
    summary = json.loads(Path("s/summary.json").read_text())
    assert summary["metrics"] == ["kills", "pswpin", "stall_ns"]
    assert any(point["front"] for point in summary["points"])
    table = pq.read_table("s/sweep.parquet").to_pylist()
    assert [{**row, "value": int(row["value"])} for row in table] == summary["rows"]
    # Another way to the same figures: each point compared with the first one.
    first = load_fleet_scenario("phones", [*SETTINGS, "policy.large_swapin=off", "policy.margin_rule=false"], 8)
    for point in summary["points"]:
        settings = [f"{key}={value}" for key, value in point["settings"].items()]
        expected = compare(first, load_fleet_scenario("phones", [*SETTINGS, *settings], 8)).rows
        kept = {(row["metric"], row["class"]): row for row in expected}
        rows = [row for row in summary["rows"] if row["point"] == point["point"]]
        assert len(rows) == 3 * len({row["class"] for row in expected})
        for row in rows:
            other = kept[row["metric"], row["class"]]
            assert row["value"] == other["b"]
            assert row["p50"] == other["b_p50"]
            for key in ("difference", "relative", "low", "high", "difference_p95", "worse_devices", "pairing_gain"):
                assert row[key] == other[key]
            assert row["better"] == {"a": "worse", "b": "better"}.get(other["better"], "unclear")


MTHP = Axis("policy.mthp", ('{16K="always"}', '{64K="always"}', "{65536='always'}"))


def test_a_table_of_a_point_is_all_that_the_point_has() -> None:
    # phones has 64K = "always"
    points = grid("phones", [MTHP, Axis("policy.mthp.32K", ("never",))])
    assert [point.scenario.policy.mthp for point in points] == [
        {size << 10: "always"} | {32 << 10: "never"} for size in (16, 64, 64)
    ]
    # the later axis adds to the table of the first, and both are shown as they came out
    assert points[2].settings == {"policy.mthp": '{ 32K = "never", 64K = "always" }', "policy.mthp.32K": "never"}
    points = grid("phones", [Axis("policy.mthp.16384", ("always",)), MTHP])
    assert [point.settings["policy.mthp.16384"] for point in points] == ["always", "not set", "not set"]


def test_an_error_names_the_option_that_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--over", "policy.thp=always,sometimes", "--set", "policy.defrag=now"]
    assert cli.main(["sweep", "phones", *words]) == 2
    told = capsys.readouterr().err
    assert "phones --over: policy.thp: 'sometimes' is not possible" in told
    assert "phones --set: policy.defrag: 'now' is not possible" in told
    # A key that begins like the swept one is still that of --set.
    words = ["--over", "policy.mthp={64K='always'},{}", "--set", "policy.mthp_=1"]
    assert cli.main(["sweep", "phones", *words]) == 2
    assert "phones --set: policy.mthp_: unknown key" in capsys.readouterr().err


def test_a_sweep_tells_points_that_are_alike(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--over", f"{MTHP.key}={','.join(MTHP.values)}", "--metrics", "kills", "--pareto", "kills", "--out", "s"]
    assert cli.main(["sweep", "phones", *SMALL, *words]) == 0
    shown = capsys.readouterr().out
    assert "row 3 resolves to the same scenario as row 2" in shown
    assert [point["alike"] for point in json.loads(Path("s/summary.json").read_text())["points"]] == [None, None, 1]
    same = f"{MTHP.key}={','.join(MTHP.values[1:])}"
    assert cli.main(["sweep", "phones", *SMALL, "--over", same, *words[2:-1], "t"]) == 0
    assert "the same" in capsys.readouterr().out


def test_backend_and_shards_change_nothing(backend: Backend) -> None:
    points = grid("phones", [Axis("policy.large_swapin", ("off", "on"))], SETTINGS, 8)
    scenarios = [point.scenario for point in points]
    assert sweep(points, simulate(scenarios, backend, 5)).to_dict() == sweep(points, simulate(scenarios)).to_dict()


def test_the_front_by_hand() -> None:
    points = grid("phones", [Axis("policy.large_swapin", ("off", "on", "1M"))], SETTINGS, 8)
    found = sweep(points, simulate([point.scenario for point in points]), ["pswpin"], ["pgmajfault"])
    totals = [one.overall.total_b for one in found.metrics["pgmajfault"]]
    # Up to 1M is what "on" means: equal points share their fate.
    assert totals[1] == totals[2]
    assert list(found.front) == [total == min(totals) for total in totals]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--over is missing: give --over KEY=VALUE,VALUE,..."),
        (["--over", "days"], "--over 'days' is not possible; expected KEY=VALUE,VALUE,..."),
        (["--over", "policy.thp=never,never"], "--over policy.thp: never is there twice; allowed are different values"),
        ([*SWAPIN, *SWAPIN], "--over policy.large_swapin: is there 2 times; allowed is once, with all values"),
        (["--over", "devices=1,2"], "are different fleets: devices: 1 and 2; allowed is the same fleet"),
        (["--over", "seed=1,2"], "phones --over: seed: cannot be set"),
        (["--over", f"days={','.join(map(str, range(1001)))}"], "--over: 1,001 points are too many; allowed are up to"),
        ([*SWAPIN, "--metrics", "pgmajfalt"], "--metrics: unknown metric 'pgmajfalt'; did you mean pgmajfault?"),
        ([*SWAPIN, "--pareto", "kils"], "--pareto: unknown metric 'kils'; did you mean kills?"),
        ([*SWAPIN, "--out", "there"], "--out there: exists already"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    Path("there").mkdir()
    assert cli.main(["sweep", "phones", *words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fleetswap: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert [path.name for path in Path().iterdir()] == ["there"]


def test_the_problems_of_all_points_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    over = ["--over", "policy.large_swapin=off,17K,on", "--over", "policy.margin_rule=false,maybe,perhaps"]
    assert cli.main(["sweep", "phones", *over]) == 2
    error = capsys.readouterr().err
    assert [error.count(f"'{word}' is not possible") for word in ("17K", "maybe", "perhaps")] == [1, 1, 1]
    assert cli.main(["sweep", "allocator-test", *over]) == 2
    assert "allocator-test: is no fleet; allowed are fleets and .toml files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("fleetswap.job.worker.run_shard", KeyboardInterrupt()),
        ("pathlib.Path.write_bytes", OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_nothing_is_left_of_a_sweep_that_fails_at_once(
    where: str, error: BaseException, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_words, **_names):
        raise error

    monkeypatch.setattr(where, fail)
    code = 130 if isinstance(error, KeyboardInterrupt) else 2
    assert cli.main(["sweep", "phones", *SMALL, *SWAPIN, "--out", "s"]) == code
    assert ("interrupted" if code == 130 else "s: cannot be written: No space left") in capsys.readouterr().err
    assert list(Path().iterdir()) == []
