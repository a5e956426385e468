"""Killed apps over uptime."""

from __future__ import annotations

from collections.abc import Sequence

from .names import meaning_of
from .panel import Panel
from .plots import Line, line_figure
from .runs import ALL, Run
from .table import Cell, Table, exact_cell
from .units import COUNT
from .uptime import MAX_STEPS, grouped, x_axis


def kill_panels(runs: Sequence[Run]) -> list[Panel]:
    """Killed apps over uptime, as a rate."""
    having = [run for run in runs if run.series(ALL, "kills") and run.devices.get(ALL)]
    if not having:
        return []
    factor, time = x_axis(runs, (run.series(ALL, "kills") for run in having))
    lines, columns, parts = [], [], []
    for run in having:
        points = run.series(ALL, "kills")
        sums, rates = {}, []
        for start, end in grouped(len(points), MAX_STEPS):
            total = sum(p["total"] for p in points[start:end])
            sums[points[end - 1]["step"]] = total
            rates.append(24 * total / (run.devices[ALL] * run.hours * (end - start)))
        # Rates hold between two ends of steps: the first one from the beginning.
        x = [(step + 1) * factor for step in sums]
        lines.append(Line(run.name, [0.0, *x], [rates[0], *rates]))
        columns.append(sums)
        total = sum(sums.values())
        rate = 24 * total / (run.devices[ALL] * run.hours * len(points))
        parts.append(
            f"{run.name + ': ' if run.name else ''}{COUNT.human(total)} in all, {rate:,.2f} per device and day"
        )
    ident, title = "uptime-kills", "Killed apps over uptime"
    lead = "; ".join(parts) + "."
    meaning = f"{meaning_of('kills')}Over the whole fleet."
    if any(len(column) < len(run.series(ALL, "kills")) for column, run in zip(columns, having, strict=True)):
        meaning += " Steps are added up in groups."
    svg = line_figure(
        ident,
        title,
        f"{lead} {meaning}",
        lines,
        x_label=f"uptime, {time}",
        y_label="killed per device and day",
        steps=True,
    )
    head = ["step", f"uptime, {time}", *(f"{run.name} killed in the fleet".strip() for run in having)]
    rows = [
        [
            Cell(f"{step:,}", step),
            Cell(f"{(step + 1) * factor:,.6g}"),
            *(exact_cell(column.get(step), COUNT) for column in columns),
        ]
        for step in sorted({step for column in columns for step in column})
    ]
    return [Panel(ident, title, lead, meaning, svg, Table(head, rows))]
