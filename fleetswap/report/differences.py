"""The rows of a comparison, one per metric and class: what changes, what pairing gains, and who loses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from .names import ALL, METRICS, class_name, metric_name, sort_metrics
from .panel import MAX_ROWS, Cell, Panel, Table, decimal_cell, exact_cell, is_finite
from .plots import Difference, Verdict, bar_figure, forest_figure
from .runs import Run, Summary
from .units import PERMILLE, unit_of, write_change, write_percent, write_times

MAX_BY_CLASS = 6
"""Metrics whose differences are shown class by class."""
LONGEST_GAIN = 50
"""Gain at which bars end."""
INTERVAL = ("relative", "low", "high")


def class_rows(rows: Sequence[Summary], device_class: str) -> dict[str, Summary]:
    """Rows of a class by metric, the telling ones first."""
    by_metric = {row["metric"]: row for row in rows if row.get("class") == device_class}
    return {metric: by_metric[metric] for metric in sort_metrics(by_metric)}


def verdict_of(row: Summary) -> Verdict:
    """Which run a row finds better."""
    better = row.get("better")
    return "a" if better == "a" else "b" if better == "b" else "unclear"


def verdict_names(runs: Sequence[Run]) -> dict[Verdict, str]:
    """What a verdict is called."""
    return {"a": f"better: {runs[0].name}", "b": f"better: {runs[1].name}", "unclear": "not clear"}


def effect_panels(runs: Sequence[Run], rows: Sequence[Summary]) -> list[Panel | None]:
    """Relative differences: all metrics over the fleet, then each telling one by class."""
    fleet = [(metric_name(metric), row) for metric, row in class_rows(rows, ALL).items()]
    panels = [_effect_panel(runs, "", fleet)]
    telling = [metric for metric in sort_metrics(row["metric"] for row in rows) if metric in METRICS]
    for metric in telling[:MAX_BY_CLASS]:
        named = [(str(row.get("class")), row) for row in rows if row["metric"] == metric]
        if len({row.get("class") for _, row in named}) > 1:
            panels.append(_effect_panel(runs, metric, [(class_name(name), row) for name, row in named]))
    return panels


def _effect_panel(runs: Sequence[Run], metric: str, named: Sequence[tuple[str, Summary]]) -> Panel | None:
    """Differences of a metric by class, or without one those of all metrics."""
    drawn = [
        Difference(name, row["relative"], row["low"], row["high"], verdict_of(row))
        for name, row in named
        if all(is_finite(row.get(key)) for key in INTERVAL)
    ]
    if not drawn:
        return None
    verdicts = verdict_names(runs)
    cells = []
    for name, row in named:
        unit = unit_of(row["metric"])
        values = [Cell(f"{unit.exact(row[side])} {unit.head}".strip(), row[side]) for side in ("a", "b")]
        interval = [decimal_cell(row.get(key), write_change) for key in INTERVAL]
        cells.append([Cell(name), *values, *interval, Cell(verdicts[verdict_of(row)])])
    facts = {
        "metric": metric,
        "runs": [run.name for run in runs],
        "most": max((row for row in drawn if row.verdict != "unclear"), key=lambda row: abs(row.value), default=None),
        "undefined": [name for name, row in named if not all(is_finite(row.get(key)) for key in INTERVAL)],
        "rows": len(drawn),
    }
    draw = partial(forest_figure, rows=drawn[:MAX_ROWS], names=verdicts)
    head = ["", *(run.name for run in runs), "change", "from", "to", ""]
    return Panel("effect", f"effect-{metric or 'fleet'}", facts, draw, Table(head, cells))


def pairing_panel(rows: Sequence[Summary]) -> Panel | None:
    """How many times fewer devices a comparison of the same ones needs."""
    gains = [
        (metric, row["pairing_gain"])
        for metric, row in class_rows(rows, ALL).items()
        if is_finite(row.get("pairing_gain")) and row["pairing_gain"] > 0
    ]
    gains.sort(key=lambda gain: -gain[1])
    if not gains:
        return None
    most, least = gains[0][1], gains[-1][1]
    draw = partial(
        bar_figure,
        rows=[(metric_name(metric), [gain]) for metric, gain in gains[:MAX_ROWS]],
        series=[""],
        x_label="times fewer devices",
        show=write_times,
        mark=1,
        longest=LONGEST_GAIN,
    )
    facts = {
        "least": write_times(least),
        "most": write_times(most),
        "bars_end": LONGEST_GAIN if most > LONGEST_GAIN else None,
        "rows": len(gains),
    }
    cells = [[Cell(metric_name(metric)), decimal_cell(gain, write_times)] for metric, gain in gains]
    return Panel("pairing", "pairing", facts, draw, Table(["", "pairing gain"], cells))


def worse_panel(runs: Sequence[Run], rows: Sequence[Summary]) -> Panel | None:
    """Which devices get worse: over the fleet, and the worst class of each metric."""
    shares: dict[str, dict[str, int]] = {}
    for row in rows:
        if row.get("worse_devices_permille") is not None:
            shares.setdefault(row["metric"], {})[str(row.get("class"))] = row["worse_devices_permille"]
    metrics = [metric for metric in sort_metrics(shares) if ALL in shares[metric]]
    if not metrics:
        return None
    classes = dict.fromkeys(name for metric in metrics for name in shares[metric])
    by_class = [(metric, name, share) for metric in metrics for name, share in shares[metric].items() if name != ALL]
    facts = {
        "run": runs[1].name,
        "first": (metrics[0], shares[metrics[0]][ALL]),
        "worst": max(by_class, key=lambda entry: entry[2], default=None),
        "rows": len(metrics),
    }
    draw = partial(
        bar_figure,
        rows=[(metric_name(metric), [shares[metric][ALL] / 10]) for metric in metrics[:MAX_ROWS]],
        series=[""],
        x_label="% of devices",
        show=write_percent,
    )
    cells = [
        [Cell(metric_name(metric)), *(exact_cell(shares[metric].get(name), PERMILLE) for name in classes)]
        for metric in metrics
    ]
    head = ["worse, % of devices", *(class_name(name) for name in classes)]
    return Panel("worse", "worse", facts, draw, Table(head, cells))
