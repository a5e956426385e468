"""The ledger: what counts as done, and what does not."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys

import pytest

from fleetswap.cli import main
from fleetswap.errors import InputError
from fleetswap.fleet.shard import run_shard
from fleetswap.job import job as jobs
from fleetswap.job.installation import installation
from fleetswap.job.job import unfinished
from fleetswap.job.ledger import CorruptShardError, Ledger, place
from fleetswap.job.plan import plan_fleet
from fleetswap.job.storage import Storage
from tests.cluster.begun import begin
from tests.cluster.programs import run_words
from tests.cluster.tiny_fleet import DEVICES, alone, assert_same, complete, laid_out, plain_run

SHARDS = 5


@pytest.fixture
def stopped(tmp_path):
    """A run that ended after all of its work, before the merge."""
    plan = plan_fleet([laid_out()], shards=SHARDS, about={"kind": "run"})
    with contextlib.suppress(RuntimeError), begin(Storage(tmp_path / "run"), plan) as job:
        job.work(alone())
        raise RuntimeError("power cut")
    return tmp_path / "run"


def resume(folder):
    """Go on with a run; devices that were simulated."""
    simulated = []

    def counted(laid_out, shard, *rest):
        simulated.append((shard.first, shard.end))
        return run_shard(laid_out, shard, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fleetswap.job.worker.run_shard", counted)
        with unfinished(Storage(folder), "run") as job:
            if job is not None:
                complete(job, alone())
    return simulated


def test_what_is_done_is_not_done_again(stopped, plain):
    assert resume(stopped) == []
    assert_same(stopped, plain)
    assert resume(stopped) == []


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "suffix", "damage"),
    [
        ("shards", ".devices.parquet", flip),
        ("shards", ".steps.parquet", lambda path: path.write_bytes(path.read_bytes()[:-1])),
        ("shards", ".devices.parquet", lambda path: path.unlink()),
        ("done", ".json", lambda path: path.write_text("{")),
        ("done", ".json", lambda path: path.write_text('{"number": 3}')),
        ("done", ".json", lambda path: path.unlink()),
    ],
)
def test_what_is_damaged_is_done_again(kind, suffix, damage, stopped, plain):
    damage(stopped / f"{place(kind, 3)}{suffix}")
    assert resume(stopped) == [(24, 32)]
    assert_same(stopped, plain)


def test_damage_that_only_the_merge_sees(stopped, plain, monkeypatch):
    work = jobs.Job.work
    damaged = []

    def work_then_damage(job, *words, **names):
        facts = work(job, *words, **names)
        if not damaged:
            flip(stopped / f"{place('shards', 0)}.steps.parquet")
            damaged.append(0)
        return facts

    monkeypatch.setattr(jobs.Job, "work", work_then_damage)
    assert resume(stopped) == [(0, 8)]
    assert_same(stopped, plain)


def test_a_run_that_was_published_but_not_tidied_up_is_finished(stopped, plain, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "finish", lambda _: (_ for _ in ()).throw(RuntimeError("power cut")))
        with pytest.raises(RuntimeError):
            resume(stopped)
    assert (stopped / "manifest.json").exists()
    assert resume(stopped) == []
    assert_same(stopped, plain)


def test_clocks_do_not_matter(stopped, plain):
    """Files from a machine whose clock is years ahead, others from one that is years behind."""
    import os

    for number, path in enumerate(sorted(stopped.rglob("*.*"))):
        at = 4_000_000_000 if number % 2 else 1_000_000
        os.utime(path, (at, at))
    assert resume(stopped) == []
    assert_same(stopped, plain)


def test_other_sources_cannot_go_on(stopped):
    path = stopped / "unfinished" / "plan.json"
    told = json.loads(path.read_text())
    told["installation"]["sources"] = "0123456789abcdef"
    path.write_text(json.dumps(told))
    with pytest.raises(
        InputError, match=r"was begun by fleetswap .* \(0123456789abcdef\), this is .*results would mix"
    ):
        resume(stopped)


def test_another_command_cannot_go_on(stopped):
    with (
        pytest.raises(InputError, match="is a run; go on with fleetswap run --resume"),
        unfinished(Storage(stopped), "sweep"),
    ):
        pass


def test_no_run(tmp_path):
    with pytest.raises(InputError, match=r"plan.json: is not there; --resume needs the directory of an unfinished run"):
        resume(tmp_path)
    assert list(tmp_path.iterdir()) == []


LEFT = {
    "nothing": [],
    "folders": ["done/", "merged/"],
    "lock": ["lock.json"],
    "half a plan beside its name": [f".plan.json.{32 * '0'}", "lock.json"],
    "lock in an object store": ["lock/7.json"],
}


@pytest.mark.parametrize("left", LEFT)
def test_what_a_driver_leaves_before_its_run_began_is_no_run(left, tmp_path, plain):
    folder = tmp_path / "run"
    for name in ("", *LEFT[left]):
        path = folder / "unfinished" / name
        (path if name.endswith("/") or not name else path.parent).mkdir(parents=True, exist_ok=True)
        if name and not name.endswith("/"):
            path.write_text("{}")
    assert main(run_words(folder)) == 0
    assert_same(folder, plain)


@pytest.mark.parametrize("name", ["file", "unfinished/file", "unfinished/done/000000/000.json"])
def test_what_is_not_of_such_a_driver_is_kept(name, tmp_path, capsys):
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    assert main(run_words(tmp_path / "run")) == 2
    assert "exists already; name a folder that does not\n" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "run").rglob("*") if p.is_file()] == [path.name]


KILLED_AT = """
import os, signal, sys
from fleetswap.job.storage import Storage

