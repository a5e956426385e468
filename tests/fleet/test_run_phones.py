"""`fleetswap run` of phones: the run directory, its digest, and what is left of a run that did not finish."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fleetswap.cli import main
from fleetswap.execution import work
from fleetswap.fleet.shard import run_shard
from fleetswap.workload.metrics import METRICS, columns

TINY = ("--set", "page_scale=512", "--set", "steps_per_day=4")
TINY += ("--set", "behaviour.switches_per_day=12", "--set", "behaviour.switches_spread_percent=0")
FILES = {"manifest.json", "devices.parquet", "series.parquet", "summary.json", "report.html"}


def run(folder, *words):
    return main(["run", "phones", *TINY, "--devices", "21", "--out", str(folder), *words])


def digest(folder, capsys):
    capsys.readouterr()
    assert main(["digest", str(folder)]) == 0
    return capsys.readouterr().out.strip()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert run(folder, "--shards", "1", "--threads", "1", "--check") == 0
    return folder


def test_a_run_directory_explains_itself(whole):
    assert {path.name for path in whole.iterdir()} == FILES
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["seed"] == 0
    assert manifest["page_scale"] == 512
    assert manifest["scenario"]["behaviour"]["switches_per_day"] == 12
    assert manifest["files"].keys() == FILES - {"manifest.json"}
    table = pq.read_table(whole / "devices.parquet")
    assert table.column("device").to_pylist() == list(range(21))
    assert set(table.column_names) >= {"class", *columns(), *METRICS}


def test_counters_are_those_of_the_real_device(whole):
    table = pq.read_table(whole / "devices.parquet")
    assert all(n % 512 == 0 for n in table.column("pgfault").to_pylist())
    assert table.column("app_switches").to_pylist() == [12] * 21
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["metrics"]["all"]["pgmajfault"]["total"] == sum(table.column("pgmajfault").to_pylist())
    by_class = [n for name, n in summary["devices"].items() if name != "all"]
    assert sum(by_class) == summary["devices"]["all"] == 21


def test_quantiles_of_a_run_are_exact(whole):
    table = pq.read_table(whole / "devices.parquet").to_pydict()
    summary = json.loads((whole / "summary.json").read_text())
    devices = range(len(table["device"]))
    for where, metrics in summary["metrics"].items():
        for name, figures in metrics.items():
            based = METRICS[name].base is None or table[f"{name}_base"]
            own = sorted(
                table[name][d] for d in devices if where in ("all", table["class"][d]) and (based is True or based[d])
            )
            # Nearest rank: of n values the one with ceil(n p / 100) values up to it.
            expected = {f"p{p}": own[math.ceil(len(own) * p / 100) - 1] for p in (5, 50, 95, 99)}
            assert {key: n for key, n in figures.items() if key != "total"} == expected, (where, name)


def test_the_series_adds_up_to_the_run(whole):
    series = pq.read_table(whole / "series.parquet").to_pylist()
    summary = json.loads((whole / "summary.json").read_text())
    for metric in ("pgmajfault", "pswpin", "kills"):
        steps = [row["total"] for row in series if row["metric"] == metric and row["class"] == "all"]
        assert len(steps) == 4
        assert sum(steps) == summary["metrics"]["all"][metric]["total"]


@pytest.mark.parametrize("shards", [1, 7])
def test_shards_and_backends_change_nothing(whole, shards, backend_words, tmp_path, capsys):
    assert run(tmp_path / "cut", "--shards", str(shards), *backend_words) == 0
    assert digest(tmp_path / "cut", capsys) == digest(whole, capsys)
    assert (tmp_path / "cut" / "summary.json").read_bytes() == (whole / "summary.json").read_bytes()
    assert pq.read_table(tmp_path / "cut" / "devices.parquet").equals(pq.read_table(whole / "devices.parquet"))
    assert pq.read_table(tmp_path / "cut" / "series.parquet").equals(pq.read_table(whole / "series.parquet"))


def test_another_seed_is_another_run(whole, tmp_path, capsys):
    assert run(tmp_path / "other", "--seed", "1") == 0
    assert digest(tmp_path / "other", capsys) != digest(whole, capsys)


def test_a_full_disk_ends_in_one_line_that_says_how_to_go_on(whole, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = tmp_path / "full"
    with monkeypatch.context() as patched:
        patched.setattr(work, "write_manifest", full)
        assert run(folder) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith(f"fleetswap: {folder}")
    assert message.endswith(
        f"cannot be written: No space left on device; what is done is kept: go on with --resume {folder}"
    )
    assert main(["digest", str(folder)]) == 2
    assert main(["run", "--resume", str(folder)]) == 0
    assert digest(folder, capsys) == digest(whole, capsys)


def test_a_killed_run_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "killed"
    words = [sys.executable, "-m", "fleetswap", "run", "phones", *TINY, "--devices", "180", "--shards", "60"]
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    with subprocess.Popen(
        [*words, "--out", str(folder)],
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        done = folder / "unfinished" / "done"
        while len(list(done.rglob("*.json"))) < 3 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    records = {path: path.read_bytes() for path in done.rglob("[0-9]*.json")}
    assert 3 <= len(records) < 60
    assert main(["digest", str(folder)]) == 2
    assert run(folder) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["run", "--resume", str(folder), "--devices", "9"]) == 2
    assert "--devices: is in the directory of --resume" in capsys.readouterr().err
    counted = []
    monkeypatch.setattr("fleetswap.job.worker.run_shard", lambda *_: counted.append(_) or run_shard(*_))
    assert main(["run", "--resume", str(folder), "--json"]) == 0
    assert len(counted) == 60 - len(records)
    assert json.loads(capsys.readouterr().out)["devices"]["all"] == 180
    assert {path.name for path in folder.iterdir()} == FILES


def test_interrupting_a_run_leaves_nothing(tmp_path, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fleetswap.job.worker.run_shard", interrupt)
    assert run(tmp_path / "stopped") == 130
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err.strip().endswith("interrupted")


def test_a_broken_device_fails_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fleetswap.fleet.shard.Checker.violations", lambda _: ["pool_bytes: 1, recounted 2"])
    assert run(tmp_path / "broken", "--check") == 1
    assert "pool_bytes: 1, recounted 2" in capsys.readouterr().err
    assert not (tmp_path / "broken").exists()
