"""The devices that get worse."""

from __future__ import annotations

from collections.abc import Sequence

from .names import metric_name, ordered
from .panel import MAX_ROWS, Panel, Section, cut_note
from .plots import bar_figure
from .runs import ALL, Run, Summary, class_name
from .table import Cell, Table, exact_cell
from .units import PERMILLE, SPACE


def losers_section(runs: Sequence[Run], rows: Sequence[Summary]) -> Section:
    """Which devices get worse: over the fleet, and the worst class of each metric."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        if row.get("worse_devices_permille") is not None:
            found.setdefault(row["metric"], {})[str(row.get("class"))] = row["worse_devices_permille"]
    metrics = [metric for metric in ordered(found) if ALL in found[metric]]
    if not metrics:
        return Section("", [])
    classes = list(dict.fromkeys(name for metric in metrics for name in found[metric]))
    title = f"Devices for which {runs[1].name} is worse"
    worst = max(
        ((share, metric, name) for metric in metrics for name, share in found[metric].items() if name != ALL),
        key=lambda entry: entry[0],
        default=None,
    )
    lead = f"{PERMILLE.human(found[metrics[0]][ALL])} of all devices get worse in {metric_name(metrics[0]).lower()}."
    if worst and worst[0]:
        lead += f" The worst case is {metric_name(worst[1]).lower()} in class {worst[2]}: {PERMILLE.human(worst[0])}."
    meaning = "A policy that is better on average can still be worse for some. The table has every class."
    svg = bar_figure(
        "worse",
        title,
        f"{lead} {meaning}",
        [(metric_name(metric), [found[metric][ALL] / 10]) for metric in metrics[:MAX_ROWS]],
        [""],
        x_label="% of devices",
        show=lambda value: f"{value:.1f}{SPACE}%",
    )
    head = ["worse, % of devices", *(class_name(name) for name in classes)]
    cells = [
        [Cell(metric_name(metric)), *(exact_cell(found[metric].get(name), PERMILLE) for name in classes)]
        for metric in metrics
    ]
    panel = Panel("worse", title, lead, meaning + cut_note(len(metrics)), svg, Table(head, cells))
    return Section("Who loses", [panel])
