"""The Python interface: the same results as the command line, lazily loaded, and clear about what is missing."""

from __future__ import annotations

import errno
import gc
import importlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import fleetswap
from fleetswap.api import RunResult, Scenario, compare, resume, run
from fleetswap.cli import main
from fleetswap.errors import InputError
from fleetswap.execution import run_result, work
from fleetswap.scenario.file import load_fleet_scenario
from fleetswap.workload.metrics import METRICS
from fleetswap_kernels.backend.extras import install_command

SETTINGS = {"page_scale": 512, "steps_per_day": 3, "behaviour.switches_per_day": 45}
WORDS = [f"{key}={value}" for key, value in SETTINGS.items()]
DEVICES = 8


def small(**policy: str) -> Scenario:
    return Scenario.load("phones", SETTINGS | {f"policy.{key}": value for key, value in policy.items()}, DEVICES)


@pytest.fixture(scope="module")
def result() -> RunResult:
    return run(small(), threads=1)


# Scenarios


def test_settings_may_be_a_table_or_texts() -> None:
    table = {**SETTINGS, "policy.margin_rule": True, "policy.mthp": {"64K": "always"}, "policy.kernel": "6.12"}
    texts = [*WORDS, "policy.margin_rule=true", "policy.mthp={64K='always'}", "policy.kernel=6.12"]
    a, b = Scenario.load("phones", table, 5, seed=3), Scenario.load("phones", texts, devices=5, seed=3)
    assert a == b
    assert a.fleet == load_fleet_scenario("phones", texts, 5, 3)
    assert a.digest == b.digest
    assert a.resolved["policy"]["margin_rule"] is True


