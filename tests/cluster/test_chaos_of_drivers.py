"""Chaos: schedulers and drivers are killed at random moments, and the run is gone on with until it is done.

A moment is a number of done shards and up to half a second after them, so that some are early and some are late on
machines of any speed. The kills of CI take about half a minute; `pytest -m long` does 40 of each.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack

import pytest
from distributed import Client

from fleetswap.cli import main
from fleetswap_cluster import clusters
from fleetswap_cluster.dask_crew import DaskCrew
from tests.cluster.programs import (
    FLEETSWAP,
    FOREVER_S,
    address,
    done_in,
    program,
    run_words,
    start_cluster,
    wait_for,
)
from tests.cluster.tiny_fleet import assert_same, plain_run

DEVICES, SHARDS, WORKERS = 2000, 40, 2
LATE = 28
"""A scheduler that dies so late still dies before the work is done: two workers do not do twelve in half a second."""
MANY = pytest.param(40, marks=pytest.mark.long)


def moments(kills, latest, seed):
    """Done shards and seconds after them: the first before any is done, the last one at the latest."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    between = sorted(chance.randrange(latest) for _ in range(kills - 2))
    return [(0, 0.0), *((shards, chance.uniform(0, 0.5)) for shards in (*between, latest))]


def kill_at(moment, folder, process):
    shards, seconds = moment
    begun = folder / "unfinished" / "plan.json"
    wait_for(lambda: begun.exists() and len(done_in(folder)) >= shards, process, poll_s=0.002)
    time.sleep(seconds)
    process.kill()


def words(folder, port):
    """Begin a run, or go on with it; nothing is left of one in which nothing was done."""
    if folder.exists():
        return ["run", "--resume", str(folder), "--cluster", address(port)]
    return run_words(folder, "--cluster", address(port), "--shards", str(SHARDS), devices=DEVICES)


def numbers(folder):
    """Tasks that are done."""
    return {1000 * int(path.parent.name) + int(path.stem) for path in done_in(folder)}


def files(folder):
    """Records of done tasks, which would be other files if a task were done again."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in done_in(folder)}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return plain_run(tmp_path_factory.mktemp("plain") / "run", DEVICES)


@pytest.fixture
def handed_out(monkeypatch):
    """Numbers of tasks that drivers in this process hand out."""
    seen, work = [], DaskCrew.work

    def noted(crew, orders, *rest):
        return work(crew, (seen.append(order.number) or order for order in orders), *rest)

    monkeypatch.setattr(DaskCrew, "work", noted)
    return seen


def end_of(folder, port, stderr):
    """The one message that a driver ends with; it needs nothing of Dask's own."""
    expected = f"fleetswap: the scheduler at {address(port)} is gone or does not answer; start it, or another one"
    if folder.exists():
        expected += f"; what is done is kept: go on with --resume {folder}"
    assert stderr.splitlines()[-1] == expected
    assert "Traceback" not in stderr
    assert "distributed" not in stderr


@pytest.mark.slow
@pytest.mark.parametrize("kills", [4, MANY])
def test_schedulers_that_are_killed(kills, expected, handed_out, tmp_path, capfd):
    folder = tmp_path / "run"
    for moment in moments(kills, LATE, seed=kills):
        done = numbers(folder)
        with ExitStack() as stack:
            doomed, port = start_cluster(stack, tmp_path, WORKERS)
            killer = threading.Thread(target=kill_at, args=(moment, folder, doomed))
            killer.start()
            assert main(words(folder, port)) == 2
            killer.join()
        end_of(folder, port, capfd.readouterr().err)
        assert numbers(folder) >= done
        assert done.isdisjoint(handed_out)
        handed_out.clear()
    go_on(folder, expected, handed_out, tmp_path)


def go_on(folder, expected, handed_out, tmp_path):
    """To the end, undisturbed: only what is not done is handed out."""
    done = numbers(folder)
    with ExitStack() as stack:
        _, port = start_cluster(stack, tmp_path, WORKERS)
        assert main(words(folder, port)) == 0
    assert sorted(handed_out) == sorted(set(range(SHARDS)) - done)
    assert_same(folder, expected)


@pytest.mark.slow
def test_a_scheduler_that_dies_before_the_run_begins(tmp_path, capfd, monkeypatch):
    folder = tmp_path / "run"
    with ExitStack() as stack:
        doomed, port = start_cluster(stack, tmp_path, WORKERS)
        # Called when workers are about to be asked what they have installed.
        found = clusters.installation()
        monkeypatch.setattr(clusters, "installation", lambda: doomed.kill() or found)
        assert main(words(folder, port)) == 2
    assert not folder.exists()
    end_of(folder, port, capfd.readouterr().err)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [4, MANY])
def test_drivers_that_are_killed(kills, expected, handed_out, tmp_path):
    """The last one while it merges. Scheduler and workers stay, and what workers are at they do to the end."""
    folder = tmp_path / "run"
    with ExitStack() as stack:
        _, port = start_cluster(stack, tmp_path, WORKERS)
        client = stack.enter_context(Client(address(port), timeout=FOREVER_S))
        for moment in moments(kills, SHARDS, seed=kills):
            before = files(folder)
            with program(*FLEETSWAP, *words(folder, port), log=tmp_path / "driver.log") as driver:
                kill_at(moment, folder, driver)
                assert driver.wait() == -9
            wait_for(lambda: client.run_on_scheduler(planned) == 0)
            wait_for(lambda: not any(client.run(at_work).values()))
            assert before.items() <= files(folder).items()
    assert not (folder / "manifest.json").exists()
    go_on(folder, expected, handed_out, tmp_path)


def planned(dask_scheduler):
    return len(dask_scheduler.tasks)


def at_work(dask_worker):
    return dask_worker.state.executing_count
