"""What people call metrics, quantiles, device classes and reasons of fallbacks: the words of `names.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib import resources

ALL = "all"
"""The class of all devices."""
_WORDS = tomllib.loads((resources.files("fleetswap") / "data" / "report" / "names.toml").read_text(encoding="utf-8"))
METRICS: dict[str, dict[str, str]] = _WORDS["metrics"]
"""Metrics that a reader should see, the most telling ones first."""


def metric_name(metric: str) -> str:
    """A metric's name for people, or its own."""
    return METRICS[metric]["name"] if metric in METRICS else metric


def metric_meaning(metric: str) -> str:
    """What a metric counts; empty if it is not known."""
    return METRICS[metric]["meaning"] if metric in METRICS else ""


def reason_name(kind: str, reason: str) -> str:
    """A reason's name for people, of fallbacks at `swapin` or `swapout`."""
    name: str = _WORDS["reasons"].get(kind, {}).get(reason, reason.replace("_", " "))
    return name


def quantile_name(key: str) -> str:
    """A quantile's name for people: `p50` is the median."""
    return "median" if key == "p50" else key.removeprefix("p") + " %"


def class_name(device_class: str) -> str:
    """A device class's name for people."""
    return "all devices" if device_class == ALL else device_class


def sort_metrics(metrics: Iterable[str]) -> list[str]:
    """Metrics without repetition, the telling ones first."""
    names = list(dict.fromkeys(metrics))
    return [name for name in METRICS if name in names] + [name for name in names if name not in METRICS]
