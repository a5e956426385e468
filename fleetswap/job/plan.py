"""Plan of a job: its fleets, and the tasks they are cut into; a pure function of scenarios and memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from fleetswap_kernels.backend.choose import ONE_THREAD

from ..errors import InputError
from ..fleet.pieces import Shard, cut, piece
from ..fleet.shard import shard_bytes
from ..scenario.kinds import read_scenario, write_scenario
from ..workload.laid_out import LaidOut
from ..workload.lay_out import lay_out

SCHEMA = 2
SHARDS_PER_WORKER = 4
"""At least, so that workers that are slower, or lost, leave the others something to do."""


@dataclass(frozen=True)
class Task:
    """One shard of the devices of one fleet.

    Parameters
    ----------
    number : int
        In the plan.
    fleet : int
        Index among those of the plan.
    shard : Shard
    """

    number: int
    fleet: int
    shard: Shard


class Tasks(Protocol):
    """Tasks of one kind, with numbers from 0."""

    folder: ClassVar[str]

    @property
    def fleets(self) -> tuple[LaidOut, ...]:
        """By the index that tasks have."""

    def __len__(self) -> int: ...

    def task(self, number: int) -> Task:
        """The task of a number, 0 to `len` - 1."""

    def steps_of(self, number: int) -> int:
        """Device-steps that a task simulates."""


@dataclass(frozen=True)
class Plan:
    """What a run consists of. Tasks are numbered shard by shard, within a shard fleet by fleet.

    Parameters
    ----------
    fleets : tuple of LaidOut
        One for a run, the sides of a comparison, all points of a sweep; the same devices in each. None where finished
        runs are compared, and nothing is to be simulated.
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
    fleets: tuple[LaidOut, ...]
    shards: int
    check: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.shards * len(self.fleets)

    @property
    def devices(self) -> int:
        """Devices of each scenario."""
        return self.fleets[0].devices

    @property
    def device_steps(self) -> int:
        """Steps of all devices under all policies."""
        return sum(fleet.devices * fleet.steps for fleet in self.fleets)

    @property
    def pieces(self) -> list[Shard]:
        """Ranges that the devices are cut into."""
        return cut(self.devices, self.shards)

    def task(self, number: int) -> Task:
        """The task of a number, 0 to `len` - 1."""
        shard, fleet = divmod(number, len(self.fleets))
        return Task(number, fleet, piece(self.devices, self.shards, shard))

    def steps_of(self, number: int) -> int:
        """Device-steps of a task."""
        task = self.task(number)
        return (task.shard.end - task.shard.first) * self.fleets[task.fleet].steps

    def to_json(self) -> dict[str, Any]:
        """Content of plan.json."""
        return {
            "schema": SCHEMA,
            "scenarios": [write_scenario(fleet.scenario) for fleet in self.fleets],
            "digests": [fleet.digest for fleet in self.fleets],
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
            fleets = tuple(lay_out(read_scenario(scenario)) for scenario in content["scenarios"])
            plan = cls(fleets, content["shards"], content["check"], content["about"])
            most, about = fleets[0].devices if fleets else 0, plan.about
            fits = min(most, 1) <= plan.shards <= most and (fleets or about["kind"] == "comparison")
            if not (fits and isinstance(about, dict) and isinstance(plan.check, bool)):
                raise ValueError("about, check or shards")  # noqa: TRY301 (told like what Python finds)
            digests = list(zip(fleets, content["digests"], strict=True))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{source}: is not the plan of a run") from None
        for fleet, expected in digests:
            if fleet.digest != expected:
                raise InputError(
                    f"{source}: {fleet.scenario.name}: content library or cost profile is not the one the run began "
                    "with; put it back, or run anew"
                )
        return plan

    @property
    def digest(self) -> str:
        """Hash of all that results depend on, and of how the fleet is cut."""
        content = self.to_json()
        del content["about"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def plan_fleet(
    fleets: Sequence[LaidOut],
    at_once: Callable[[int], int] = ONE_THREAD.devices_at_once,
    workers: int = 1,
    shards: int = 0,
    check: bool = False,
    about: Mapping[str, Any] | None = None,
) -> Plan:
    """Cut a fleet into shards that fit the memory of a worker; results do not depend on how.

    Parameters
    ----------
    fleets : sequence of LaidOut
        The same devices in each.
    at_once : function of int
        How many devices of so many bytes a worker's memory holds (`contract.Backend.devices_at_once`).
    workers : int
        Shards that are simulated at the same time.
    shards : int
        How many instead, if not 0.
    check : bool
        Whether every device is recounted after every step.
    about : mapping, optional
        What the command that plans wants to find again (`Plan`). Plain JSON.
    """
    if not shards:
        bytes_per_device = max(map(shard_bytes, fleets))
        needed = -(-fleets[0].devices // at_once(bytes_per_device))
        shards = max(needed, SHARDS_PER_WORKER * workers if workers > 1 else 1)
    if shards < 1:
        raise InputError(f"shards: {shards} is not possible; allowed are 1 and more")
    return Plan(tuple(fleets), min(shards, fleets[0].devices), check, about or {})
