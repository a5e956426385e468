"""Device classes: how a metric is spread over the devices of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .names import meaning_of, metric_name, quantile_name
from .panel import MAX_ROWS, Panel, cut_note
from .plots import Spread, spread_figure
from .runs import ALL, Run, class_name, classes_of
from .table import Cell, Table, exact_cell
from .units import COUNT, Unit, headed, unit_of


def class_panels(runs: Sequence[Run], metric: str, title: str) -> list[Panel]:
    """Quantiles of a metric over the devices of every class."""
    unit = unit_of(metric)
    keys = ("p5", "p50", "p95", "p99")
    names = dict.fromkeys(name for run in runs for name in (ALL, *classes_of(run)))
    found: list[tuple[str, list[Mapping[str, int]]]]
    found = [(name, [run.quantiles(name, metric) for run in runs]) for name in names]
    found = [(name, [cell if all(key in cell for key in keys) else {} for cell in cells]) for name, cells in found]
    found = [(name, cells) for name, cells in found if any(cells)]
    if not found:
        return []
    top = max(max(cell.get("p95", 0), cell.get("p99", 0)) for _, cells in found for cell in cells)
    size, name = unit.step(top)
    rows = [
        (class_name(c), [Spread(*(cell[key] / size for key in keys)) if cell else None for cell in cells])
        for c, cells in found[:MAX_ROWS]
    ]
    ident = f"classes-{metric}"
    medians = [(c, cells[-1]["p50"]) for c, cells in found if c != ALL and cells[-1]]
    who = f"{runs[-1].name}: the" if len(runs) > 1 else "The"
    if len(medians) > 1:
        least, most = min(medians, key=lambda m: m[1]), max(medians, key=lambda m: m[1])
        lead = f"{who} median device has {unit.human(least[1])} in class {least[0]}, {unit.human(most[1])} in class "
        lead += f"{most[0]}."
    else:
        lead = f"{who} median device has {unit.human(found[0][1][-1].get('p50', 0))}."
    meaning = f"{meaning_of(metric)}Each device counts once, over the whole run.{cut_note(len(found))}"
    if len(runs) > 1:
        meaning += " Markers: median device; bars: 5 % to 95 % of devices; ticks: 99 %."
    svg = spread_figure(
        ident,
        title,
        f"{lead} {meaning}",
        rows,
        [run.name for run in runs],
        x_label=headed(f"{metric_name(metric).lower()} of a device", Unit(name, 1, ())),
        x_most=unit.most / size if unit.most else None,
    )
    head = ["class", "devices"]
    for run in runs:
        head += [headed(f"{run.name} {quantile_name(key)}".strip(), unit) for key in keys]
        head.append(headed(f"{run.name} whole fleet".strip(), unit))
    cells_of = [
        [
            Cell(class_name(c)),
            exact_cell(runs[-1].devices.get(c), COUNT),
            *(exact_cell(cell.get(key), unit) for cell in cells for key in (*keys, "total")),
        ]
        for c, cells in found
    ]
    return [Panel(ident, title, lead, meaning, svg, Table(head, cells_of))]
