"""Figures of experiments: the allocator test iteration by iteration, and blocks over the success of large folios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from .names import metric_name, quantile_name
from .panel import Cell, Panel, Table, exact_cell
from .plots import Line, line_figure
from .runs import Run
from .units import COUNT, add_unit, unit_of

TITLES = {"off": "Large swap-in off", "on": "Large swap-in on"}
"""Policies of the allocator test."""
QUANTILES = ("p5", "p50", "p95")
OF_ITERATIONS = ("fallback_permyriad", "swpout", "pgmajfault")
OF_BLOCKS = ("stall_ns", "pool_bytes")


def experiment_panels(run: Run) -> list[Panel]:
    """Figures of an experiment; none of a fleet of phones."""
    if run.part("steps"):
        return [_iteration_panel(run, metric) for metric in OF_ITERATIONS]
    points: Sequence[Mapping[str, Any]] = run.summary.get("points") or []
    codecs = dict.fromkeys(point["codec"] for point in points)
    return [_block_panel(run, codec, metric) for metric in OF_BLOCKS for codec in codecs]


def _iteration_panel(run: Run, metric: str) -> Panel:
    """The median device of each policy over the iterations, with its band."""
    unit = unit_of(metric)
    by_policy = {TITLES[policy]: rows for policy, rows in run.part("steps").items()}
    size, name = unit.step(max(row[metric]["p95"] for rows in by_policy.values() for row in rows))
    lines, columns = [], []
    for label, rows in by_policy.items():
        low, middle, high = ([row[metric][key] / size for row in rows] for key in QUANTILES)
        lines.append(Line(label, [row["step"] for row in rows], middle, low, high))
        for key in QUANTILES:
            cells = [exact_cell(row[metric][key], unit) for row in rows]
            columns.append((add_unit(f"{label} {quantile_name(key)}", unit.head), cells))
    steps = [Cell(f"{row['step']:,}", row["step"]) for row in next(iter(by_policy.values()))]
    facts = {
        "metric": metric,
        "ends": [(label, rows[0][metric]["p50"], rows[-1][metric]["p50"]) for label, rows in by_policy.items()],
    }
    draw = partial(
        line_figure,
        lines=lines,
        x_label="iteration",
        y_label=add_unit(metric_name(metric).lower(), name),
        y_most=unit.most / size if unit.most else None,
    )
    return Panel("iterations", f"iterations-{metric}", facts, draw, _table("iteration", steps, columns))


def _block_panel(run: Run, codec: str, metric: str) -> Panel:
    """What a page costs with blocks of each size, over the success of large-folio allocation."""
    pages = run.summary["pages"]
    unit = unit_of(metric)
    of_codec = [point for point in run.summary["points"] if point["codec"] == codec]
    size, name = unit.step(max(point[metric] for point in of_codec) // pages)
    lines, columns = [], []
    for kib, fallback in dict.fromkeys((point["block_kib"], point["fallback"]) for point in of_codec):
        label = f"{kib}K{', small folios' if fallback else ''}"
        points = [point for point in of_codec if (point["block_kib"], point["fallback"]) == (kib, fallback)]
        x = [point["success_percent"] for point in points]
        lines.append(Line(label, x, [point[metric] / pages / size for point in points]))
        columns.append((add_unit(label, unit.head), [exact_cell(point[metric], unit) for point in points]))
    facts = {
        "metric": metric,
        "codec": codec,
        "pages": pages,
        "pays": [
            (row["variant"], row["pays"])
            for row in run.summary["crossings"]
            if (row["codec"], row["metric"]) == (codec, metric)
        ],
    }
    draw = partial(
        line_figure,
        lines=lines,
        x_label="success of large-folio allocation, %",
        y_label=add_unit(f"{metric_name(metric).lower()} of a page", name),
    )
    rates = [Cell(COUNT.exact(percent), percent) for percent in x]
    return Panel("blocks", f"blocks-{codec}-{metric}", facts, draw, _table("success, %", rates, columns))


def _table(first: str, places: Sequence[Cell], columns: Sequence[tuple[str, Sequence[Cell]]]) -> Table:
    """Columns beside their places."""
    rows = [[place, *cells] for place, *cells in zip(places, *(cells for _, cells in columns), strict=True)]
    return Table([first, *(head for head, _ in columns)], rows)
