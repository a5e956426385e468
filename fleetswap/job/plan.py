"""Plan of a run: its scenarios, and the tasks they are cut into; a pure function of scenarios and memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from fleetswap.errors import InputError
from fleetswap.fleet.pieces import Shard, piece
from fleetswap.fleet.shard import mean_device_bytes
from fleetswap.scenario.file import digest
from fleetswap.scenario.model import FleetScenario
from fleetswap.workload.phones import plan as lay_out
from fleetswap_kernels.backend.choose import ONE_THREAD

SCHEMA = 1
SHARDS_PER_WORKER = 4
"""At least, so that workers that are slower, or lost, leave the others something to do."""


@dataclass(frozen=True)
class Task:
    """One shard of devices under one policy.

    Parameters
    ----------
    number : int
        In the plan.
    policy : int
        Index of its scenario.
    shard : Shard
    """

    number: int
    policy: int
    shard: Shard


class Tasks(Protocol):
    """Tasks of one kind, with numbers from 0."""

    folder: ClassVar[str]

    @property
    def scenarios(self) -> tuple[FleetScenario, ...]:
        """By policy."""

    def __len__(self) -> int: ...

    def task(self, number: int) -> Task:
        """The task of a number, 0 to `len` - 1."""

    def steps_of(self, number: int) -> int:
        """Device-steps that a task simulates."""


@dataclass(frozen=True)
class Plan:
    """What a run consists of. Tasks are numbered shard by shard, within a shard policy by policy.

    Parameters
    ----------
    scenarios : tuple of FleetScenario
        One for a run, all points of a sweep; the same devices in each.
    shards : int
        Ranges the devices are cut into.
    check : bool
        Whether every device is recounted after every step.
    about : mapping
        What the command that planned it wants to find again. Plain JSON.

    Attributes
    ----------
    folder : str
        Where a ledger keeps its tasks.
    """

    folder: ClassVar[str] = ""
    scenarios: tuple[FleetScenario, ...]
    shards: int
    check: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.shards * len(self.scenarios)

    @property
    def devices(self) -> int:
        """Devices of each scenario."""
        return self.scenarios[0].devices

    @property
    def device_steps(self) -> int:
        """Steps of all devices under all policies."""
        return sum(s.devices * s.days * s.steps_per_day for s in self.scenarios)

    def task(self, number: int) -> Task:
        """The task of a number, 0 to `len` - 1."""
        shard, policy = divmod(number, len(self.scenarios))
        return Task(number, policy, piece(self.devices, self.shards, shard))

    def steps_of(self, number: int) -> int:
        """Device-steps of a task."""
        task = self.task(number)
        scenario = self.scenarios[task.policy]
        return (task.shard.end - task.shard.first) * scenario.days * scenario.steps_per_day

    def to_json(self) -> dict[str, Any]:
        """Content of plan.json."""
        return {
            "schema": SCHEMA,
            "scenarios": [s.model_dump(mode="json") for s in self.scenarios],
            "digests": [digest(s) for s in self.scenarios],
            "shards": self.shards,
            "check": self.check,
            "about": dict(self.about),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: str) -> Plan:
        """The plan of what `to_json` gave.

        Parameters
        ----------
        source : str
            Where it comes from, for errors.

        Raises
        ------
        InputError
            If it is no plan, or files that a scenario names are not what they were.
        """
        try:
            if content["schema"] != SCHEMA:
                raise InputError(f"{source}: schema: {content['schema']} is not possible; allowed is {SCHEMA}")
            scenarios = tuple(FleetScenario.model_validate(one) for one in content["scenarios"])
            found = cls(scenarios, int(content["shards"]), content["check"], dict(content["about"]))
            digests = list(zip(scenarios, content["digests"], strict=True))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{source}: is not the plan of a run") from None
        for scenario, expected in digests:
            if digest(scenario) != expected:
                raise InputError(
                    f"{source}: {scenario.name}: content library or cost profile is not the one the run began with; "
                    "put it back, or run anew"
                )
        return found

    @property
    def digest(self) -> str:
        """Hash of all that results depend on, and of how the fleet is cut."""
        told = self.to_json()
        del told["about"]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def plan_fleet(
    scenarios: Sequence[FleetScenario],
    at_once: Callable[[int], int] = ONE_THREAD.devices_at_once,
    workers: int = 1,
    shards: int = 0,
    check: bool = False,
    about: Mapping[str, Any] | None = None,
) -> Plan:
    """Cut a fleet into shards that fit the memory of a worker; results do not depend on how.

    Parameters
    ----------
    scenarios : sequence of FleetScenario
        The same devices in each.
    at_once : function of int
        How many devices of so many bytes a worker's memory holds (`contract.Backend.devices_at_once`).
    workers : int
        Shards that are simulated at the same time.
    shards : int
        How many instead, if not 0.
    """
    if not shards:
        each = max(mean_device_bytes(s, lay_out(s)) for s in scenarios)
        needed = -(-scenarios[0].devices // at_once(each))
        shards = max(needed, SHARDS_PER_WORKER * workers if workers > 1 else 1)
    if shards < 1:
        raise InputError(f"shards: {shards} is not possible; allowed are 1 and more")
    return Plan(tuple(scenarios), min(shards, scenarios[0].devices), check, about or {})
