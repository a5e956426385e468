"""Fallbacks to small folios: their reasons, and what could still come back as a large one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from .names import reason_name
from .panel import DASH, MAX_ROWS, Cell, Panel, Table, exact_cell
from .plots import bar_figure
from .runs import Run
from .svg import Caption
from .units import COUNT, add_unit


def reason_panel(runs: Sequence[Run], kind: str) -> Panel | None:
    """Reasons of fallbacks at `swapin` or `swapout` as bars, the most frequent first."""
    counts = [run.part("fallback").get(kind) or {} for run in runs]
    if not any(counts):
        return None
    totals = [sum(count.values()) for count in counts]
    reasons = sorted(
        dict.fromkeys(reason for count in counts for reason in count),
        key=lambda reason: -max(count.get(reason, 0) for count in counts),
    )
    happened = [reason for reason in reasons if any(count.get(reason) for count in counts)]
    most_frequent = []
    for run, count, total in zip(runs, counts, totals, strict=True):
        first = max(count, key=lambda reason: count[reason], default="")
        most_frequent.append((run.name, reason_name(kind, first), 100 * count[first] / total if total else 0.0, total))
    drawn = (happened or reasons)[:MAX_ROWS]
    bars = [(reason_name(kind, reason), [count.get(reason, 0) for count in counts]) for reason in drawn]
    head = ["reason", "name", *(run.label(text) for run in runs for text in ("count", "share, %"))]
    rows = []
    for reason in reasons:
        row = [Cell(reason_name(kind, reason)), Cell(reason)]
        for count, total in zip(counts, totals, strict=True):
            share = f"{100 * count.get(reason, 0) / total:.2f}" if total else DASH
            row += [exact_cell(count.get(reason), COUNT), Cell(share)]
        rows.append(row)
    facts = {"kind": kind, "most_frequent": most_frequent, "rows": len(happened)}
    return Panel("reasons", f"reasons-{kind}", facts, _draw_counts(runs, bars, "fallbacks"), Table(head, rows))


def census_panel(runs: Sequence[Run]) -> Panel | None:
    """Swapped pages by the largest folio that could bring them back."""
    counts = [
        {int(order): pages for order, pages in run.part("census").items() if str(order).isdigit()} for run in runs
    ]
    orders = sorted({order for count in counts for order in count})
    drawn = [order for order in orders if any(count.get(order) for count in counts)]
    if not drawn:
        return None
    shares = []
    for run, count in zip(runs, counts, strict=True):
        total = sum(count.values())
        if total:
            shares.append((run.name, 100 * (total - count.get(0, 0)) / total))
    bars = [(_folio_size(order), [count.get(order, 0) for count in counts]) for order in drawn]
    rows = [
        [Cell(_folio_size(order)), Cell(str(order), order), *(exact_cell(count.get(order), COUNT) for count in counts)]
        for order in orders
    ]
    head = ["folio", "order", *(run.label("pages") for run in runs)]
    return Panel("census", "census", {"shares": shares}, _draw_counts(runs, bars, "pages"), Table(head, rows))


def _draw_counts(
    runs: Sequence[Run], bars: Sequence[tuple[str, Sequence[int]]], counted: str
) -> Callable[[Caption], str]:
    """Draws a bar of each run for every count, all in the unit that suits the greatest."""
    size, name = COUNT.step(max(number for _, numbers in bars for number in numbers))
    return partial(
        bar_figure,
        rows=[(text, [number / size for number in numbers]) for text, numbers in bars],
        series=[run.name for run in runs],
        x_label=add_unit(counted, name),
        show=lambda value: COUNT.human(round(value * size)),
    )


def _folio_size(order: int) -> str:
    return f"{4 << order}K" if order < 8 else f"{(4 << order) >> 10}M"
