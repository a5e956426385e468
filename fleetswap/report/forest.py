"""Forests: what changes, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from .cards import MAX_CARDS
from .differences import better_of, finite, rows_of, side_of
from .names import METRICS, metric_name, ordered
from .panel import MAX_ROWS, Panel, Section, cut_note
from .plots import Difference, forest_figure
from .runs import ALL, Run, Summary, class_name
from .table import Cell, Table, decimal_cell
from .units import change, unit_of
from .wording import joined


def forest_section(runs: Sequence[Run], rows: Sequence[Summary]) -> Section:
    """Relative differences: all metrics over the fleet, then each telling one by class."""
    fleet = rows_of(rows, ALL)
    panels = [
        _forest(runs, "effect-fleet", "All measures, whole fleet", [(metric_name(m), row) for m, row in fleet.items()])
    ]
    shown = [metric for metric in ordered(row["metric"] for row in rows) if metric in METRICS][:MAX_CARDS]
    for metric in shown:
        own = [row for row in rows if row["metric"] == metric]
        if len({row.get("class") for row in own}) > 1:
            named = [(class_name(str(row.get("class"))), row) for row in own]
            panels.append(_forest(runs, f"effect-{metric}", f"{metric_name(metric)} by device class", named))
    return Section("What changes, and how sure that is", [panel for panel in panels if panel is not None])


def _forest(runs: Sequence[Run], ident: str, title: str, named: Sequence[tuple[str, Summary]]) -> Panel | None:
    drawn = [
        Difference(name, row["relative"], row["low"], row["high"], side_of(row))
        for name, row in named
        if all(finite(row.get(key)) for key in ("relative", "low", "high"))
    ]
    if not drawn:
        return None
    cells = []
    for name, row in named:
        unit = unit_of(row["metric"])
        values = [Cell(f"{unit.exact(row[side])} {unit.head}".strip(), row[side]) for side in ("a", "b")]
        ends = [decimal_cell(row.get(key), change) for key in ("relative", "low", "high")]
        cells.append([Cell(name), *values, *ends, Cell(better_of(runs, row))])
    clear = [d for d in drawn if d.verdict != "unclear"]
    lead = "No difference is clear."
    if clear:
        most = max(clear, key=lambda d: abs(d.value))
        lead = f"The greatest clear change is {change(most.value)} ({most.label})."
    names: dict[Literal["a", "b", "unclear"], str] = {
        "b": f"better: {runs[1].name}",
        "a": f"better: {runs[0].name}",
        "unclear": "not clear",
    }
    meaning = f"Change from {runs[0].name} to {runs[1].name}. Lines are confidence intervals: one that crosses 0 leaves"
    meaning += " open which is better." + cut_note(len(drawn))
    missing = joined([name for name, row in named if not all(finite(row.get(k)) for k in ("relative", "low", "high"))])
    if missing:
        meaning += f" Without a relative change, and in the table only: {missing}."
    svg = forest_figure(ident, title, f"{lead} {meaning}", drawn[:MAX_ROWS], names)
    head = ["", *(run.name for run in runs), "change", "from", "to", ""]
    return Panel(ident, title, lead, meaning, svg, Table(head, cells))
