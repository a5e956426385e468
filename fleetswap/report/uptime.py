"""Metrics over uptime: the median device and its band, in steps that a figure can show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from .names import meaning_of, metric_name, quantile_name
from .panel import Panel
from .plots import MAX_SERIES, Line, line_figure
from .runs import ALL, Run, classes_of
from .table import Cell, Table, exact_cell
from .units import Unit, headed, span, unit_of

MAX_STEPS = 240
"""Steps of a figure over uptime; of longer runs it shows every second, third and so on."""


def _uptime(hours: float, longest: float) -> tuple[float, str]:
    """Hours as the x axis of a run has them, and their unit."""
    return (hours / 24, "days") if longest > 72 else (hours, "hours")


def x_axis(runs: Sequence[Run], points: Iterable[Sequence[Mapping[str, int]]]) -> tuple[float, str]:
    """Length of a step and its unit; step 0 is the first, and a point stands where its step ends."""
    last = max((p[-1]["step"] for p in points if p), default=0)
    hours = runs[0].hours
    return _uptime(hours, (last + 1) * hours)


def uptime_panels(runs: Sequence[Run], metric: str, title: str) -> list[Panel]:
    """The median device over uptime with its band; of a single run also the classes' medians."""
    unit = unit_of(metric)
    having = [run for run in runs if run.series(ALL, metric)]
    if not having:
        return []
    wanted = [(run.name, run.series(ALL, metric), False) for run in having]
    if len(runs) == 1:
        wanted[0] = ("all devices", wanted[0][1], False)
        classes = [name for name in classes_of(runs[0]) if runs[0].series(name, metric)]
        # More would hide the band; the figure by class has them all.
        if 1 < len(classes) < MAX_SERIES:
            wanted += [(name, runs[0].series(name, metric), True) for name in classes]
    factor, time = x_axis(runs, (points for _, points, _ in wanted))
    kept = thinned(max(len(points) for _, points, _ in wanted), MAX_STEPS)
    size, name = unit.step(max(p["p95"] for _, points, minor in wanted for p in points if not minor))
    if unit.most:
        size, name = unit.steps[0]
    lines, columns = [], []
    for text, points, minor in wanted:
        shown = [points[i] for i in kept if i < len(points)]
        y, low, high = ([p[key] / size for p in shown] for key in ("p50", "p5", "p95"))
        x = [(p["step"] + 1) * factor for p in shown]
        lines.append(Line(text, x, y, minor=True) if minor else Line(text, x, y, low, high))
        columns.append({p["step"]: p for p in shown})
    ident = f"uptime-{metric}"
    last = having[-1].series(ALL, metric)[-1]
    who = f"{having[-1].name}: the" if len(runs) > 1 else "The"
    # Quantiles of a step come from a histogram: what changes is told of exact figures only.
    whose = "average device" if unit.sums and having[-1].devices.get(ALL) else "fleet"
    ends = _ends(having[-1], metric, unit)
    lead = f"{who} {whose} {'goes from' if ' to ' in ends else 'begins and ends at'} {ends}; at the end, nine of ten"
    lead += f" devices have {span(last['p5'], last['p95'], unit)}."
    if len(having) > 1:
        lead += f" {having[0].name}: {_ends(having[0], metric, unit)}."
    meaning = meaning_of(metric)
    if unit.sums:
        meaning += f"Each point is what a device had in a step of {having[0].hours:,.6g} h. "
    meaning += "Thick lines: median device; bands: 5 % to 95 % of devices."
    if len(lines) > len(having):
        meaning += " Thin lines: median device of a class."
    if len(kept) < max(len(points) for _, points, _ in wanted):
        meaning += f" Shown is every {kept[1] - kept[0]}th step."
    y_label = headed(metric_name(metric).lower(), Unit(name, 1, ()))
    svg = line_figure(
        ident,
        title,
        f"{lead} {meaning}",
        lines,
        x_label=f"uptime, {time}",
        y_label=y_label,
        y_most=unit.most / size if unit.most else None,
    )
    head, keys = ["step", f"uptime, {time}"], []
    for (text, _, minor), column in zip(wanted, columns, strict=True):
        for key in ("p50",) if minor else ("p5", "p50", "p95"):
            head.append(headed(f"{text} {quantile_name(key)}", unit))
            keys.append((column, key))
    steps = sorted({step for column in columns for step in column})
    rows = [
        [
            Cell(f"{step:,}", step),
            Cell(f"{(step + 1) * factor:,.6g}"),
            *(exact_cell(column[step][key] if step in column else None, unit) for column, key in keys),
        ]
        for step in steps
    ]
    return [Panel(ident, title, lead, meaning, svg, Table(head, rows))]


def _ends(run: Run, metric: str, unit: Unit) -> str:
    """What the fleet has in the first and in the last step; of what adds up, that of a device on average."""
    points = run.series(ALL, metric)
    devices = (unit.sums and run.devices.get(ALL)) or 1
    return span(points[0]["total"] // devices, points[-1]["total"] // devices, unit)


def thinned(count: int, most: int) -> list[int]:
    """Places of at most `most` of `count` values, evenly apart, the last one among them."""
    step = max(1, -(-count // most))
    return list(range((count - 1) % step, count, step))


def grouped(count: int, most: int) -> list[tuple[int, int]]:
    """Bounds of at most `most` groups of `count` values, of equal size but for the first."""
    ends = [0, *(place + 1 for place in thinned(count, most))]
    return list(pairwise(ends))
