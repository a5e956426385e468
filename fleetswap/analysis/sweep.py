"""Many policies on one fleet: a full grid of settings, every point on the same devices with the same random numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ..errors import InputError
from ..fleet.shard import FleetShard, join_columns
from ..scenario.file import load_fleet_scenario
from ..scenario.model import FleetScenario
from ..scenario.units import near, parse_size, setting_word, shown_size
from ..workload.metrics import METRICS, Ints
from .comparison import Values, check_same_fleet, pair, row, value
from .labels import settings_in_effect
from .paired import Contrast, PairedComparison
from .pareto import Direction, pareto_front

MAX_POINTS = 1000
DEFAULT_METRICS: tuple[str, ...] = (
    "pgmajfault", "pswpin", "fallback_permyriad", "alloc_success_permyriad", "memory_saved_bytes", "stall_ns", "kills",
)  # fmt: skip
DEFAULT_PARETO: tuple[str, ...] = ("stall_ns", "memory_saved_bytes")
CLOSING = {"[": "]", "{": "}", "(": ")"}


@dataclass(frozen=True)
class Axis:
    """One key and the values that a sweep gives it, as words of the command line."""

    key: str
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        """The axis as the command line has it."""
        return f"{self.key}={','.join(self.values)}"


@dataclass(frozen=True)
class Point:
    """One scenario of a sweep.

    Parameters
    ----------
    settings : dict of str to str
        Value of each key, as the scenario has it.
    scenario : FleetScenario
    """

    settings: Mapping[str, str]
    scenario: FleetScenario

    @property
    def label(self) -> str:
        """The settings in a line."""
        return ", ".join(f"{key.rpartition('.')[2]} {word}" for key, word in self.settings.items())


@dataclass(frozen=True)
class Sweep:
    """What a sweep found.

    Parameters
    ----------
    points : sequence of Point
        The last key changes fastest.
    metrics : dict of str to list of PairedComparison
        By metric: each point compared with the first one.
    pareto : tuple of str
        Metrics of the front.
    front : tuple of bool
        Points that no other point beats in one of these metrics without losing in another.
    """

    points: Sequence[Point]
    metrics: Mapping[str, Sequence[PairedComparison]]
    pareto: tuple[str, ...]
    front: tuple[bool, ...]

    @property
    def _first_alike(self) -> list[int]:
        """Of each point the first one that is the same scenario: the same values on every device."""
        settings = [settings_in_effect(point.scenario.resolved()) for point in self.points]
        return list(map(settings.index, settings))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row per point, metric and class: values, and what changes against the first point."""
        return [
            {"point": i, **point.settings, "front": self.front[i], **_row(metric, part)}
            for i, point in enumerate(self.points)
            for metric, comparisons in self.metrics.items()
            for part in (comparisons[i].overall, *comparisons[i].classes)
            if part.devices
        ]

    def to_dict(self) -> dict[str, Any]:
        """Content of summary.json."""
        points = [
            {
                "point": i,
                "settings": dict(p.settings),
                "digest": p.scenario.digest(),
                "alike": first if first < i else None,
                "front": self.front[i],
            }
            for i, (p, first) in enumerate(zip(self.points, self._first_alike, strict=True))
        ]
        content: dict[str, Any] = {"scenario": self.points[0].scenario.resolved(), "metrics": list(self.metrics)}
        return content | {"pareto": [*self.pareto], "points": points, "rows": self.rows}


def _row(metric: str, contrast: Contrast) -> dict[str, Any]:
    """One metric of one class at a point, and what changes against the first one: that is A, the same in every row."""
    row_values = row(metric, contrast)
    row_values["better"] = {"b": "better", "a": "worse"}.get(row_values["better"], "unclear")
    row_values["value"] = row_values.pop("b")
    return {k.removeprefix("b_"): v for k, v in row_values.items() if k != "a" and not k.startswith("a_")}


def parse_axis(text: str) -> Axis:
    """An axis as the command line has it, KEY=V1,V2; commas in brackets and quotes separate nothing.

    Raises
    ------
    InputError
    """
    key, equals, words = text.partition("=")
    values = [""]
    closing: list[str] = []
    quote = ""
    for c in words:
        if c == "," and not closing and not quote:
            values.append("")
            continue
        values[-1] += c
        if quote:
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c in CLOSING:
            closing.append(CLOSING[c])
        elif closing and c == closing[-1]:
            closing.pop()
    values = [word.strip() for word in values]
    if not key.strip() or not equals or not all(values):
        raise InputError(f"--over {text!r} is not possible; expected KEY=VALUE,VALUE,...")
    twice = [word for i, word in enumerate(values) if word in values[:i]]
    if twice:
        raise InputError(f"--over {key}: {twice[0]} is there twice; allowed are different values")
    return Axis(key.strip(), tuple(values))


