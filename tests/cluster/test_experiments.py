"""Experiments go the way of all runs: cut anyhow, on workers, killed and resumed, they give the same bytes."""

from __future__ import annotations

import numpy as np
import pytest

from fleetswap import Scenario, resume, run
from fleetswap.api import RunResult
from fleetswap.cli import main
from fleetswap.fleet.shard import Keeper, run_shard
from fleetswap.job.checkpoint import Checkpoint
from fleetswap.job.installation import installation
from fleetswap.job.ledger import Ledger
from fleetswap.job.plan import Plan, plan_fleet
from fleetswap.job.shard_file import read_shard, write_shard
from fleetswap.job.storage import Storage
from fleetswap.scenario.kinds import load_any_scenario, read_scenario, write_scenario
from fleetswap.workload.lay_out import lay_out
from fleetswap_kernels.backend.choose import ONE_THREAD
from tests.cluster.begun import begin
from tests.cluster.tiny_fleet import alone, assert_same, complete

SETTINGS = {
    "allocator-test": ("region_mib=2", "zram_mib=4", "swapin_mib=1", "dontneed_mib=1", "iterations=3"),
    "breakeven": ("memory_mib=2", "rounds=2", "step_percent=100"),
}
DEVICES = 5
each_experiment = pytest.mark.parametrize("name", SETTINGS)


