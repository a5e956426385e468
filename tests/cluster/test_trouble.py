"""Trouble on a cluster: hanging, late, foreign and missing workers, a full disk, a broken device."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from dataclasses import replace

import pytest

from fleetswap.errors import InputError
from fleetswap.fleet.shard import BrokenDeviceError
from fleetswap.job import installation as installations
from fleetswap.job.job import unfinished
from fleetswap.job.plan import plan_fleet
from fleetswap.job.storage import Storage
from fleetswap_cluster.clusters import muster, open_cluster
from fleetswap_cluster.dispatcher import Patience
from fleetswap_cluster.scheduler import ClusterError, ask
from tests.cluster.begun import begin
from tests.cluster.programs import address, free_port, scheduler, worker
from tests.cluster.tiny_fleet import assert_same, complete, laid_out, tiny

PLAN = plan_fleet([laid_out()], shards=12, about={"kind": "run"})
HASTY = Patience(slow_factor=3.0, slow_s=1.0, no_worker_s=1.0)


class AfterSome:
    """Does something once, after some shards are done."""

    def __init__(self, what, shards=2):
        self.what = what
        self.left = shards

    def __call__(self, _steps):
        self.left -= 1
        if self.left == 0:
            self.what()


def some_pid(client):
    return next(iter(client.cluster.workers.values())).process.pid


def test_a_hanging_worker_is_reported_and_done_without(plain, tmp_path):
    lines = []
    with open_cluster("local", 2) as client:
        crew = replace(muster(client, tiny()), patience=HASTY)
        pid = some_pid(client)
        with begin(Storage(tmp_path / "run"), PLAN) as job:
            stop = AfterSome(lambda: os.kill(pid, signal.SIGSTOP))
            complete(job, crew, progress=stop, report=lines.append)
        os.kill(pid, signal.SIGKILL)
    assert_same(tmp_path / "run", plain)
    assert any("devices" in line and " on tcp://127.0.0.1" in line and "others about" in line for line in lines)


def test_a_worker_that_dask_gave_up_is_started_again(plain, tmp_path):
    """As Dask does with one that dies while it starts; here it is the only one."""
    with open_cluster("local", 1) as client:
        crew = muster(client, tiny())
        (nanny,) = client.cluster.workers.values()
        with begin(Storage(tmp_path / "run"), PLAN) as job:
            complete(job, crew, progress=AfterSome(lambda: client.sync(nanny.close)))
    assert_same(tmp_path / "run", plain)


def test_a_worker_that_joins_late_works(plain, tmp_path):
    with open_cluster("local", 1) as client:
        crew = muster(client, tiny())
        with begin(Storage(tmp_path / "run"), PLAN) as job:

            def join():
                client.cluster.scale(2)
                client.wait_for_workers(2)

            complete(job, crew, progress=AfterSome(join))
            assert len(client.scheduler_info(n_workers=-1)["workers"]) == 2
    assert_same(tmp_path / "run", plain)


def test_a_full_disk_stops_the_run_which_then_goes_on(crew, plain, tmp_path):
    """A tiny file system would need root: the workers' storage refuses instead, as the kernel would."""
    run = tmp_path / "run"
    crew.client.run(fill, 3)
    with (
        pytest.raises(
            InputError, match=r"cannot be written: No space left on device; what is done is kept: .*--resume"
        ),
        begin(Storage(run), PLAN) as job,
    ):
        complete(job, crew)
    crew.client.run(empty)
    assert list((run / "unfinished" / "done").rglob("*.json"))
    with unfinished(Storage(run), "run") as job:
        complete(job, crew)
    assert_same(run, plain)


def fill(after):
    """Make the storage of this process refuse after some writes."""
    import errno
    from pathlib import Path

    left = [after]
    Path.really_write_bytes = Path.write_bytes

    def write_bytes(path, content):
        left[0] -= 1
        if left[0] < 0:
            with path.open("wb") as file:
                file.write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return path.really_write_bytes(content)

    Path.write_bytes = write_bytes


def empty():
    from pathlib import Path

    Path.write_bytes = Path.really_write_bytes


def test_a_foreign_worker_is_refused_before_the_start(crew, monkeypatch):
    other = replace(installations.installation(), numpy="1.0", sources="0123456789abcdef")
    monkeypatch.setattr("fleetswap_cluster.clusters.installation", lambda: other)
    with pytest.raises(InputError, match=r"worker tcp://.* has sources .*, not 0123456789abcdef, numpy .*, not 1\.0"):
        muster(crew.client, tiny())


