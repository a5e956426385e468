"""Two policies on one fleet: its devices simulated under both, or read from run directories, and compared in pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import InputError
from ..fleet.cells import ALL
from ..fleet.directory import read_manifest, versions
from ..fleet.fleet_directory import FleetTotals, read_classes, read_metric, summarise
from ..fleet.log_histogram import wide
from ..fleet.shard import FleetShard, join_columns
from ..scenario.kinds import AnyScenario
from ..scenario.model import FleetScenario
from ..workload.metrics import METRICS, Ints
from .explanations import explain
from .labels import labels, settings_in_effect
from .paired import PER_MILLION, Contrast, PairedComparison, compare_pairs

if TYPE_CHECKING:
    import pyarrow as pa

Source = AnyScenario | Path
"""A fleet to be simulated, or the directory of a finished run."""
Values = dict[str, Ints]
"""Metrics of devices; of a share numerator and denominator, shape (devices, 2)."""
FLEET = ("devices", "seed", "days", "steps_per_day", "page_scale")
"""What makes fleets the same, besides their device classes' names and shares."""


@dataclass
class Side:
    """A fleet under one policy.

    Parameters
    ----------
    scenario : mapping
        Resolved.
    summary : mapping
        That of its run, with the versions and the backend it ran on.
    classes : int64 array of shape (devices,)
        Class of each device, by index.
    values : Values
    """

    scenario: Mapping[str, Any]
    summary: Mapping[str, Any]
    classes: Ints
    values: Values


@dataclass
class Collected:
    """Devices of a fleet as far as they are simulated: totals, and the metrics of each device; no counters."""

    scenario: FleetScenario
    totals: FleetTotals = field(default_factory=FleetTotals)
    classes: list[Ints] = field(default_factory=list)
    parts: list[Values] = field(default_factory=list)

    def add(self, shard: FleetShard) -> None:
        """Add the devices of the next shard."""
        self.totals.add(shard, tuple(self.scenario.device_class))
        self.classes.append(shard.classes)
        self.parts.append(shard.metrics)

    def side(self, backend: str) -> Side:
        """The whole fleet, with the name of the backend that simulated it."""
        values = join_columns(self.parts)
        classes = np.concatenate(self.classes)
        summary = summarise(self.scenario, self.totals, classes, values.__getitem__)
        origin = {"versions": versions(), "backend": backend}
        return Side(self.scenario.resolved(), {**summary, **origin}, classes, values)


def read_side(folder: Path) -> Side:
    """A fleet from the directory of its finished run.

    Raises
    ------
    InputError
        See `read_manifest`.
    """
    import pyarrow as pa

    manifest = read_manifest(folder)
    scenario = manifest["scenario"]
    if not all(name in scenario for name in (*FLEET, "device_class")):
        raise InputError(f"{folder}: is a run of {scenario.get('scenario')}; allowed are runs of fleets")
    devices = folder / "devices.parquet"
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        classes = read_classes(devices, list(scenario["device_class"]))
        values = {name: read_metric(devices, name) for name in METRICS}
        settings_in_effect(scenario)  # which a comparison asks for at its end
    except (OSError, KeyError, ValueError, pa.ArrowException):
        raise InputError(f"{folder}: is a run of another version of fleetswap; run it again") from None
    origin = {"versions": manifest["versions"], "backend": str(manifest.get("backend", "cpu"))}
    return Side(scenario, {**summary, **origin}, classes, values)


