"""States of shards under way: a killed shard goes on from the last one, to the same bytes."""

from __future__ import annotations

import pytest

from fleetswap.fleet.shard import STEPS_AT_ONCE, Keeper, run_shard
from fleetswap.job.checkpoint import Checkpoint
from fleetswap.job.ledger import place
from fleetswap.job.plan import plan_fleet
from fleetswap.job.shard_file import write_shard
from fleetswap.job.storage import Storage
from fleetswap_kernels.backend.choose import ONE_THREAD
from tests.cluster.tiny_fleet import laid_out

STEPS = 3 * STEPS_AT_ONCE - 1
PLAN = plan_fleet([laid_out(12, f"steps_per_day={STEPS}")], shards=2)
NUMBER = 1


class KilledAfter(Checkpoint):
    """Dies after some steps."""

    def __init__(self, storage, steps):
        super().__init__(storage, PLAN.digest, NUMBER, 0.0)
        self.last = steps

    def keep(self, arena, fold, result, steps):
        super().keep(arena, fold, result, steps)
        if steps == self.last:
            raise KeyboardInterrupt


def simulate(keeper):
    """Files of the shard, and device-steps that were simulated or skipped."""
    told = []
    fleet = PLAN.fleets[0]
    shard = run_shard(fleet, PLAN.task(NUMBER).shard, ONE_THREAD, told.append, False, keeper)
    return write_shard(fleet, shard), sum(told)


def checkpoint(storage, interval_s=0.0, digest=PLAN.digest):
    return Checkpoint(storage, digest, NUMBER, interval_s)


@pytest.fixture(scope="module")
def whole():
    return simulate(Keeper())[0]


def state_names(tmp_path):
    return sorted(path.name for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("steps", [STEPS_AT_ONCE, 2 * STEPS_AT_ONCE, STEPS])
def test_a_killed_shard_goes_on(steps, whole, tmp_path, monkeypatch):
    storage = Storage(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        simulate(KilledAfter(storage, steps))
    assert state_names(tmp_path) == [
        f"6-12.{steps}.memory.zst", f"6-12.{steps}.states.parquet", f"6-12.{steps}.steps.parquet", "6-12.json",
    ]  # fmt: skip
    monkeypatch.setattr("fleetswap_kernels.backend.arena.Arena.init", lambda _: pytest.fail("began again"))
    keeper = checkpoint(storage)
    assert simulate(keeper) == (whole, 6 * STEPS)
    keeper.drop()
    assert state_names(tmp_path) == []


def test_a_state_is_kept_at_an_interval(whole, tmp_path):
    storage = Storage(tmp_path)
    assert simulate(checkpoint(storage, 1000.0))[0] == whole
    assert state_names(tmp_path) == []


@pytest.mark.parametrize("name", ["memory.zst", "steps.parquet", "states.parquet", "json"])
@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(p.read_bytes()[:-2])])
def test_a_damaged_state_is_no_state(name, damage, whole, tmp_path):
    storage = Storage(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        simulate(KilledAfter(storage, STEPS_AT_ONCE))
    [path] = (tmp_path / place("checkpoints", NUMBER)).glob(f"6-12.*{name}")
    damage(path)
    assert simulate(checkpoint(storage))[0] == whole


def test_a_death_while_a_state_is_written_keeps_the_one_before(whole, tmp_path, monkeypatch):
    storage = Storage(tmp_path)
    put, last = Storage.put, []

    def dies(self, name, content):
        second = f".{2 * STEPS_AT_ONCE}." in name
        if second and last:
            raise KeyboardInterrupt
        last.append(name) if second else None
        put(self, name, content)

    monkeypatch.setattr(Storage, "put", dies)
    with pytest.raises(KeyboardInterrupt):
        simulate(checkpoint(storage))
    monkeypatch.undo()
    begun = []
    monkeypatch.setattr(Checkpoint, "restore", lambda self, *words: begun.append(restore(self, *words)) or begun[-1])
    assert simulate(checkpoint(storage))[0] == whole
    assert begun == [STEPS_AT_ONCE]


restore = Checkpoint.restore


def test_a_state_of_another_plan_is_no_state(whole, tmp_path):
    storage = Storage(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        simulate(KilledAfter(storage, STEPS_AT_ONCE))
    assert simulate(checkpoint(storage, digest="another"))[0] == whole