def test_workers_that_do_not_fit_are_sent_away():
    """One whose packages changed after the start, and one that sees another folder under the run's name."""
    lines = []
    with open_cluster("local", 2) as client:
        crew = replace(muster(client, tiny()), patience=HASTY)
        client.run(pretend, workers=[next(iter(client.scheduler_info()["workers"]))])
        with (
            pytest.raises(ClusterError, match=r"^no worker for 1 s; start workers$"),
            begin(Storage("memory://only-here/run"), PLAN) as job,
        ):
            complete(job, crew, report=lines.append)
    assert sum("is sent away" in line and "has numpy 1.0" in line for line in lines) == 1
    assert sum("memory://only-here/run/unfinished/plan.json: is not there" in line for line in lines) == 1
    assert Storage("memory://only-here").is_empty()


def pretend():
    """Let this worker have another version of NumPy."""
    from dataclasses import replace

    from fleetswap.job import worker

    other = replace(worker.installation(), numpy="1.0")
    worker.installation = lambda: other


def test_a_broken_device_ends_the_run(crew, tmp_path):
    crew.client.run(break_devices)
    try:
        with (
            pytest.raises(BrokenDeviceError, match="device 7 after step 0: pool_bytes: 1, recounted 2"),
            begin(Storage(tmp_path / "run"), PLAN) as job,
        ):
            complete(job, crew)
    finally:
        crew.client.run(mend_devices)


def break_devices():
    from fleetswap.fleet.shard import BrokenDeviceError
    from fleetswap.job import worker

    worker.really_run_shard = worker.run_shard

    def broken(*_):
        raise BrokenDeviceError("device 7 after step 0: pool_bytes: 1, recounted 2")

    worker.run_shard = broken


def mend_devices():
    from fleetswap.job import worker

    worker.run_shard = worker.really_run_shard


def test_a_shard_that_always_fails_ends_the_run(crew, tmp_path):
    crew.client.run(fail)
    try:
        with (
            pytest.raises(ClusterError, match=r"devices 0 to \d+ failed too often: ZeroDivisionError: "),
            begin(Storage(tmp_path / "run"), plan_fleet([laid_out()], shards=1)) as job,
        ):
            complete(job, replace(crew, patience=Patience(retries=2)))
    finally:
        crew.client.run(mend_devices)


def fail():
    from fleetswap.job import worker

    worker.really_run_shard = worker.run_shard
    worker.run_shard = lambda *_: 1 // 0


def test_a_result_counts_though_its_worker_died_since(crew, plain, tmp_path, monkeypatch):
    """Dask calls a future lost when the worker that held the result dies, also after the client has it."""
    monkeypatch.setattr("distributed.Future.status", property(lambda _: "lost"))
    with begin(Storage(tmp_path / "run"), PLAN) as job:
        complete(job, crew)
    assert_same(tmp_path / "run", plain)


def test_a_task_whose_answer_is_lost_is_done_again(plain, tmp_path, monkeypatch):
    from distributed.client import as_completed

    track, lost = as_completed._track_future, []

    async def lose_one(self, future):
        if future.key.startswith("shard-5-") and not lost:
            lost.append(future)
        else:
            await track(self, future)

    monkeypatch.setattr(as_completed, "_track_future", lose_one)
    with open_cluster("local", 1) as client:
        crew = replace(muster(client, tiny()), patience=HASTY)
        with begin(Storage(tmp_path / "run"), PLAN) as job:
            complete(job, crew)
    assert len(lost) == 1
    assert_same(tmp_path / "run", plain)


def test_the_number_of_tasks_in_flight_is_bounded(crew, tmp_path):
    before = len(crew.client.futures)
    seen = []
    stop = threading.Event()

    def watch():
        while not stop.wait(0.02):
            seen.append(len(crew.client.futures) - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with begin(Storage(tmp_path / "run"), plan_fleet([laid_out()], shards=40)) as job:
        complete(job, crew)
    stop.set()
    watcher.join()
    # Two for each of two workers; the client lets one go a moment after its result is taken.
    assert 3 <= max(seen) <= 8


def test_nothing_is_awaited_from_a_scheduler_that_is_gone(tmp_path):
    """What a connection of its own would go on trying for, for minutes."""
    port = free_port()
    with scheduler(tmp_path, port) as doomed, worker(tmp_path, port), open_cluster(address(port)) as client:

        async def never():
            doomed.send_signal(signal.SIGKILL)
            await asyncio.sleep(3600)

        with pytest.raises(ClusterError, match=f"the scheduler at tcp://127.0.0.1:{port} is gone or does not answer"):
            ask(client, never, seconds=3600)
