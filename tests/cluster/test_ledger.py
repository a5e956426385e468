"""The ledger: what counts as done, and what does not."""

from __future__ import annotations

import contextlib
import json

import pytest

from fleetswap.errors import InputError
from fleetswap.fleet.shard import run_shard
from fleetswap.job import job as jobs
from fleetswap.job.installation import installation
from fleetswap.job.job import unfinished
from fleetswap.job.ledger import CorruptShardError, Ledger, place
from fleetswap.job.plan import plan_fleet
from fleetswap.job.storage import Storage
from tests.cluster.begun import begin
from tests.cluster.tiny_fleet import alone, assert_same, complete, laid_out

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
