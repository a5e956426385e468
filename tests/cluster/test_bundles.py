"""Bundles: neighbouring shards that workers merge; the run directory holds the same bytes as without."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import signal
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.job import bundles as sizes
from fleetswap.job.bundles import Bundles
from fleetswap.job.crew import Alone
from fleetswap.job.job import unfinished
from fleetswap.job.ledger import CorruptShardError, Ledger, place
from fleetswap.job.plan import Plan, plan_fleet
from fleetswap.job.storage import Storage
from fleetswap.job.worker import merge
from fleetswap.workload.lay_out import lay_out
from fleetswap_cluster.clusters import muster, open_cluster
from tests.cluster.begun import begin
from tests.cluster.test_ledger import flip
from tests.cluster.tiny_fleet import DEVICES, alone, assert_same, complete, laid_out, plain_run, tiny


class Pair(Alone):
    """A crew of one process that merges too."""

    def work(self, orders, ledger, tasks, progress, report):
        for order in orders:
            yield merge(order) if order.merges else next(super().work([order], ledger, tasks, progress, report))


@pytest.fixture
def pair(monkeypatch):
    """Merges of four shards."""
    monkeypatch.setattr(sizes, "BUNDLE_SHARDS", 4)
    return Pair(alone().chosen, slots=2)


@pytest.fixture
def opened(monkeypatch):
    """What the merge of a run read: kinds of tasks, with the number of each."""
    read, found = Ledger.read, []

    def noted(ledger, tasks, number):
        found.append((tasks.folder, number))
        return read(ledger, tasks, number)

    monkeypatch.setattr(Ledger, "read", noted)
    return found


@given(devices=st.integers(1, 10**8), shards=st.integers(1, 10**6), policies=st.integers(1, 3), data=st.data())
def test_a_bundle_is_neighbours_of_one_policy(devices, shards, policies, data):
    plan = Plan((tiny().model_copy(update={"devices": devices}),) * policies, min(shards, devices))
    bundles = Bundles(plan)
    number = data.draw(st.integers(0, len(bundles) - 1))
    found, members = bundles.task(number), [plan.task(n) for n in bundles.members(number)]
    assert (found.shard.number, found.fleet) == divmod(number, policies)
    assert {task.fleet for task in members} == {found.fleet}
    assert [task.shard.end for task in members[:-1]] == [task.shard.first for task in members[1:]]
    assert (members[0].shard.first, members[-1].shard.end) == (found.shard.first, found.shard.end)
    assert 1 <= len(members) <= sizes.BUNDLE_SHARDS
    # One more than devices can be cut evenly into.
    assert len(members) == 1 or found.shard.end - found.shard.first <= sizes.BUNDLE_DEVICES + len(members)
    after = bundles.task(min(number + policies, len(bundles) - 1))
    assert after.shard.first in (found.shard.end, found.shard.first)
    assert bundles.task(0).shard.first == 0
    assert bundles.task(len(bundles) - 1).shard.end == devices


@pytest.mark.parametrize(
    ("devices", "shards", "each", "worthwhile"),
    [
        (100_000_000, 1_000_000, 64, True),
        (1_000_000, 1_000, 20, True),
        # A bundle of large shards would save little.
        (1_000_000, 150, 3, False),
        # Few shards are soon merged.
        (40, 40, 64, False),
    ],
)
def test_where_bundles_pay(devices, shards, each, worthwhile):
    bundles = Bundles(Plan((lay_out(tiny().model_copy(update={"devices": devices})),), shards))
    assert (bundles.each, bundles.worthwhile) == (each, worthwhile)


@pytest.mark.parametrize("shards", [16, 19, DEVICES])
def test_the_bytes_are_the_same(shards, pair, opened, plain, tmp_path):
    lines = []
    with begin(Storage(tmp_path / "run"), plan_fleet([laid_out()], shards=shards)) as job:
        complete(job, pair, report=lines.append)
    assert_same(tmp_path / "run", plain)
    assert lines == ["merging 4 shards at a time, on the workers"]
    # Workers read every shard once, the merge every bundle.
    merged = -(-shards // 4)
    assert opened == [*(("", n) for n in range(shards)), *(("bundles/", n) for n in range(merged))]


def test_a_sweep(pair, opened, tmp_path):
    scenarios = [tiny(), tiny(DEVICES, "policy.large_swapin=off")]
    with begin(Storage(tmp_path / "run"), plan_fleet([lay_out(scenario) for scenario in scenarios], shards=20)) as job:
        job.work(pair)
        found = [(policy, shard.shard.first, shard.shard.end) for policy, shard in job.results()]
        assert found == [(policy, first, first + 8) for first in range(0, DEVICES, 8) for policy in (0, 1)]
        assert opened[-1] == ("bundles/", 9)


def stopped(folder, crew):
    """A run that ended after all of its work and the merges of workers, before its files were written."""
    with (
        contextlib.suppress(RuntimeError),
        begin(Storage(folder), plan_fleet([laid_out()], about={"kind": "run"}, shards=20)) as job,
    ):
        job.work(crew)
        raise RuntimeError("power cut")


@pytest.mark.parametrize("with_pair", [False, True])
def test_what_was_merged_is_not_merged_again(with_pair, pair, opened, plain, tmp_path):
    stopped(tmp_path / "run", pair)
    opened.clear()
    with unfinished(Storage(tmp_path / "run"), "run") as job:
        complete(job, pair if with_pair else alone())
    assert_same(tmp_path / "run", plain)
    assert opened == [("bundles/", n) for n in range(5)]


@pytest.mark.parametrize(("kind", "suffix"), [("shards", ".steps.parquet"), ("done", ".json")])
def test_a_damaged_bundle_is_merged_again(kind, suffix, pair, opened, plain, tmp_path):
    stopped(tmp_path / "run", pair)
    opened.clear()
    flip(tmp_path / "run" / f"{place('bundles/' + kind, 3)}{suffix}")
    with unfinished(Storage(tmp_path / "run"), "run") as job:
        complete(job, pair)
    assert_same(tmp_path / "run", plain)
    assert opened[:4] == [("", n) for n in range(12, 16)]


def test_without_a_crew_that_merges_shards_are_read(pair, opened, plain, tmp_path):
    stopped(tmp_path / "run", pair)
    opened.clear()
    flip(tmp_path / "run" / f"{place('bundles/shards', 3)}.steps.parquet")
    with unfinished(Storage(tmp_path / "run"), "run") as job:
        complete(job, alone())
    assert_same(tmp_path / "run", plain)
    assert opened == [*(("bundles/", n) for n in range(4)), *(("", n) for n in range(20))]


def test_a_damaged_shard_that_a_merge_finds(pair, plain, tmp_path, monkeypatch):
    """Simulated anew, and merged then."""
    run, simulated = tmp_path / "run", []
    read = Ledger.read

    def damage_once(ledger, tasks, number):
        if not simulated and (tasks.folder, number) == ("", 9):
            flip(run / f"{place('shards', 9)}.devices.parquet")
            simulated.append(number)
        return read(ledger, tasks, number)

    monkeypatch.setattr(Ledger, "read", damage_once)
    with begin(Storage(run), plan_fleet([laid_out()], shards=20)) as job:
        complete(job, pair)
    assert_same(run, plain)
    assert simulated == [9]


def test_the_error_of_a_merge_comes_back_from_another_process():
    error = pickle.loads(pickle.dumps(CorruptShardError("bundles/", 3)))  # noqa: S301 (our own)
    assert (error.folder, error.number) == ("bundles/", 3)
    assert str(error) == "task bundles/3: its files are not what was written"


@pytest.mark.slow
def test_workers_that_are_killed_while_they_merge(tmp_path):
    devices = 260
    expected = plain_run(tmp_path / "plain", devices)
    killed, some = [], random.Random(1)  # noqa: S311 (no secret)
    with open_cluster("local", 2) as client:
        crew = muster(client, tiny())

        def kill():
            nannies = [nanny for nanny in client.cluster.workers.values() if nanny.process and nanny.process.pid]
            if nannies:
                os.kill(some.choice(nannies).process.pid, signal.SIGKILL)
                killed.append(0)

        def watch(line):
            if line.startswith("merging 64 shards"):
                for at in (0.0, 0.2, 0.5):
                    threading.Timer(at, kill).start()

        with begin(Storage(tmp_path / "run"), plan_fleet([laid_out(devices)], shards=devices)) as job:
            complete(job, crew, report=watch)
    assert killed
    assert_same(tmp_path / "run", expected)
