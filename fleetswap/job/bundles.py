"""Bundles: neighbouring shards of a plan that a worker merges, so that the last merge has fewer to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..fleet.pieces import Shard
from ..workload.laid_out import LaidOut
from .plan import Plan, Task

BUNDLE_SHARDS = 64
BUNDLE_DEVICES = 20_000
"""At most so many of each are merged by one worker: its memory holds all of them."""
FEWEST = 4
"""Shards of a bundle, and full bundles of a run, that pay for writing and reading them once more."""


@dataclass(frozen=True)
class Bundles:
    """Merges of neighbouring shards of one fleet, for workers to do; numbered as the tasks of a plan are.

    Parameters
    ----------
    plan : Plan
    """

    folder: ClassVar[str] = "bundles/"
    plan: Plan

    @property
    def fleets(self) -> tuple[LaidOut, ...]:
        """Of the plan."""
        return self.plan.fleets

    @property
    def each(self) -> int:
        """Shards of a bundle; the last one may have fewer."""
        return max(min(BUNDLE_SHARDS, BUNDLE_DEVICES * self.plan.shards // self.plan.devices), 1)

    @property
    def worthwhile(self) -> bool:
        """Whether they take more work from who merges them than they add."""
        return self.each >= FEWEST and self.plan.shards >= FEWEST * self.each

    def __len__(self) -> int:
        return -(-self.plan.shards // self.each) * len(self.fleets)

    def members(self, number: int) -> range:
        """Numbers of a bundle's tasks in the plan, in the order of devices."""
        many = len(self.fleets)
        bundle, fleet = divmod(number, many)
        last = min((bundle + 1) * self.each, self.plan.shards)
        return range(bundle * self.each * many + fleet, last * many, many)

    def task(self, number: int) -> Task:
        """The merge of a number, 0 to `len` - 1."""
        bundle, fleet = divmod(number, len(self.fleets))
        members = self.members(number)
        first, last = (self.plan.task(n).shard for n in (members[0], members[-1]))
        return Task(number, fleet, Shard(bundle, first.first, last.end))

    def steps_of(self, number: int) -> int:  # noqa: ARG002 (signature of tasks)
        """None: all are simulated when shards are merged."""
        return 0
