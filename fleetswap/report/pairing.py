"""The pairing gain: how many times fewer devices a comparison of the same ones needs."""

from __future__ import annotations

from collections.abc import Sequence

from .differences import finite, rows_of
from .names import metric_name
from .panel import MAX_ROWS, Panel, Section, cut_note
from .plots import bar_figure
from .runs import ALL, Summary
from .table import Cell, Table, decimal_cell

LONGEST = 50
"""Gain at which bars end."""


def pairing_section(rows: Sequence[Summary]) -> Section:
    """How many times fewer devices the paired comparison needs."""
    gains = [(metric, row["pairing_gain"]) for metric, row in rows_of(rows, ALL).items() if _positive(row)]
    if not gains:
        return Section("", [])
    ordered = sorted(gains, key=lambda gain: -gain[1])
    least, most = _times(ordered[-1][1]), _times(ordered[0][1])
    span = most if least == most else f"{least.removesuffix(' times')} to {most}"
    lead = f"Because both policies ran on the same devices, {span} fewer of them are needed."
    meaning = "How many times more devices it would take for the same certainty if each policy ran on devices of its"
    meaning += " own. 1 (dashed) is no gain."
    if ordered[0][1] > LONGEST:
        meaning += f" Bars end at {LONGEST}."
    meaning += cut_note(len(gains))
    title = "Pairing gain"
    svg = bar_figure(
        "pairing",
        title,
        f"{lead} {meaning}",
        [(metric_name(metric), [gain]) for metric, gain in ordered[:MAX_ROWS]],
        [""],
        x_label="times fewer devices",
        show=_times,
        mark=1,
        longest=LONGEST,
    )
    cells = [[Cell(metric_name(metric)), decimal_cell(gain, _times)] for metric, gain in ordered]
    panel = Panel("pairing", title, lead, meaning, svg, Table(["", "pairing gain"], cells))
    return Section("What comparing the same devices gains", [panel])


def _positive(row: Summary) -> bool:
    return finite(row.get("pairing_gain")) and row["pairing_gain"] > 0


def _times(value: float) -> str:
    return f"{value:,.{0 if value >= 99.5 else 1}f} times"
