"""A run's backend is chosen by name on each worker: it shows in the manifest, never in the results or the ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from fleetswap.cli import main
from fleetswap.errors import InputError
from fleetswap.fleet.backend import Chosen
from fleetswap.job.crew import Alone
from fleetswap.job.job import unfinished
from fleetswap.job.ledger import place
from fleetswap.job.plan import plan_fleet
from fleetswap.job.storage import Storage
from fleetswap_cluster.clusters import backend_on, muster
from fleetswap_cluster.dask_crew import MEMORY_SHARE
from fleetswap_kernels.backend.arena import Arena
from fleetswap_kernels.backend.contract import DeviceMemoryError
from fleetswap_kernels.backend.cpu.state import CpuBackend
from tests.cluster.begun import begin
from tests.cluster.tiny_fleet import DEVICES, TINY, alone, assert_same, complete, laid_out, tiny

PLAN = plan_fleet([laid_out()], shards=4, about={"kind": "run"})


@dataclass(frozen=True)
class Small(CpuBackend):
    """Memory for so many devices."""

    room: int = 3

    def allocate(self, fleet):
        if len(fleet.ids) > self.room:
            raise DeviceMemoryError(f"no room for {len(fleet.ids)} devices")
        return super().allocate(fleet)


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def files_of_shards(folder):
    return {path.name: path.read_bytes() for path in (folder / "unfinished" / "shards").rglob("*.parquet")}


@pytest.mark.parametrize("room", [1, 3, 7])
def test_memory_that_is_too_small_does_not_change_the_ledger(room, plain, tmp_path):
    written = []
    for name, crew in (("small", Alone(Chosen(Small(room=room), ""))), ("large", alone())):
        with begin(Storage(tmp_path / name), PLAN) as job:
            told = []
            facts = job.work(crew, told.append)
            written.append(files_of_shards(tmp_path / name))
            assert [n for n, record in job.ledger.done(PLAN) if record] == [0, 1, 2, 3]
            # What a piece did before memory ran out is not counted twice.
            assert sum(told) == PLAN.device_steps
            assert facts["computed"] == [{"backend": "cpu", "device": facts["device"]["name"], "tasks": 4}]
            complete(job, crew)
        assert_same(tmp_path / name, plain)
        assert [(s["first"], s["end"]) for s in manifest(tmp_path / name)["shards"]] == [
            (0, 10), (10, 20), (20, 30), (30, 40),
        ]  # fmt: skip
    assert written[0] == written[1]


def test_no_room_for_one_device_is_told(tmp_path):
    with pytest.raises(DeviceMemoryError, match="no room for 1 devices"), begin(Storage(tmp_path / "run"), PLAN) as job:
        complete(job, Alone(Chosen(Small(room=0), "")))
    assert list(tmp_path.iterdir()) == []


def test_pieces_of_a_shard_go_on_from_states_of_their_own(plain, tmp_path, monkeypatch):
    """Killed in its last piece, resumed on as little memory and then on enough."""
    monkeypatch.setattr("fleetswap.fleet.shard.STEPS_AT_ONCE", 1)
    run, crew = tmp_path / "run", Alone(Chosen(Small(room=3), ""))
    told = []

    def progress(steps):
        told.append(steps)
        if sum(told) >= 58:  # of 60 device-steps of the first shard
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), begin(Storage(run), PLAN) as job:
        job.work(crew, progress, checkpoint_s=0.0)
    states = {path.name for path in (run / place("checkpoints", 0)).iterdir() if path.suffix == ".json"}
    # Ten devices do not fit, and then five do not: no piece has more than two.
    assert states == {f"{piece}.json" for piece in ("0-2", "2-3", "3-5", "5-7", "7-8", "8-10")}
    begun = []
    plainly = Arena.run_steps
    monkeypatch.setattr(Arena, "run_steps", lambda arena, *words: begun.append(len(arena)) or plainly(arena, *words))
    with unfinished(Storage(run), "run") as job:
        job.work(crew, checkpoint_s=0.0)
        # The first shard has two steps of its last piece to do; the others have six steps of all pieces.
        assert begun == [2, 2] + 3 * [devices for devices in (2, 1, 2, 2, 1, 2) for _ in range(6)]
        assert not list((run / "unfinished" / "checkpoints").rglob("*.json"))
        complete(job, alone())
    assert_same(run, plain)


@pytest.mark.usefixtures("fake_gpu")
def test_a_run_that_began_on_a_gpu_ends_on_another_backend(plain, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt), begin(Storage(run), PLAN) as job:
        job.work(alone(backend="cuda"), lambda _: stop_after(run, 2), checkpoint_s=0.0)
    assert main(["run", "--resume", str(run), "--backend", "cpu", "--threads", "2"]) == 0
    assert_same(run, plain)
    told = manifest(run)
    assert told["backend"] == "cpu and cuda"
    assert {(one["backend"], one["tasks"]) for one in told["computed"]} == {("cuda", 2), ("cpu", 2)}
    assert (told["threads"], told["slots"]) == (2, 1)


def stop_after(run, tasks):
    if len(list((run / "unfinished" / "done").rglob("*.json"))) == tasks:
        raise KeyboardInterrupt


@pytest.mark.usefixtures("fake_gpu")
def test_a_gpu_of_a_worker(plain, tmp_path):
    from distributed import Client

    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as client:
        crew = muster(client, tiny(), backend="cuda")
        assert crew.devices["Fake GPU"]["backend"] == "cuda"
        with begin(Storage(tmp_path / "run"), PLAN) as job:
            complete(job, crew)
    assert_same(tmp_path / "run", plain)
    told = manifest(tmp_path / "run")
    assert told["backend"] == "cuda"
    assert told["computed"] == [{"backend": "cuda", "device": "Fake GPU", "tasks": 4}]
    assert told["devices"]["Fake GPU"]["cuda_driver"] == "13.1"


def test_a_shard_fits_its_share_of_a_workers_memory(crew):
    each = 1 << 20
    assert crew.memory_bytes
    assert crew.at_once(each) == min(CpuBackend().devices_at_once(each), crew.memory_bytes // MEMORY_SHARE // each)
    assert crew.at_once(crew.memory_bytes) == 1


def test_a_backend_that_workers_lack_is_one_line(crew):
    with pytest.raises(InputError, match=r"worker tcp://.* cannot take part \(.*backend cuda: .*install the same"):
        muster(crew.client, tiny(), backend="cuda")


def test_clusters_that_are_started_here_have_their_own_backend():
    asked = {(cluster, name) for cluster in ("local", "cuda") for name in ("auto", "cpu", "cuda")}
    found = {}
    for cluster, name in asked:
        try:
            found[cluster, name] = backend_on(cluster, name)
        except InputError as error:
            assert str(error) == f"--backend {name}: is not for --cluster {cluster}; allowed are auto, " + (  # noqa: PT017
                "cpu" if cluster == "local" else "cuda"
            )
    assert found == {
        ("local", "auto"): "cpu", ("local", "cpu"): "cpu", ("cuda", "auto"): "cuda", ("cuda", "cuda"): "cuda",
    }  # fmt: skip
    assert [backend_on("tcp://host:1", name) for name in ("auto", "cpu", "cuda")] == ["auto", "cpu", "cuda"]


def test_the_command_line_tells_the_backend(plain, tmp_path, capfd):
    words = ["run", TINY, "--devices", str(DEVICES), "--out", str(tmp_path / "run"), "--backend", "cpu"]
    assert main([*words, "--threads", "1"]) == 0
    assert "backend cpu: 1 thread(s)" in capfd.readouterr().err
    told = manifest(tmp_path / "run")
    assert (told["backend"], told["threads"], told["device"]["why"]) == ("cpu", 1, "asked for")
    assert_same(tmp_path / "run", plain)
