"""The Python interface on a client that the caller brought, which stays open."""

from __future__ import annotations

import contextlib

import pytest

from fleetswap import api
from fleetswap.api import Scenario
from fleetswap.job.plan import plan_fleet
from fleetswap.job.storage import Storage
from tests.cluster.begun import begin
from tests.cluster.tiny_fleet import DEVICES, TINY, assert_same, laid_out


def test_a_run_on_a_client(crew, plain, tmp_path):
    result = api.run(Scenario.load(TINY, devices=DEVICES), tmp_path / "run", cluster=crew.client)
    assert result.summary["devices"]["all"] == DEVICES
    assert_same(tmp_path / "run", plain)
    assert crew.client.status == "running"


def test_a_run_that_is_resumed_on_a_client(crew, plain, tmp_path):
    told = []

    def progress(steps):
        told.append(steps)
        if len(told) == 2:
            raise RuntimeError("power cut")

    plan = plan_fleet([laid_out()], shards=4, about={"kind": "run"})
    with contextlib.suppress(RuntimeError), begin(Storage(tmp_path / "run"), plan) as job:
        job.work(crew, progress)
    assert len(told) == 2
    assert not (tmp_path / "run" / "manifest.json").exists()
    api.resume(tmp_path / "run", cluster=crew.client)
    assert_same(tmp_path / "run", plain)
    assert api.resume(tmp_path / "run").folder == tmp_path / "run"


def test_a_name_that_no_cluster_has(tmp_path):
    with pytest.raises(ValueError, match="--cluster ring: is not possible"):
        api.run(TINY, tmp_path / "run", cluster="ring")
