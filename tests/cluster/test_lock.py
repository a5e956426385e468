"""The lock: a second driver refuses, a dead one holds nothing, and no clock is asked."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from fleetswap.errors import InputError
from fleetswap.job import lock
from fleetswap.job.lock import BEATS, NAME, run_lock
from fleetswap.job.storage import Storage
from tests.cluster.programs import program, run_words, wait_for
from tests.cluster.tiny_fleet import SAME, plain_run

BEAT_S = 0.05
HOLD = "import sys, time; from fleetswap.job.lock import run_lock; from fleetswap.job.storage import Storage\n"
HOLD += "with run_lock(Storage(sys.argv[1])): print('held', flush=True); time.sleep(600)"


def test_a_second_driver_on_a_disk_refuses_until_the_first_dies(tmp_path):
    storage = Storage(tmp_path / "run")
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=rf":{first.pid} is working on this run; wait for it"), run_lock(storage):
            pass
        first.send_signal(signal.SIGKILL)
    with run_lock(storage):
        pass


def test_a_lock_on_a_disk_that_was_removed_with_the_ledger_holds_nobody_up(tmp_path):
    storage = Storage(tmp_path / "run")
    with run_lock(storage):
        storage.put("unfinished/plan.json", b"")
        shutil.rmtree(tmp_path / "run/unfinished")
        with run_lock(storage):  # whose file is another one
            assert storage.path(NAME).exists()
    assert list((tmp_path / "run").iterdir()) == []


def test_who_waited_for_a_lock_on_a_disk_does_not_take_a_removed_one(tmp_path, monkeypatch):
    """The holder removes the file between its opening and its locking by another."""
    storage, flock = Storage(tmp_path / "run"), fcntl.flock
    removals = []

    def remove_first(file, how):
        if not removals:
            removals.append(storage.path(NAME).unlink())
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with run_lock(storage):
        monkeypatch.undo()
        with pytest.raises(InputError, match="is working on this run"), run_lock(storage):
            pass


@pytest.fixture(params=["memory", "s3_bucket", "gs_bucket"])
def bucket(request):
    if request.param == "memory":
        yield Storage("memory://bucket/run")
        Storage("memory://bucket").remove()
        return
    storage = Storage(f"{request.getfixturevalue(request.param)}/lock")
    yield storage
    storage.remove()


@pytest.fixture
def beat_s(bucket):
    """Long enough for a server to answer many times."""
    return BEAT_S if bucket.url.startswith("memory:") else 0.5


def last_beat(bucket):
    """The highest number: for a moment the object before stands beside it."""
    return max(int(name.rpartition("/")[2].removesuffix(".json")) for name in bucket.names(BEATS))


@pytest.fixture
def holder_beats(bucket, monkeypatch):
    """Who watches a lock does so until its holder gave a sign of life, however busy this machine is."""
    sleep = time.sleep

    def begin():
        def until_a_beat(seconds):
            assert seconds >= 4 * BEAT_S
            before = last_beat(bucket)
            while last_beat(bucket) == before:
                sleep(BEAT_S)

        monkeypatch.setattr(lock, "time", SimpleNamespace(sleep=until_a_beat))

    return begin


def test_a_second_driver_on_an_object_store_refuses(bucket, beat_s, holder_beats):
    with run_lock(bucket, beat_s):
        holder_beats()
        for _ in range(2):
            with pytest.raises(InputError, match=rf":{os.getpid()} is working on this run"), run_lock(bucket, beat_s):
                pass
    assert bucket.names("") == []


@pytest.mark.parametrize("year", [1970, 2100])
def test_a_dead_driver_holds_nothing_whatever_its_clock_said(year, bucket, beat_s, holder_beats, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: (year - 1970) * 365.25 * 86400)
    bucket.put(f"{BEATS}/7.json", b'{"token": "dead", "holder": "a machine that is gone"}')
    with run_lock(bucket, beat_s):
        holder_beats()
        with pytest.raises(InputError), run_lock(bucket, beat_s):
            pass
    assert bucket.names("") == []


@pytest.mark.parametrize("dead", [False, True])
def test_of_those_that_come_at_the_same_time_one_holds_it(dead, bucket, beat_s):
    if dead:
        bucket.put(f"{BEATS}/7.json", b'{"token": "dead", "holder": "gone"}')
    drivers, held, refused, done = 4, [], [], threading.Event()
    together = threading.Barrier(drivers)

    def drive(number):
        storage = Storage(bucket.url)
        together.wait()
        try:
            with run_lock(storage, beat_s):
                held.append(number)
                done.wait()
        except InputError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=drive, args=(number,)) for number in range(drivers)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(held) + len(refused) == drivers)
    done.set()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, drivers - 1)
    assert all("is working on this run" in text for text in refused)
    assert bucket.names("") == []


def test_a_driver_whose_beats_stood_still_ends_and_touches_nothing(bucket, beat_s):
    """Its thread is asleep; it writes before the thread is awake again, and after."""
    asleep, first = threading.Event(), Storage(bucket.url)
    create = Storage(bucket.url).create  # which no lock guards, like that of the lock itself

    def stall(name, content):
        while asleep.is_set():
            time.sleep(0.01)
        return create(name, content)

    first.create = stall
    held = run_lock(first, beat_s)
    check = held.__enter__()
    asleep.set()
    with run_lock(bucket, beat_s) as own_check:
        bucket.put("result", b"of the second")
        before = last_beat(bucket)
        for change in (lambda: first.put("result", b"of the first"), first.remove):
            with pytest.raises(InputError, match=rf":{os.getpid()} took this run over"):
                verified(change, asleep)
        with pytest.raises(InputError, match="took this run over"):
            check()
        with pytest.raises(InputError, match="took this run over"):
            held.__exit__(None, None, None)
        wait_for(lambda: last_beat(bucket) > before)  # The second one's still beats.
        own_check()
        bucket.put("other", b"")
        assert bucket.get("result") == b"of the second"
    assert bucket.names("") == ["other", "result"]


def test_a_beat_that_arrives_after_another_driver_came_and_went_is_none(bucket, beat_s):
    """Its request was on the way all that time; nothing of the other's lock is left that it could meet."""
    asleep, waits, first = threading.Event(), threading.Event(), Storage(bucket.url)
    create = Storage(bucket.url).create

    def stall(name, content):
        while asleep.is_set():
            waits.set()
            time.sleep(0.01)
        return create(name, content)

    first.create = stall
    held = run_lock(first, beat_s)
    held.__enter__()
    asleep.set()
    waits.wait()
    with run_lock(bucket, beat_s):
        bucket.put("result", b"of the second")
    for change in (lambda: first.put("result", b"of the first"), first.remove):
        with pytest.raises(InputError, match="took this run over"):
            verified(change, asleep)
    held.__exit__(None, None, None)
    assert bucket.names("") == ["result"]
    assert bucket.get("result") == b"of the second"


