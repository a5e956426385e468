"""The runs that a report is about: their scenarios, devices and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .names import ALL

Summary = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """A run, and how a comparison calls it. What its summary lacks is empty."""

    name: str
    summary: Summary

    def part(self, key: str) -> Mapping[str, Any]:
        """A table of the summary."""
        return self.summary.get(key) or {}

    @property
    def scenario(self) -> Mapping[str, Any]:
        """The resolved scenario."""
        return self.part("scenario")

    @property
    def is_experiment(self) -> bool:
        """Whether it is no fleet of phones."""
        return "steps" in self.summary or "points" in self.summary

    @property
    def devices(self) -> Mapping[str, int]:
        """Number of devices, by class."""
        return self.part("devices")

    @property
    def classes(self) -> list[str]:
        """Device classes that have results."""
        names = dict.fromkeys([*self.devices, *self.part("metrics"), *self.part("series")])
        return [name for name in names if name != ALL]

    @property
    def hours(self) -> float:
        """Hours of a step."""
        return float(self.summary.get("hours_per_step") or 1)

    def label(self, text: str) -> str:
        """A text that says whose it is, if the report is about two runs."""
        return f"{self.name} {text}".strip()

    def quantiles(self, device_class: str, metric: str) -> Mapping[str, int]:
        """Total and quantiles of a metric over devices."""
        return (self.part("metrics").get(device_class) or {}).get(metric) or {}

    def series(self, device_class: str, metric: str) -> Sequence[Mapping[str, int]]:
        """Total and quantiles of a metric, step by step."""
        return (self.part("series").get(device_class) or {}).get(metric) or []
