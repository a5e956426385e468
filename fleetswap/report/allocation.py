"""Large folios that memory could give, over uptime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import compress

from .panel import Panel
from .plots import MAX_SERIES, Line, line_figure
from .runs import Run
from .table import DASH, Cell, Table, exact_cell
from .units import COUNT, SPACE
from .uptime import MAX_STEPS, grouped, x_axis
from .wording import joined


def allocation_panels(runs: Sequence[Run]) -> list[Panel]:
    """Large folios that memory could give over uptime, by size."""
    asked_of: dict[str, int] = {}
    for run in runs:
        for size, points in (run.summary.get("allocation") or {}).items():
            asked_of[size] = asked_of.get(size, 0) + sum(p["wanted"] for p in points)
    sizes = [size for size, asked in asked_of.items() if asked]
    # Those that are asked for most are drawn, the same ones of every run.
    drawn = sorted(sizes, key=lambda size: -asked_of[size])[: MAX_SERIES // len(runs)]
    wanted, is_drawn = [], []
    for size in sizes:
        for run in runs:
            points = (run.summary.get("allocation") or {}).get(size) or []
            if any(p["wanted"] for p in points):
                wanted.append((f"{size} {run.name}".strip(), points))
                is_drawn.append(size in drawn)
    if not wanted:
        return []
    factor, time = x_axis(runs, (points for _, points in wanted))
    lines, columns = [], []
    for text, points in wanted:
        groups = [points[start:end] for start, end in grouped(len(points), MAX_STEPS)]
        sums = {g[-1]["step"]: (sum(p["wanted"] for p in g), sum(p["granted"] for p in g)) for g in groups}
        shares = [100 * granted / asked if asked else math.nan for asked, granted in sums.values()]
        lines.append(Line(text, [(step + 1) * factor for step in sums], shares))
        columns.append(sums)
    ends = []
    shown = list(compress(lines, is_drawn))
    for line in shown:
        known = [share for share in line.y if math.isfinite(share)]
        ends.append(f"{line.label} from {known[0]:.1f}{SPACE}% to {known[-1]:.1f}{SPACE}%")
    ident, title = "allocation", "Large folios that memory could give, over uptime"
    lead = f"Requests granted: {joined(ends)}."
    meaning = "Of the large folios asked of the page allocator, those it had; over the whole fleet. The more memory is"
    meaning += " fragmented, the fewer."
    if any(len(column) < len(points) for column, (_, points) in zip(columns, wanted, strict=True)):
        meaning += " Steps are added up in groups."
    if len(drawn) < len(sizes):
        meaning += f" The figure shows the {len(drawn)} sizes asked for most; the table has all {len(sizes)}."
    svg = line_figure(
        ident,
        title,
        f"{lead} {meaning}",
        shown,
        x_label=f"uptime, {time}",
        y_label="granted, % of requests",
        y_most=100,
    )
    head = ["step", f"uptime, {time}"]
    for line in lines:
        head += [f"{line.label} {what}" for what in ("wanted", "granted", "granted, %")]
    rows = []
    for step in sorted({step for column in columns for step in column}):
        row = [Cell(f"{step:,}", step), Cell(f"{(step + 1) * factor:,.6g}")]
        for column in columns:
            asked, granted = column.get(step, (None, None))
            row += [exact_cell(asked, COUNT), exact_cell(granted, COUNT)]
            row.append(Cell(f"{100 * granted / asked:.2f}" if asked and granted is not None else DASH))
        rows.append(row)
    return [Panel(ident, title, lead, meaning, svg, Table(head, rows))]