def verified(change, asleep):
    """A beat that sleeps holds up a change until it wakes."""
    threading.Timer(0.2, asleep.clear).start()
    change()


DRIVER = """
import functools, sys
from fleetswap.job import job, lock
job.run_lock = functools.partial(lock.run_lock, beat_s=0.5)
from fleetswap.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("store", ["s3_bucket", "gs_bucket"])
def test_a_process_that_was_stopped_ends_in_one_line(store, request, tmp_path):
    """The second driver finishes the run meanwhile; nothing of the first is in it."""
    devices, url = 200, f"{request.getfixturevalue(store)}/stopped"
    storage = Storage(url)
    words = run_words(url, "--shards", "20", "--backend", "cpu", devices=devices)
    with program(sys.executable, "-c", DRIVER, *words, log=tmp_path / "first") as first:
        wait_for(lambda: len(storage.names("unfinished/done")) > 2)
        first.send_signal(signal.SIGSTOP)
        second = [sys.executable, "-c", DRIVER, "run", "--resume", url, "--backend", "cpu"]
        done = subprocess.run(second, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        first.send_signal(signal.SIGCONT)
        first.wait()
    told = (tmp_path / "first").read_text()
    assert first.returncode == 2
    assert "Traceback" not in told
    last = told.splitlines()[-1]
    assert last.startswith(f"fleetswap: {url}: ")
    assert "took this run over" in last
    assert storage.names("unfinished") == []
    plain = plain_run(tmp_path / "plain", devices)
    for name in SAME:
        assert storage.get(name) == (plain / name).read_bytes()