def check_same_fleet(a: Mapping[str, Any], b: Mapping[str, Any], name_a: str, name_b: str) -> None:
    """Refuse to compare different fleets; both scenarios are resolved.

    Parameters
    ----------
    a, b : mapping
        Scenarios, resolved (`FleetScenario.resolved`).
    name_a, name_b : str
        What errors call them.

    Raises
    ------
    InputError
    """
    differences = [f"{key}: {a[key]} and {b[key]}" for key in FLEET if a[key] != b[key]]
    shares = [{name: class_table["share"] for name, class_table in side["device_class"].items()} for side in (a, b)]
    if list(shares[0]) != list(shares[1]):
        differences.append(f"device_class: {', '.join(shares[0])} and {', '.join(shares[1])}")
    else:
        differences += [
            f"device_class.{name}.share: {share} and {shares[1][name]}"
            for name, share in shares[0].items()
            if share != shares[1][name]
        ]
    if differences:
        raise InputError(
            f"{name_a} and {name_b} are different fleets: {'; '.join(differences)}; allowed is the same fleet"
        )


def check_sources(sources: Sequence[Source], names: Sequence[str]) -> None:
    """Refuse sources that are no finished runs, or of another fleet than the first one.

    Raises
    ------
    InputError
    """
    for source in sources:
        if not isinstance(source, FleetScenario | Path):
            raise InputError(f"{source.name}: is no fleet; allowed are fleets, .toml files and run directories")
    scenarios = [read_side(s).scenario if isinstance(s, Path) else s.resolved() for s in sources]
    for other, name in zip(scenarios[1:], names[1:], strict=True):
        check_same_fleet(scenarios[0], other, names[0], name)


def pair(metric: str, left: Ints, right: Ints, classes: Ints, names: Sequence[str]) -> PairedComparison:
    """One metric of the same devices under two policies, as `Side.values` has it.

    Parameters
    ----------
    metric : str
        One of `METRICS`.
    left, right : int64 array of shape (devices,), of a share (devices, 2)
        Its values under each policy, in the same order of devices; a share as columns numerator and denominator.
    classes : int64 array of shape (devices,)
        Class of each device, by index.
    names : sequence of str
        Of the classes.
    """
    known = METRICS[metric]
    better: Literal["min", "max"] = "max" if known.better == "max" else "min"
    return compare_pairs(
        left[:, 0] if known.base else left,
        right[:, 0] if known.base else right,
        base_a=left[:, 1] if known.base else None,
        base_b=right[:, 1] if known.base else None,
        classes=classes,
        names=names,
        better=better,
    )


def value(metric: str, contrast: Contrast, side: str) -> int:
    """A metric of all devices of a contrast together, in its unit: a sum, or the share of the sums."""
    return METRICS[metric].of_sums(getattr(contrast, f"total_{side}"), getattr(contrast, f"base_{side}"))


def verdict(metric: str, contrast: Contrast) -> str:
    """Which side is better: a, b, or unclear, if the interval of the difference holds 0."""
    sign = direction(contrast) * {"min": -1, "max": 1}.get(METRICS[metric].better, 0)
    return "b" if sign > 0 else "a" if sign < 0 else "unclear"


def direction(contrast: Contrast) -> int:
    """1 if B has more, -1 if it has less, 0 if the interval of the difference holds 0."""
    interval = contrast.difference_paired
    return 0 if interval is None else int(interval.low > 0) - int(interval.high < 0)


def row(metric: str, contrast: Contrast) -> dict[str, Any]:
    """One metric of one class, or of all devices, with plain values; what is of devices is in the metric's unit."""
    known = METRICS[metric]
    per = known.per if known.base else 1
    row_values: dict[str, Any] = {"metric": metric, "unit": known.unit, "class": contrast.name or ALL}
    row_values |= {"devices": contrast.devices, "a": value(metric, contrast, "a"), "b": value(metric, contrast, "b")}
    row_values["better"] = verdict(metric, contrast)
    relative, difference = contrast.relative_paired, contrast.difference_paired
    row_values["difference"] = None if contrast.difference is None else contrast.difference * per
    row_values["difference_low"] = None if difference is None else difference.low * per
    row_values["difference_high"] = None if difference is None else difference.high * per
    row_values |= {"relative": contrast.relative, "low": relative and relative.low, "high": relative and relative.high}
    apart = contrast.relative_unpaired
    row_values |= {"unpaired_low": apart and apart.low, "unpaired_high": apart and apart.high}
    # Of the change that is shown: the relative one, if there is any.
    gain = contrast.gain
    row_values["pairing_gain"] = gain.difference if contrast.relative is None else gain.relative
    row_values |= {"pairing_gain_difference": gain.difference, "correlation": gain.correlation}
    row_values |= {f"{name}_devices": getattr(contrast, name) for name in ("better", "worse", "equal", "undefined")}
    row_values["worse_devices_permille"] = contrast.worse * 1000 // max(contrast.devices, 1)
    for name in ("a", "b", "difference"):
        quantiles = getattr(contrast, f"quantiles_{name}") or dict.fromkeys(("p5", "p50", "p95", "p99"))
        # Quantiles of shares are in millionths.
        row_values |= {f"{name}_{q}": n // (PER_MILLION // per) if known.base and n is not None else n
                 for q, n in quantiles.items()}  # fmt: skip
    return row_values


