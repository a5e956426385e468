"""The plan: a pure function that covers every device under every policy once, and fits memory."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.errors import InputError
from fleetswap.fleet.shard import fleet_bytes, mean_device_bytes
from fleetswap.job.plan import Plan, plan_fleet
from fleetswap.workload.lay_out import lay_out
from fleetswap_kernels.backend.tally import FOLD_BYTES
from tests.cluster.tiny_fleet import laid_out, tiny


@given(devices=st.integers(1, 10**7), shards=st.integers(1, 10**6), policies=st.integers(1, 3), data=st.data())
def test_tasks_follow_each_other(devices, shards, policies, data):
    scenario = tiny().model_copy(update={"devices": devices})
    plan = Plan((scenario,) * policies, min(shards, devices))
    number = data.draw(st.integers(0, len(plan) - 1))
    task = plan.task(number)
    assert (task.shard.number, task.fleet) == divmod(number, policies)
    assert 0 <= task.shard.first < task.shard.end <= devices
    after = plan.task(min(number + policies, len(plan) - 1))
    assert after.shard.first in (task.shard.end, task.shard.first)
    assert plan.task(0).shard.first == 0
    assert plan.task(len(plan) - 1).shard.end == devices


def test_every_device_is_in_one_task():
    plan = plan_fleet([laid_out(101)] * 2, shards=7)
    devices = [(t.fleet, d) for t in map(plan.task, range(len(plan))) for d in range(t.shard.first, t.shard.end)]
    assert sorted(devices) == [(policy, device) for policy in (0, 1) for device in range(101)]
    assert sum(map(plan.steps_of, range(len(plan)))) == plan.device_steps == 2 * 101 * 6


@pytest.mark.parametrize("devices", [1, 7, 1000, 3000])
def test_a_shard_fits_memory(devices):
    asked = []
    plan = plan_fleet([laid_out(3000)], lambda each: asked.append(each) or devices)
    assert max(plan.task(n).shard.end - plan.task(n).shard.first for n in range(len(plan))) <= devices
    assert plan.shards == -(-3000 // devices)
    scenario = tiny(3000)
    assert asked == [-(-fleet_bytes(lay_out(scenario)) // 3000) + FOLD_BYTES]


def test_the_largest_devices_of_a_sweep_decide():
    large = tiny(3000, "device_class.phone.ram=2G")
    each = mean_device_bytes(lay_out(large))
    assert each > mean_device_bytes(lay_out(tiny(3000)))
    assert plan_fleet([laid_out(3000), lay_out(large)], lambda asked: 3000 if asked < each else 100).shards == 30


def test_every_worker_gets_some_shards():
    assert plan_fleet([laid_out(3000)], workers=8).shards == 32
    assert plan_fleet([laid_out(5)], workers=8).shards == 5


def test_a_plan_survives_its_file():
    plan = plan_fleet(
        [laid_out(9), laid_out(9, "policy.large_swapin=off")], shards=4, check=True, about={"kind": "sweep"}
    )
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())), "plan.json")
    assert again == plan
    assert again.digest == plan.digest


@pytest.mark.parametrize(
    "other",
    [
        plan_fleet([laid_out(9)], shards=3),
        plan_fleet([laid_out(9)], shards=4, check=True),
        plan_fleet([laid_out(10)], shards=4),
        plan_fleet([laid_out(9, "policy.large_swapin=off")], shards=4),
    ],
)
def test_another_plan_has_another_digest(other):
    assert other.digest != plan_fleet([laid_out(9)], shards=4).digest
    assert (
        plan_fleet([laid_out(9)], shards=4, about={"started": "now"}).digest
        == plan_fleet([laid_out(9)], shards=4).digest
    )


def test_bad_plans_are_refused():
    told = plan_fleet([laid_out(9)], shards=4).to_json()
    with pytest.raises(InputError, match=r"^f: schema: 7 is not possible; allowed is 2$"):
        Plan.from_json({**told, "schema": 7}, "f")
    changed = copy.deepcopy(told)
    changed["digests"] = ["0" * 64]
    with pytest.raises(InputError, match="is not the one the run began with"):
        Plan.from_json(changed, "f")
    for broken in ({}, {**told, "scenarios": [{}]}, {**told, "scenarios": 3}):
        with pytest.raises(InputError, match=r"^f: is not the plan of a run$"):
            Plan.from_json(broken, "f")
