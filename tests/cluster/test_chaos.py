"""Chaos: workers are killed at random while they work; nothing is lost, nothing is counted twice.

The 20 kills of CI take about half a minute; `pytest -m long` does 200, in about five minutes.
"""

from __future__ import annotations

import os
import random
import signal
import threading

import pyarrow.parquet as pq
import pytest

from fleetswap.fleet.shard import STEPS_AT_ONCE
from fleetswap.job.plan import plan_fleet
from fleetswap.job.storage import Storage
from fleetswap_cluster.clusters import muster, open_cluster
from tests.cluster.begun import begin
from tests.cluster.tiny_fleet import assert_same, complete, laid_out, plain_run, tiny

WORKERS = 3
STEPS = f"steps_per_day={3 * STEPS_AT_ONCE}"
"""So many that the states of a shard are kept twice before it ends."""


class Killer:
    """Kills a random worker some time after each done shard, until there were enough kills."""

    def __init__(self, cluster, kills, seed):
        self.cluster = cluster
        self.left = kills
        self.random = random.Random(seed)  # noqa: S311 (no secret)
        self.lock = threading.Lock()

    def __call__(self, _steps):
        threading.Timer(self.random.uniform(0, 0.5), self.kill).start()

    def kill(self):
        with self.lock:
            nannies = [nanny for nanny in self.cluster.workers.values() if nanny.process and nanny.process.pid]
            if self.left and nannies:
                os.kill(self.random.choice(nannies).process.pid, signal.SIGKILL)
                self.left -= 1


@pytest.mark.parametrize(
    ("kills", "devices"), [(20, 400), pytest.param(200, 4000, marks=[pytest.mark.long, pytest.mark.slow])]
)
def test_random_kills_change_nothing(kills, devices, tmp_path):
    expected = plain_run(tmp_path / "plain", devices, STEPS)
    with open_cluster("local", WORKERS) as client:
        crew = muster(client, tiny())
        killer = Killer(client.cluster, kills, seed=kills)
        with begin(Storage(tmp_path / "run"), plan_fleet([laid_out(devices, STEPS)], shards=2 * kills)) as job:
            # States are kept whenever they can be, so that kills hit their writing too.
            complete(job, crew, progress=killer, checkpoint_s=0.0)
    assert killer.left == 0
    assert_same(tmp_path / "run", expected)
    assert pq.read_table(tmp_path / "run" / "devices.parquet")["device"].to_pylist() == list(range(devices))
