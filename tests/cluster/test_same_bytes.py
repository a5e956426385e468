"""Whatever works on a fleet, and however it is cut, the run directory holds the same bytes."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from fleetswap.cli import main
from fleetswap.job.plan import plan_fleet
from fleetswap.job.storage import Storage
from fleetswap_cluster.clusters import muster, open_cluster
from tests.cluster.begun import begin
from tests.cluster.tiny_fleet import DEVICES, alone, assert_same, complete, laid_out, tiny


@pytest.mark.parametrize(("shards", "threads"), [(1, 1), (7, 2), (DEVICES, 1)])
def test_this_process(shards, threads, plain, tmp_path):
    with begin(Storage(tmp_path / "run"), plan_fleet([laid_out()], shards=shards)) as job:
        complete(job, alone(threads))
    assert_same(tmp_path / "run", plain)
    assert len(json.loads((tmp_path / "run" / "manifest.json").read_text())["shards"]) == shards


@pytest.mark.parametrize("shards", [1, 11])
def test_two_workers(crew, shards, plain, tmp_path):
    with begin(Storage(tmp_path / "run"), plan_fleet([laid_out()], shards=shards)) as job:
        complete(job, crew)
    assert_same(tmp_path / "run", plain)


def test_other_numbers_of_workers(plain, tmp_path):
    with open_cluster("local", 1) as client:
        for workers in (1, 5):
            client.cluster.scale(workers)
            client.wait_for_workers(workers)
            found = muster(client, tiny())
            assert found.slots == workers
            plan = plan_fleet([laid_out()], found.at_once, found.slots)
            with begin(Storage(tmp_path / str(workers)), plan) as job:
                complete(job, found)
            assert_same(tmp_path / str(workers), plain)


def test_threads_of_one_process_and_an_object_store(plain, tmp_path):
    from distributed import Client

    storage = Storage("memory://store/run")
    with Client(n_workers=1, threads_per_worker=3, processes=False, dashboard_address=":0") as client:
        crew = muster(client, tiny())
        assert crew.slots == 3
        with begin(storage, plan_fleet([laid_out()], shards=9)) as job:
            complete(job, crew)
    for name in storage.names(""):
        (tmp_path / name).write_bytes(storage.get(name))
    assert_same(tmp_path, plain)


@pytest.mark.parametrize("bucket", ["s3_bucket", "gs_bucket"])
def test_workers_that_write_to_a_bucket(bucket, request, plain, tmp_path):
    """From the command line, with processes that open the store themselves; stopped and resumed."""
    run = f"{request.getfixturevalue(bucket)}/run"
    plan = plan_fleet([laid_out()], shards=6, about={"kind": "run"})
    told = []

    def stop(steps):
        told.append(steps)
        if sum(told) > plan.device_steps // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), begin(Storage(run), plan) as job:
        complete(job, alone(), progress=stop)
    storage = Storage(run)
    assert storage.get("manifest.json") is None
    assert main(["run", "--resume", run, "--cluster", "local", "--workers", "2"]) == 0
    for name in storage.names(""):
        (tmp_path / name).write_bytes(storage.get(name))
    assert_same(tmp_path, plain)


def test_row_groups_do_not_tell_shards(monkeypatch, plain, tmp_path):
    monkeypatch.setattr("fleetswap.fleet.fleet_directory.ROW_GROUP", 16)
    for shards in (1, 3, 13):
        with begin(Storage(tmp_path / str(shards)), plan_fleet([laid_out()], shards=shards)) as job:
            complete(job, alone())
    written = {(tmp_path / str(shards) / "devices.parquet").read_bytes() for shards in (1, 3, 13)}
    assert len(written) == 1
    file = pq.ParquetFile(tmp_path / "13" / "devices.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [16, 16, 8]
    assert file.read().equals(pq.read_table(plain / "devices.parquet"))