left, take = int(sys.argv[1]), Storage.take


def take_or_die(storage, path, name):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    take(storage, path, name)


Storage.take = take_or_die
from fleetswap.cli import main

sys.exit(main(sys.argv[2:]))
"""
"""A driver that dies when so many files of its answer are in their places."""


def killed_at(taken, *words):
    died = subprocess.run([sys.executable, "-c", KILLED_AT, str(taken), *words], capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL


@pytest.mark.parametrize("taken", range(5))
def test_a_run_whose_driver_was_killed_between_two_files(taken, plain, tmp_path):
    folder = tmp_path / "run"
    killed_at(taken, *run_words(folder))
    assert main(["run", "--resume", str(folder)]) == 0
    assert_same(folder, plain)


@pytest.mark.parametrize("taken", range(4))
def test_a_comparison_of_finished_runs_whose_driver_was_killed_between_two_files(taken, plain, tmp_path, capsys):
    """Nothing was simulated for it, and it is gone on with all the same."""
    other = plain_run(tmp_path / "other", DEVICES, "policy.large_swapin=off")
    words = ["compare", str(plain), str(other), "--out"]
    killed_at(taken, *words, str(tmp_path / "killed"))
    assert main(["compare", "--resume", str(tmp_path / "killed")]) == 0
    assert main([*words, str(tmp_path / "whole")]) == 0
    for name in ("comparison.parquet", "summary.json", "report.html"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "killed" / "unfinished").exists()
    capsys.readouterr()
    assert main(["digest", str(tmp_path / "killed")]) == 2
    expected = f"fleetswap: {tmp_path / 'killed'}: is a comparison; expected a finished run\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("name", ["draft.txt", ".notes", "lock/mine.txt"])
def test_a_folder_of_the_users_that_is_called_unfinished_is_kept(name, tmp_path, plain, capsys):
    """In a new directory, beside a finished run, and in one that is no run at all."""
    for folder in (tmp_path / "new", shutil.copytree(plain, tmp_path / "finished"), tmp_path / "other"):
        mine = folder / "unfinished" / name
        mine.parent.mkdir(parents=True)
        mine.write_text("mine")
        if folder.name == "other":
            (folder / "manifest.json").write_text('{"name": "an extension"}')
            assert main(["run", "--resume", str(folder)]) == 2
            assert capsys.readouterr().err.endswith("manifest.json: is not the manifest of a run\n")
        else:
            main(run_words(folder) if folder.name == "new" else ["run", "--resume", str(folder)])
        assert mine.read_text() == "mine"


BROKEN_PLANS: dict[str, str | dict[str, object]] = {
    "no JSON": "{",
    "no object": "[]",
    "nothing": "{}",
    "no installation": {"installation": {}},
    "another installation": {"installation": {"sources": "x"}},
    "installation is a list": {"installation": []},
    "no scenarios": {"scenarios": [], "digests": []},
    "scenario is a number": {"scenarios": [1]},
    "scenario is a name": {"scenarios": ["phones"]},
    "scenario is empty": {"scenarios": [{}]},
    "scenarios are a table": {"scenarios": {}},
    "fewer digests": {"digests": []},
    "no shards": {"shards": 0},
    "shards are text": {"shards": "x"},
    "more shards than devices": {"shards": 10_000},
    "check is text": {"check": "yes"},
    "about is a list": {"about": []},
    "no fleets at all": {"scenarios": [], "digests": [], "shards": 0},
    "kind is unknown": {"about": {"kind": "x"}},
    "kind is none": {"about": {"kind": None}},
}


@pytest.mark.parametrize("broken", BROKEN_PLANS)
def test_a_plan_that_is_damaged_is_told_in_one_line(broken, stopped, capsys):
    path = stopped / "unfinished" / "plan.json"
    content = BROKEN_PLANS[broken]
    path.write_text(content if isinstance(content, str) else json.dumps(json.loads(path.read_text()) | content))
    assert main(["run", "--resume", str(stopped)]) == 2
    assert capsys.readouterr().err.splitlines() == [f"fleetswap: {path}: is not the plan of a run"]


@pytest.mark.parametrize("name", ["devices.parquet", "series.parquet", "summary.json", "report.html"])
def test_a_finished_run_that_was_damaged_is_not_called_finished(name, plain, tmp_path, capsys):
    folder = shutil.copytree(plain, tmp_path / "run")
    with (folder / name).open("rb+") as file:
        file.truncate(100)
    assert main(["run", "--resume", str(folder)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"fleetswap: {folder / name}: differs from what the run wrote; run it again"
    ]


def test_a_directory_that_is_not_new(stopped):
    with (
        pytest.raises(InputError, match="exists already; continue it with --resume, or name another folder"),
        begin(Storage(stopped), plan_fleet([laid_out()])),
    ):
        pass


def test_nothing_done_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), begin(Storage(tmp_path / "run"), plan_fleet([laid_out()])):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_is_not_done_cannot_be_read(tmp_path):
    ledger, plan = Ledger(Storage(tmp_path)), plan_fleet([laid_out()], shards=2)
    ledger.begin(plan, installation())
    with pytest.raises(CorruptShardError, match="task 1"):
        ledger.read(plan, 1)
    ledger.fail(plan, 1, "no")
    assert json.loads(ledger.storage.get(f"{place('failed', 1)}.json")) == {"error": "no"}
    assert list(ledger.done(plan)) == []