@dataclass(frozen=True)
class Comparison:
    """What policy B does to the devices of a fleet that have policy A.

    Parameters
    ----------
    a, b : mapping
        Summaries of the runs.
    label_a, label_b : str
        What they are called.
    metrics : dict of str to PairedComparison
        By metric.
    reference : mapping or None
        Summary of a third policy, against which extra pages are counted (`explain`).
    """

    a: Mapping[str, Any]
    b: Mapping[str, Any]
    label_a: str
    label_b: str
    metrics: Mapping[str, PairedComparison]
    reference: Mapping[str, Any] | None = None

    @property
    def alike(self) -> bool:
        """Whether both are the same scenario: the same values on every device."""
        return settings_in_effect(self.a["scenario"]) == settings_in_effect(self.b["scenario"])

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row per metric and class, all devices first."""
        return [
            {**row(metric, part), "worst": part.name == comparison.worst_class}
            for metric, comparison in self.metrics.items()
            for part in (comparison.overall, *comparison.classes)
            if part.devices
        ]

    def to_dict(self) -> dict[str, Any]:
        """What `html.page.render_comparison` and summary.json have."""
        content: dict[str, Any] = {"a": self.a, "b": self.b, "label_a": self.label_a, "label_b": self.label_b}
        content |= {"alike": self.alike, "rows": self.rows}
        return {**content, "explanations": explain({**content, "reference": self.reference})}

    def table(self) -> pa.Table:
        """The rows as a table."""
        return rows_table(self.rows)

    def report_html(self, path: str | PathLike[str]) -> Path:
        """Write the report for people who decide; returns its path."""
        from ..report.file import write_report
        from ..report.page import render_comparison

        write_report(Path(path), render_comparison(self.to_dict()))
        return Path(path)


def rows_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table; sums of a fleet may exceed 64 bits."""
    import pyarrow as pa

    floats = ("difference", "relative", "low", "high", "pairing_gain", "correlation")
    columns = {}
    for name in rows[0]:
        kind = wide() if name in ("a", "b", "value") else pa.float64() if name.endswith(floats) else None
        columns[name] = pa.array([record[name] for record in rows], kind)
    return pa.table(columns)


def compare(sides: Sequence[Side], names: Sequence[str], reference: Side | None = None) -> Comparison:
    """Compare two policies on the same devices, with the same random numbers.

    Parameters
    ----------
    sides : sequence of Side
        A and B, of the same fleet (`check_same_fleet`).
    names : sequence of str
        What the user calls them.
    reference : Side, optional
        A third policy, of which only the pages read are used: those that A reads more are extra (`explain`).
    """
    a, b = sides
    label_a, label_b = labels(a.scenario, b.scenario, *names)
    classes = list(a.scenario["device_class"])
    metrics = {m: pair(m, a.values[m], b.values[m], a.classes, classes) for m in METRICS}
    return Comparison(a.summary, b.summary, label_a, label_b, metrics, reference.summary if reference else None)


def name_of(source: Source) -> str:
    """What a source is called."""
    return str(source) if isinstance(source, Path) else source.name
