"""Device classes: how a metric is spread over the devices of each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from .names import ALL, class_name, metric_name, quantile_name
from .panel import MAX_ROWS, Cell, Panel, Table, exact_cell
from .plots import Spread, spread_figure
from .runs import Run
from .units import COUNT, add_unit, unit_of

QUANTILES = ("p5", "p50", "p95", "p99")


def class_panel(runs: Sequence[Run], metric: str) -> Panel | None:
    """Quantiles of a metric over the devices of every class."""
    unit = unit_of(metric)
    spreads = []
    for name in dict.fromkeys(name for run in runs for name in (ALL, *run.classes)):
        quantiles = [run.quantiles(name, metric) for run in runs]
        quantiles = [values if all(key in values for key in QUANTILES) else {} for values in quantiles]
        if any(quantiles):
            spreads.append((name, quantiles))
    if not spreads:
        return None
    size, unit_name = unit.step(
        max(max(q.get("p95", 0), q.get("p99", 0)) for _, quantiles in spreads for q in quantiles)
    )
    medians = [(name, quantiles[-1]["p50"]) for name, quantiles in spreads if name != ALL and quantiles[-1]]
    facts = {
        "metric": metric,
        "run": runs[-1].name,
        "is_compared": len(runs) > 1,
        "median": spreads[0][1][-1].get("p50", 0),
        "least": min(medians, key=lambda median: median[1]) if len(medians) > 1 else None,
        "most": max(medians, key=lambda median: median[1]) if len(medians) > 1 else None,
        "rows": len(spreads),
    }
    draw = partial(
        spread_figure,
        rows=[
            (class_name(name), [Spread(*(q[key] / size for key in QUANTILES)) if q else None for q in quantiles])
            for name, quantiles in spreads[:MAX_ROWS]
        ],
        series=[run.name for run in runs],
        x_label=add_unit(f"{metric_name(metric).lower()} of a device", unit_name),
        x_most=unit.most / size if unit.most else None,
    )
    columns = (*(quantile_name(key) for key in QUANTILES), "whole fleet")
    head = ["class", "devices", *(add_unit(run.label(column), unit.head) for run in runs for column in columns)]
    rows = [
        [
            Cell(class_name(name)),
            exact_cell(runs[-1].devices.get(name), COUNT),
            *(exact_cell(q.get(key), unit) for q in quantiles for key in (*QUANTILES, "total")),
        ]
        for name, quantiles in spreads
    ]
    return Panel("classes", f"classes-{metric}", facts, draw, Table(head, rows))
