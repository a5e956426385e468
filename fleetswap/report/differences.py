"""The rows of a comparison: one difference with its interval per metric and class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from .names import ordered
from .runs import ALL, Run, Summary
from .wording import plural


def rows_of(rows: Sequence[Summary], device_class: str) -> dict[str, Summary]:
    """Rows of a class by metric, the telling ones first."""
    found = {row["metric"]: row for row in rows if row.get("class") == device_class}
    return {metric: found[metric] for metric in ordered(found)}


def finite(value: float | None) -> bool:
    """Whether there is such a number."""
    return value is not None and math.isfinite(value)


def better_of(runs: Sequence[Run], row: Summary) -> str:
    """Which run a row finds better, in words."""
    return {"a": f"better: {runs[0].name}", "b": f"better: {runs[1].name}"}.get(str(row.get("better")), "not clear")


def side_of(row: Summary) -> Literal["a", "b", "unclear"]:
    """Which run a row finds better, for a figure."""
    better = row.get("better")
    return "a" if better == "a" else "b" if better == "b" else "unclear"


def verdict_sentence(runs: Sequence[Run], rows: Sequence[Summary]) -> str:
    """How many measures are better, in one sentence."""
    found = [str(row.get("better")) for row in rows_of(rows, ALL).values()]
    if not found:
        return ""
    better, worse = found.count("b"), found.count("a")
    return (
        f"Of {len(found)} {plural(len(found), 'measure')} over the whole fleet, \N{LEFT DOUBLE QUOTATION MARK}"
        f"{runs[1].name}\N{RIGHT DOUBLE QUOTATION MARK} is better in {better} and worse in {worse} than "
        f"\N{LEFT DOUBLE QUOTATION MARK}{runs[0].name}\N{RIGHT DOUBLE QUOTATION MARK}; "
        f"{len(found) - better - worse} {'is' if len(found) - better - worse == 1 else 'are'} not clear. "
        f"Percentages below are changes from the latter to the former."
    )