def laid_out(name):
    return lay_out(load_any_scenario(name, SETTINGS[name], DEVICES))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Plain runs, by name."""
    folders = {name: tmp_path_factory.mktemp("plain") / name for name in SETTINGS}
    for name, folder in folders.items():
        run(Scenario.load(name, SETTINGS[name], DEVICES), folder, threads=1, shards=1)
    return folders


@each_experiment
@pytest.mark.parametrize("shards", [2, 7])
def test_two_workers(name, shards, crew, plain, tmp_path):
    plan = plan_fleet([laid_out(name)], shards=shards, about={"kind": "run"})
    with begin(Storage(tmp_path / "run"), plan) as job:
        complete(job, crew)
    assert_same(tmp_path / "run", plain[name])


@each_experiment
def test_an_interrupted_one_goes_on(name, plain, tmp_path):
    plan = plan_fleet([laid_out(name)], shards=6, about={"kind": "run"})
    told = []

    def stop(steps):
        told.append(steps)
        if sum(told) > plan.device_steps // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), begin(Storage(tmp_path / "run"), plan) as job:
        complete(job, alone(), progress=stop)
    assert not (tmp_path / "run" / "manifest.json").exists()
    found = resume(tmp_path / "run", threads=2)
    assert isinstance(found, RunResult)
    assert_same(tmp_path / "run", plain[name])


@each_experiment
def test_from_the_command_line_on_a_cluster(name, plain, tmp_path, capsys):
    words = [word for setting in SETTINGS[name] for word in ("--set", setting)]
    words += ["--devices", str(DEVICES), "--cluster", "local", "--workers", "2", "--out", str(tmp_path / "run")]
    assert main(["run", name, *words, "--json"]) == 0
    assert_same(tmp_path / "run", plain[name])
    first = capsys.readouterr().out
    assert main(["run", "--resume", str(tmp_path / "run"), "--json"]) == 0
    found = capsys.readouterr()
    assert found.out == first
    assert "is finished already" in found.err


def test_files_are_found_from_another_folder(tmp_path, monkeypatch, crew):
    """Those of a relative name, by workers that stand elsewhere and by whoever goes on with the run."""
    (tmp_path / "mine.toml").write_text('inherits = "patch-phone"\n')
    monkeypatch.chdir(tmp_path)
    scenario = load_any_scenario("breakeven", (*SETTINGS["breakeven"], "cost=mine.toml"), 2)
    plan = plan_fleet([lay_out(scenario)], shards=3, about={"kind": "run"})
    with pytest.raises(KeyboardInterrupt), begin(Storage(tmp_path / "run"), plan):
        raise KeyboardInterrupt
    with begin(Storage(tmp_path / "other"), plan) as job:
        monkeypatch.chdir("/")
        complete(job, crew)
    assert Plan.from_json(plan.to_json(), "plan.json") == plan


def test_a_resume_that_fails_at_once_keeps_the_plan(tmp_path, capsys):
    run_folder = tmp_path / "run"
    storage = Storage(run_folder)
    plan = plan_fleet([laid_out("allocator-test")], shards=3, about={"kind": "run"})
    Ledger(storage).begin(plan, installation())
    before = sorted(path.relative_to(run_folder) for path in run_folder.rglob("*"))
    assert main(["run", "--resume", str(run_folder), "--cluster", "nothing"]) == 2
    assert "go on with --resume" in capsys.readouterr().err
    left = {path.relative_to(run_folder) for path in run_folder.rglob("*")}
    assert left >= {path for path in before if path.suffix == ".json"}
    assert isinstance(resume(run_folder, threads=1), RunResult)


class KilledAfter(Checkpoint):
    """Dies after some steps."""

    def __init__(self, storage, steps):
        super().__init__(storage, "digest", 0, 0.0)
        self.last = steps

    def keep(self, arena, fold, result, steps):
        super().keep(arena, fold, result, steps)
        if steps == self.last:
            raise KeyboardInterrupt


@each_experiment
def test_a_killed_shard_goes_on_with_what_was_kept_of_each_step(name, tmp_path, monkeypatch):
    fleet = laid_out(name)
    shard = plan_fleet([fleet], shards=2).task(1).shard

    def simulate(keeper):
        return write_shard(fleet, run_shard(fleet, shard, ONE_THREAD, keeper=keeper))

    whole = simulate(Keeper())
    with pytest.raises(KeyboardInterrupt):
        simulate(KilledAfter(Storage(tmp_path), 2))
    monkeypatch.setattr("fleetswap_kernels.backend.arena.Arena.init", lambda _: pytest.fail("began again"))
    assert simulate(Checkpoint(Storage(tmp_path), "digest", 0, 0.0)) == whole


@each_experiment
def test_a_shard_comes_back_from_its_files(name):
    fleet = laid_out(name)
    shard = run_shard(fleet, plan_fleet([fleet], shards=2).task(1).shard, ONE_THREAD)
    files = write_shard(fleet, shard)
    found = read_shard(fleet, shard.shard, files)
    assert found.by_step.keys() == shard.by_step.keys() == fleet.metrics.keys()
    assert all(np.array_equal(found.by_step[metric], shard.by_step[metric]) for metric in fleet.metrics)
    assert write_shard(fleet, found) == files


@each_experiment
def test_every_device_can_be_recounted_after_every_step(name):
    fleet = laid_out(name)
    shard = plan_fleet([fleet], shards=4).task(2).shard
    checked, plain_shard = (run_shard(fleet, shard, ONE_THREAD, check=check) for check in (True, False))
    assert write_shard(fleet, checked) == write_shard(fleet, plain_shard)


@pytest.mark.parametrize("name", [*SETTINGS, "phones"])
def test_a_scenario_is_kept_in_the_plan(name):
    scenario = load_any_scenario(name, SETTINGS.get(name, ()), DEVICES, 7)
    assert read_scenario(write_scenario(scenario)) == scenario
    plan = plan_fleet([lay_out(scenario)], shards=3)
    again = Plan.from_json(plan.to_json(), "plan.json")
    assert again == plan
    assert again.fleets[0].classes == plan.fleets[0].classes


def test_a_run_is_a_result(plain):
    found = RunResult.open(plain["allocator-test"])
    table = found.devices_table
    assert table["device"].to_pylist() == [d for d in range(DEVICES) for _ in range(2)]
    assert table["policy"].to_pylist() == table["class"].to_pylist() == ["off", "on"] * DEVICES
    # The warm-up and three iterations, six metrics, two policies.
    assert len(found._series_rows((50,))) == 4 * 6 * 2
    assert set(found.summary["steps"]) == {"off", "on"}
