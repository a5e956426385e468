"""The runs that a report is about: their summaries and device classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Summary = Mapping[str, Any]
ALL = "all"


@dataclass(frozen=True)
class Run:
    """A run, and how a comparison calls it."""

    name: str
    summary: Summary

    @property
    def devices(self) -> Mapping[str, int]:
        """Number of devices, by class."""
        return self.summary.get("devices") or {}

    @property
    def hours(self) -> float:
        """Hours of a step."""
        return float(self.summary.get("hours_per_step") or 1)

    def quantiles(self, device_class: str, metric: str) -> Mapping[str, int]:
        """Total and quantiles of a metric; empty if it was not recorded."""
        return ((self.summary.get("metrics") or {}).get(device_class) or {}).get(metric) or {}

    def series(self, device_class: str, metric: str) -> Sequence[Mapping[str, int]]:
        """A metric over uptime; empty if it was not recorded."""
        return ((self.summary.get("series") or {}).get(device_class) or {}).get(metric) or []


def classes_of(run: Run) -> list[str]:
    """Device classes that have results."""
    known = [*run.devices, *(run.summary.get("metrics") or {}), *(run.summary.get("series") or {})]
    return [name for name in dict.fromkeys(known) if name != ALL]


def class_name(device_class: str) -> str:
    """A device class's name for people."""
    return "all devices" if device_class == ALL else device_class
