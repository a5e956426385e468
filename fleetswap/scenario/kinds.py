"""Kinds of scenarios: fleets of phones and experiments, loaded by name, resolved, and kept as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .experiments import BUILT_IN, AllocatorScenario, AllocatorTest, Breakeven, load_scenario
from .file import load_fleet_scenario
from .model import FleetScenario

AnyScenario = FleetScenario | AllocatorScenario | Breakeven
FLEET = "fleet"
"""Kind of a fleet of phones; experiments have their names."""


def load_any_scenario(
    name_or_path: str, settings: Sequence[str] = (), devices: int | None = None, seed: int = 0
) -> AnyScenario:
    """A built-in scenario, or the fleet of a .toml file.

    Parameters
    ----------
    name_or_path : str
    settings : sequence of str
        ``KEY=VALUE``, by the keys of the scenario.
    devices : int, optional
        Devices of the fleet; the scenario's own number by default.
    seed : int

    Raises
    ------
    InputError
        With every problem found, one line.
    """
    if name_or_path in BUILT_IN:
        return load_scenario(name_or_path, devices, seed, tuple(settings))
    return load_fleet_scenario(name_or_path, settings, devices, seed)


def write_scenario(scenario: AnyScenario) -> dict[str, Any]:
    """A scenario as plain JSON, under its kind."""
    if isinstance(scenario, FleetScenario):
        return {FLEET: scenario.model_dump(mode="json")}
    if isinstance(scenario, Breakeven):
        return {scenario.name: asdict(scenario)}
    return {scenario.name: {"devices": scenario.devices, "test": asdict(scenario.test)}}


def read_scenario(content: Mapping[str, Any]) -> AnyScenario:
    """The scenario of what `write_scenario` gave.

    Raises
    ------
    ValueError, TypeError, KeyError
        If it is none.
    """
    ((kind, values),) = content.items()
    if kind == FLEET:
        return FleetScenario.model_validate(values)
    if kind == Breakeven.name:
        return Breakeven(**values)
    if kind != AllocatorScenario.name:
        raise ValueError(f"scenario of kind {kind!r}; allowed are {FLEET}, {', '.join(BUILT_IN)}")
    return AllocatorScenario(AllocatorTest(**values["test"]), int(values["devices"]))