def test_a_scenario_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('inherits = "phones"\ntitle = "Mine"\n', encoding="utf-8")
    assert Scenario.load(path).fleet.title == "Mine"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("allocator-test", {"iterations": 0}, "allocator-test: iterations: 0 is not possible"),
        ("phone", (), "unknown scenario 'phone'"),
        ("phones", {"days": 0}, "phones --set: days: 0 is not possible"),
        ("phones", "days=1", "settings: 'days=1' is not possible; allowed are a table, or a list of KEY=VALUE"),
    ],
)
def test_bad_scenarios_are_refused(name: str, settings: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        Scenario.load(name, settings)
    assert message in str(error.value)


def test_experiments_are_no_sides_of_a_comparison() -> None:
    with pytest.raises(InputError, match=r"^allocator-test: is no fleet; allowed are fleets, \.toml files and run dir"):
        fleetswap.compare("phones", "allocator-test")
    reference = Scenario.load("breakeven")
    with pytest.raises(InputError, match=r"^breakeven: is no fleet; allowed are fleets"):
        fleetswap.compare("phones", "phones", reference=reference)
    with pytest.raises(InputError, match="allocator-test"):
        fleetswap.sweep("allocator-test", {"folio_kib": [16, 64]})


# Runs


def test_a_run_is_that_of_the_command_line(result: RunResult, tmp_path: Path) -> None:
    words = [word for one in WORDS for word in ("--set", one)]
    assert main(["run", "phones", "--devices", str(DEVICES), *words, "--out", str(tmp_path / "cli")]) == 0
    here = run(small(), tmp_path / "api", threads=2, shards=3, progress=True)
    for name in ("devices.parquet", "series.parquet"):
        for folder in (here.folder, result.folder):
            assert pq.read_table(folder / name) == pq.read_table(tmp_path / "cli" / name)
    for name in ("summary.json", "report.html"):
        assert (here.folder / name).read_bytes() == (tmp_path / "cli" / name).read_bytes()
    cli, own = RunResult.open(tmp_path / "cli"), RunResult.open(tmp_path / "api")
    # The command line keeps a ledger: it tells what computed each task too.
    assert own.manifest.keys() | {"computed", "kind", "ready_s", "slots"} == cli.manifest.keys()
    assert own.summary == cli.summary == result.summary
    assert repr(own) == f"RunResult('{tmp_path / 'api'}': phones, 8 devices)"


def test_tables_have_all_devices(result: RunResult) -> None:
    table = result.devices_table
    assert table["device"].to_pylist() == list(range(DEVICES))
    assert set(METRICS) <= set(table.column_names)


def test_a_temporary_run_lives_as_long_as_its_result() -> None:
    result = run(small())
    folder = result.folder
    assert folder.is_dir()
    del result
    gc.collect()
    assert not folder.exists()


def test_the_report_is_that_of_the_run(result: RunResult, tmp_path: Path) -> None:
    path = result.report_html(tmp_path / "r.html")
    assert path.read_bytes() == (result.folder / "report.html").read_bytes()


def test_what_is_no_run_is_refused(result: RunResult, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file or directory; expected a finished run"):
        RunResult.open(tmp_path)
    shutil.copytree(result.folder, tmp_path / "run")
    (tmp_path / "run" / "series.parquet").write_bytes(b"x")
    with pytest.raises(InputError, match=r"series\.parquet: differs from what the run wrote"):
        RunResult.open(tmp_path / "run")
    with pytest.raises(InputError, match="exists already"):
        run(small(), tmp_path / "run")


@pytest.fixture(params=[KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def failing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[BaseException]:
    """All is simulated when writing fails; what is raised to the caller."""

    def fail(*_words: Any, **_names: Any) -> None:
        raise request.param

    monkeypatch.setattr(work, "write_manifest", fail)
    return KeyboardInterrupt if isinstance(request.param, KeyboardInterrupt) else InputError


def test_a_run_that_fails_is_gone_on_with(
    failing: type[BaseException], result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(failing, match="what is done is kept: go on with --resume"):
        run(small(), tmp_path / "run", threads=1)
    monkeypatch.undo()
    monkeypatch.setattr("fleetswap.job.worker.run_shard", lambda *_: pytest.fail("simulated again"))
    again = resume(tmp_path / "run")
    assert isinstance(again, RunResult)
    assert again.summary == result.summary


def test_nothing_is_left_of_results_that_nobody_keeps(
    failing: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for begin in (lambda: run(small()), lambda: compare(small(), small(large_swapin="off"))):
        with pytest.raises(failing):
            begin()
    assert list(tmp_path.iterdir()) == []


# Optional packages


@pytest.mark.parametrize(
    ("package", "use", "message"),
    [
        ("pandas", lambda r: r.devices, "RunResult.devices needs pandas: COMMAND (RunResult.devices_table"),
        ("pandas", lambda r: r.series(), "RunResult.series needs pandas: COMMAND (summary.json"),
        ("xarray", lambda r: r.to_xarray(), "RunResult.to_xarray needs xarray: COMMAND (RunResult.series"),
    ],
)
def test_what_is_missing_is_named(
    result: RunResult, monkeypatch: pytest.MonkeyPatch, package: str, use: Any, message: str
) -> None:
    real = importlib.import_module

    def without(name: str, *words: Any) -> Any:
        if name == package:
            raise ImportError(name)
        return real(name, *words)

    monkeypatch.setattr(run_result.importlib, "import_module", without)
    with pytest.raises(ImportError) as error:
        use(result)
    assert str(error.value).startswith(message.replace("COMMAND", install_command("frames")))
    assert error.value.name == package


def test_the_series_is_that_of_the_summary(result: RunResult) -> None:
    rows = result._series_rows((5, 50, 95))
    found = {(row["class"], row["step"], row["metric"]): row for row in rows}
    assert len(found) == len(rows)
    for name, metrics in result.summary["series"].items():
        for metric, steps in metrics.items():
            for step in steps:
                row = found.pop((name, step["step"], metric))
                told = {"total": row["value"], **{q: row[q] for q in ("p5", "p50", "p95")}}
                assert {key: step[key] for key in told} == told
    # Steps in which no device has a value.
    assert {row["devices"] for row in found.values()} <= {0}
    with pytest.raises(InputError, match="percents: 101 is not possible; allowed are 0 to 100"):
        result._series_rows((101,))


def test_frames(result: RunResult) -> None:
    pytest.importorskip("pandas")
    frame = result.devices
    assert len(frame) == DEVICES
    series = result.series((50,))
    assert list(series.columns[:4]) == ["step", "class", "metric", "devices"]
    assert series["step"].nunique() == 3


def test_arrays(result: RunResult) -> None:
    pytest.importorskip("xarray")
    found = result.to_xarray()
    assert set(found.dims) == {"class", "step", "metric"}
    kills = [int(n) for n in found["value"].sel({"class": "all", "metric": "kills"})]
    assert kills == [step["total"] for step in result.summary["series"]["all"]["kills"]]


# Comparison


def test_a_comparison_takes_runs_folders_scenarios_and_names(result: RunResult, tmp_path: Path) -> None:
    off = small(large_swapin="off")
    expected = compare(off, result, progress=True).to_dict()
    assert json.loads(json.dumps(expected)) == expected
    assert compare(run(off, tmp_path / "off"), small(), threads=1).to_dict() == expected
    assert compare(str(tmp_path / "off"), result.folder).to_dict() == expected
    with pytest.raises(InputError, match="unknown scenario 'phone'"):
        compare("phone", off)
    with pytest.raises(InputError, match=r"phones and .* are different fleets: devices: 10000 and 8"):
        compare("phones", result)


def test_a_comparison_with_a_reference(result: RunResult) -> None:
    assert compare(small(margin_rule="true"), result, reference=small(large_swapin="off")).reference
