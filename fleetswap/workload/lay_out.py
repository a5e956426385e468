"""Laying out: any scenario becomes a fleet that is ready to be simulated."""

from __future__ import annotations

from ..scenario.experiments import AllocatorScenario, Breakeven
from ..scenario.kinds import AnyScenario
from . import allocator_test, breakeven, metrics, phones
from .laid_out import LaidOut
from .metrics import Metric

METRICS: dict[str, Metric] = metrics.METRICS | allocator_test.METRICS | breakeven.METRICS
"""Of all workloads."""


def lay_out(scenario: AnyScenario) -> LaidOut:
    """Lay out a scenario.

    Raises
    ------
    InputError
        If a file that it names cannot be used.
    """
    if isinstance(scenario, AllocatorScenario):
        return allocator_test.lay_out(scenario)
    if isinstance(scenario, Breakeven):
        return breakeven.lay_out(scenario)
    return phones.lay_out(scenario)
