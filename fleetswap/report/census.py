"""The census of swapped-out pages: what could still come back as a large folio."""

from __future__ import annotations

from collections.abc import Sequence

from .panel import Panel
from .plots import bar_figure
from .runs import Run
from .table import Cell, Table, exact_cell
from .units import COUNT, SPACE
from .wording import joined


def census_panels(runs: Sequence[Run]) -> list[Panel]:
    """Swapped pages by the largest folio that could bring them back."""
    counts = [
        {int(order): pages for order, pages in (run.summary.get("census") or {}).items() if str(order).isdigit()}
        for run in runs
    ]
    orders = sorted({order for count in counts for order, pages in count.items() if pages})
    if not orders:
        return []
    totals = [sum(count.values()) for count in counts]
    parts = []
    for run, count, total in zip(runs, counts, totals, strict=True):
        if total:
            share = 100 * (total - count.get(0, 0)) / total
            parts.append(f"{run.name}: {share:.1f}{SPACE}%" if run.name else f"{share:.1f}{SPACE}%")
    ident, title = "census", "What could still come back as a large folio"
    lead = f"Swapped-out pages that one large folio could bring back: {joined(parts)}."
    meaning = "All swapped-out pages at the end, by the largest folio that a fault on them could bring in, if memory"
    meaning += " and policy allow it. 4K pages come back one by one."
    size, name = COUNT.step(max(pages for count in counts for pages in count.values()))
    svg = bar_figure(
        ident,
        title,
        f"{lead} {meaning}",
        [(_folio(order), [count.get(order, 0) / size for count in counts]) for order in orders],
        [run.name for run in runs],
        x_label=f"pages, {name}" if name else "pages",
        show=lambda value: COUNT.human(round(value * size)),
    )
    head = ["folio", "order", *(f"{run.name} pages".strip() for run in runs)]
    rows = [
        [Cell(_folio(order)), Cell(str(order), order), *(exact_cell(count.get(order), COUNT) for count in counts)]
        for order in sorted({order for count in counts for order in count})
    ]
    return [Panel(ident, title, lead, meaning, svg, Table(head, rows))]


def _folio(order: int) -> str:
    return f"{4 << order}K" if order < 8 else f"{(4 << order) >> 10}M"