def check_metrics(option: str, names: Sequence[str]) -> None:
    """Refuse unknown metrics.

    Raises
    ------
    InputError
    """
    for name in names:
        if name not in METRICS:
            raise InputError(f"{option}: unknown metric {name!r}; {near(name, tuple(METRICS))}")


def grid(
    name_or_path: str, axes: Sequence[Axis], settings: Sequence[str] = (), devices: int | None = None, seed: int = 0
) -> list[Point]:
    """Every point of a grid, checked before anything runs.

    Parameters
    ----------
    name_or_path : str
        A built-in fleet, or a .toml file.
    axes : sequence of Axis
    settings : sequence of str
        ``KEY=VALUE``, of all points.
    devices : int, optional
    seed : int

    Raises
    ------
    InputError
        With the problems of all points, or if points would be different fleets.
    """
    keys = [axis.key for axis in axes]
    if not axes:
        raise InputError("--over is missing: give --over KEY=VALUE,VALUE,...")
    for key in keys:
        if keys.count(key) > 1:
            raise InputError(f"--over {key}: is there {keys.count(key)} times; allowed is once, with all values")
    count = int(np.prod([len(axis.values) for axis in axes], dtype=object))
    if count > MAX_POINTS:
        raise InputError(f"--over: {count:,} points are too many; allowed are up to {MAX_POINTS:,}")
    points: list[Point] = []
    problems: list[str] = []
    for words in product(*(axis.values for axis in axes)):
        words_by_key = dict(zip(keys, words, strict=True))
        try:
            swept = [f"{key}={word}" for key, word in words_by_key.items()]
            scenario = load_fleet_scenario(name_or_path, settings, devices, seed, swept)
            point = Point({key: _word_of(scenario, key, word) for key, word in words_by_key.items()}, scenario)
            if points:
                first = points[0]
                check_same_fleet(first.scenario.resolved(), scenario.resolved(), first.label, point.label)
            points.append(point)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("; ".join(_distinct(problems)))
    return points


def _word_of(scenario: FleetScenario, dotted: str, given: str) -> str:
    """The value of a key as a scenario has it; of a file its name as it was given."""
    setting: Any = scenario.resolved()
    for part in map(str.strip, dotted.split(".")):
        setting = setting.get(part, setting.get(_canonical(part))) if isinstance(setting, Mapping) else None
    if setting is None:
        return "not set"
    word = setting_word(setting)
    return given if word.startswith("sha256:") else word


def _canonical(key: str) -> str:
    """A size that is the key of a table, as scenarios have it."""
    try:
        return shown_size(parse_size(key))
    except ValueError:
        return key


def _distinct(problems: Sequence[str]) -> list[str]:
    """Problems without those that only join others: a point has all the problems of its values."""
    distinct_problems: list[str] = []
    for text in sorted(dict.fromkeys(problems), key=len):
        rest = text
        for other in distinct_problems:
            rest = rest.replace(other, "")
        if rest.strip("; "):
            distinct_problems.append(text)
    return sorted(distinct_problems, key=problems.index)


def sweep(
    points: Sequence[Point],
    simulated: Iterable[tuple[int, FleetShard]],
    metrics: Sequence[str] = DEFAULT_METRICS,
    pareto: Sequence[str] = DEFAULT_PARETO,
) -> Sweep:
    """Compare every point with the first one, device by device.

    Parameters
    ----------
    points : sequence of Point
        Of `grid`.
    simulated : iterable of (int, FleetShard)
        Shards of each point in the order of devices, with the point's index.
    metrics, pareto : sequence of str
        Metrics to report, and those of the Pareto front, which are reported too.
    """
    check_metrics("--metrics", metrics)
    check_metrics("--pareto", pareto)
    if not pareto:
        raise InputError("--pareto: needs a metric")
    names = list(dict.fromkeys((*metrics, *pareto)))
    classes: list[Ints] = []
    parts: list[list[Values]] = [[] for _ in points]
    for number, shard in simulated:
        if number == 0:
            classes.append(shard.classes)  # The same devices at every point.
        parts[number].append({name: shard.metrics[name] for name in names})
        del shard  # so that it does not wait in memory for the next one
    labels, joined = list(points[0].scenario.device_class), np.concatenate(classes)
    everywhere = [join_columns(of_point) for of_point in parts]
    compared = {
        name: [pair(name, everywhere[0][name], values[name], joined, labels) for values in everywhere] for name in names
    }
    totals = {name: [value(name, comparison.overall, "b") for comparison in compared[name]] for name in pareto}
    ways: dict[str, Direction] = {name: "max" if METRICS[name].better == "max" else "min" for name in pareto}
    front = pareto_front(totals, ways)
    return Sweep(points, compared, tuple(pareto), tuple(map(bool, front)))
