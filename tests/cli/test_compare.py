"""`fleetswap compare`: what it writes and prints, what it refuses, and that nothing half written is left."""

from __future__ import annotations

import errno
import hashlib
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fleetswap import cli
from fleetswap.job import worker
from fleetswap.report.names import metric_name
from fleetswap.report.units import write_change
from fleetswap.scenario.file import load_fleet_scenario
from fleetswap.workload.metrics import METRICS
from tests.analysis.simulated import compare

SETTINGS = ("page_scale=512", "steps_per_day=3", "behaviour.switches_per_day=45")
SMALL = ("--devices", "8", *(word for one in SETTINGS for word in ("--set", one)))
OFF, ON = "policy.large_swapin=off", "policy.large_swapin=on"
NAMES = ["comparison.parquet", "manifest.json", "report.html", "summary.json"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_comparison_is_written_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "phones", *SMALL, "--set-a", OFF, "--set-b", ON, "--out", "c"]) == 0
    shown = capsys.readouterr()
    for metric in METRICS:
        assert metric in shown.out
    for text in ("A: large_swapin off  |  B: large_swapin on  (8 devices", "worst class", "phone-8g", "B - A"):
        assert text in shown.out
    assert "left" in shown.err
    assert "written to c" in shown.err.replace("\n", " ")
    assert sorted(path.name for path in Path("c").iterdir()) == NAMES
    assert [path.name for path in Path().iterdir()] == ["c"]
    manifest = json.loads(Path("c/manifest.json").read_text())
    assert manifest["kind"] == "comparison"
    assert manifest["a"]["scenario"]["policy"]["large_swapin"] == "off"
    for name, checksum in manifest["files"].items():
        assert hashlib.sha256(Path("c", name).read_bytes()).hexdigest() == checksum
    summary = json.loads(Path("c/summary.json").read_text())
    a, b = (load_fleet_scenario("phones", (*SETTINGS, one), 8) for one in (OFF, ON))
    assert summary == compare(a, b).to_dict()
    table = pq.read_table("c/comparison.parquet").to_pylist()
    assert [{**row, "a": int(row["a"]), "b": int(row["b"])} for row in table] == summary["rows"]


@pytest.mark.parametrize("metric", ["pgmajfault", "stall_ns", "cpu_ns", "kills"])
def test_a_change_reads_alike_on_the_terminal_and_in_the_report(
    metric: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", "phones", *SMALL, "--set-a", OFF, "--set-b", ON, "--out", "c"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == [metric])
    rows = json.loads(Path("c/summary.json").read_text())["rows"]
    change = next(row["relative"] for row in rows if (row["metric"], row["class"]) == (metric, "all"))
    text = write_change(change)
    assert text.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ") in line
    assert text in Path("c/report.html").read_text(encoding="utf-8").replace("&nbsp;", "\N{NO-BREAK SPACE}")


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "phones", "phones", *SMALL, "--set-b", OFF, "--out", "c", "--json", "--threads", "1"]
    assert cli.main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("folder") == "c"
    assert told == json.loads(Path("c/summary.json").read_text())


def test_run_directories_and_the_folder_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    for name, setting in (("a", OFF), ("b", ON)):
        assert cli.main(["run", "phones", *SMALL, "--set", setting, "--out", name]) == 0
    capsys.readouterr()
    assert cli.main(["compare", "a", "b", "--json"]) == 0
    folder = Path(json.loads(capsys.readouterr().out)["folder"])
    assert folder.parent == Path("runs")
    assert folder.name.startswith("compare-a-")
    assert cli.main(["compare", "phones", *SMALL, "--set-a", OFF, "--set-b", ON, "--shards", "3", "--out", "c"]) == 0
    assert Path("c/summary.json").read_bytes() == (folder / "summary.json").read_bytes()
    assert pq.read_table("c/comparison.parquet") == pq.read_table(folder / "comparison.parquet")
    capsys.readouterr()
    for words, message in (
        (["--devices", "3"], "--devices: a is a finished run; allowed are scenarios"),
        (["--seed", "0"], "--seed: a is a finished run; allowed are scenarios"),
        (["--set", ON], "--set-a or --set: a is a finished run; allowed are scenarios"),
    ):
        assert cli.main(["compare", "a", "b", *words]) == 2
        assert message in capsys.readouterr().err


def test_a_reference_counts_the_extra_pages() -> None:
    words = ["--set-b", "policy.margin_rule=true", "--set-reference", OFF, "--out", "c"]
    assert cli.main(["compare", "thrash", *SMALL, *words]) == 0
    assert json.loads(Path("c/summary.json").read_text())["label_b"] == "margin_rule on"


