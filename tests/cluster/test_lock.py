"""The lock: a second driver refuses, a dead one holds nothing, and no clock is asked."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from fleetswap.errors import InputError
from fleetswap_cluster.lock import NAME, run_lock
from fleetswap_cluster.storage import Storage

BEAT_S = 0.05
HOLD = "import sys, time; from fleetswap_cluster.lock import run_lock; from fleetswap_cluster.storage import Storage\n"
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


@pytest.fixture
def bucket():
    yield Storage("memory://bucket/run")
    Storage("memory://bucket").remove()


def test_a_second_driver_on_an_object_store_refuses(bucket):
    with run_lock(bucket, BEAT_S):
        with pytest.raises(InputError, match="is working on this run"), run_lock(bucket, BEAT_S):
            pass
        with pytest.raises(InputError, match="is working on this run"), run_lock(bucket, BEAT_S):
            pass
    assert bucket.names("") == []


@pytest.mark.parametrize("year", [1970, 2100])
def test_a_dead_driver_holds_nothing_whatever_its_clock_said(year, bucket, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: (year - 1970) * 365.25 * 86400)
    bucket.put(NAME, b'{"token": "dead", "beat": 7, "holder": "a machine that is gone"}')
    with run_lock(bucket, BEAT_S), pytest.raises(InputError), run_lock(bucket, BEAT_S):
        pass


def test_of_two_that_take_over_one_refuses(bucket, monkeypatch):
    bucket.put(NAME, b'{"token": "dead", "beat": 7, "holder": "gone"}')
    put = Storage.put
    monkeypatch.setattr(
        Storage, "put", lambda self, name, content: put(self, name, content) or put(self, name, b'{"token": "other"}')
    )
    with pytest.raises(InputError, match="another driver is working"), run_lock(bucket, BEAT_S):
        pass