def test_sides_that_are_alike_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--set-b", 'policy.mthp={64K="always"}', "--out", "c"]  # what phones has
    assert cli.main(["compare", "phones", *SMALL, *words]) == 0
    text = "resolve to the same scenario"
    assert text in capsys.readouterr().out
    assert text in Path("c/report.html").read_text()
    assert json.loads(Path("c/summary.json").read_text())["alike"] is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["phones"], "B is missing: give a second scenario or run directory, or --set-b KEY=VALUE"),
        (["phone", "phones"], "unknown scenario 'phone'; did you mean phones?"),
        (["phones", "allocator-test"], "allocator-test: is no fleet; allowed are fleets, .toml files and run"),
        (
            ["phones", "low-ram", "--devices", "3"],
            "phones and low-ram are different fleets: page_scale: 64 and 32; device_class: phone-2g, ",
        ),
        (["phones", "--set-b", "policy.large_swapin=of"], "phones --set-b: policy.large_swapin: 'of' is not possible;"),
        (["phones", "--set-b", ON, "--set", "dayz=1"], "phones --set: dayz: unknown key"),
        (["phones", "--set-b", ON, "--out", "there"], "--out there: exists already; name a folder that does not"),
        (["phones", "--set-b", ON, "--out", "file/x"], "file/x: cannot be written: "),
        (
            ["there", "phones"],
            "there/manifest.json: cannot be read: No such file or directory; expected a finished run",
        ),
        (["phones", "there", "--set-reference", ON], "there/manifest.json: cannot be read: No such file"),
        (["there", "phones", "--set-reference", ON], "--set-reference or --set: there is a finished run"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    Path("there").mkdir()
    Path("file").touch()
    assert cli.main(["compare", *words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fleetswap: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert sorted(path.name for path in Path().iterdir()) == ["file", "there"]


def test_problems_of_both_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "phones", "--set-a", "days=0", "--set-b", "thp=1"]) == 2
    error = capsys.readouterr().err
    assert "phones --set-a: days: 0 is not possible" in error
    assert "phones --set-b: thp: unknown key" in error


def test_nothing_is_left_of_a_comparison_interrupted_in_its_first_shard(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(worker, "run_shard", interrupted)
    assert cli.main(["compare", "phones", *SMALL, "--shards", "2", "--set-b", OFF, "--out", "c"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_an_interrupted_comparison_goes_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = worker.run_shard
    done = []

    def interrupted(*words, **names):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(real(*words, **names))
        return done[-1]

    question = ["compare", "phones", *SMALL, "--set-b", OFF]
    assert cli.main([*question, "--out", "plain"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(worker, "run_shard", interrupted)
        assert cli.main([*question, "--shards", "2", "--out", "c"]) == 130
    assert "what is done is kept: go on with --resume " in capsys.readouterr().err.replace("\n", " ")
    assert cli.main(["compare", "--resume", "c"]) == 0
    _assert_same("c", "plain")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_lost_when_the_disk_is_full(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    write_text, write_table = Path.write_text, pq.write_table

    def text(self: Path, *words, **names):
        write_text(self, "half", encoding="utf-8")
        if self.name == name:
            raise full
        return write_text(self, *words, **names)

    def table(data, where, **names):
        write_table(data, where, **names)
        if isinstance(where, str | Path) and Path(where).name == name:
            raise full

    question = ["compare", "phones", *SMALL, "--set-b", OFF]
    assert cli.main([*question, "--out", "plain"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", text)
        patch.setattr(pq, "write_table", table)
        assert cli.main([*question, "--out", "c"]) == 2
    told = capsys.readouterr().err
    assert "c: cannot be written: No space left on device; what is done is kept: go on with --resume " in told
    assert cli.main(["compare", "--resume", "c"]) == 0
    _assert_same("c", "plain")


def _assert_same(one: str, other: str) -> None:
    """Assert that nothing but the answer is in two directories, and that it is the same."""
    assert sorted(path.name for path in Path(one).iterdir()) == NAMES
    for name in ("comparison.parquet", "summary.json"):
        assert (Path(one) / name).read_bytes() == (Path(other) / name).read_bytes(), name


def test_the_page_tells_two_names_of_one_fleet_and_no_difference() -> None:
    text = 'inherits = "phones"\ndevices = 4\npage_scale = 512\nsteps_per_day = 3\n'
    for name in ("x", "y"):
        Path(f"{name}.toml").write_text(text)
    assert cli.main(["compare", "x.toml", "y.toml", "--out", "c"]) == 0
    page = Path("c/report.html").read_text(encoding="utf-8")
    rows = re.findall(r'<tr><th scope="row">scenario</th><td>(.*?)</td><td>(.*?)</td></tr>', page)
    assert rows == [("x", "y")]  # Among the provenance, and not among the settings that differ.


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_a_name_for_people(metric: str) -> None:
    assert metric_name(metric) != metric
