"""What changes over uptime, in steps that a figure can show: metrics, killed apps, large folios granted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from .names import ALL, metric_name, quantile_name
from .panel import DASH, Cell, Panel, Table, exact_cell
from .plots import MAX_SERIES, Line, line_figure
from .runs import Run
from .units import COUNT, add_unit, unit_of

MAX_STEPS = 240
"""Steps of a figure over uptime; of longer runs it shows every second, third and so on."""
Series = Sequence[Mapping[str, int]]


@dataclass(frozen=True)
class Clock:
    """Uptime as figures and tables count it: step 0 is the first, and a point stands where its step ends.

    Parameters
    ----------
    unit : str
        Days of a long run, else hours.
    step_length : float
        In that unit.
    """

    unit: str
    step_length: float

    @classmethod
    def of(cls, runs: Sequence[Run], series: Iterable[Series]) -> Clock:
        """The clock of all these series."""
        steps = max((points[-1]["step"] for points in series if points), default=0) + 1
        hours = runs[0].hours
        return cls("days", hours / 24) if steps * hours > 72 else cls("hours", hours)

    @property
    def label(self) -> str:
        """What an axis or a column is called."""
        return f"uptime, {self.unit}"

    def ends(self, steps: Iterable[int]) -> list[float]:
        """Where steps end."""
        return [(step + 1) * self.step_length for step in steps]

    def table(self, columns: Sequence[tuple[str, Mapping[int, Cell]]]) -> Table:
        """A row per step of any column, given as head and cells by step."""
        steps = sorted({step for _, cells in columns for step in cells})
        rows = [
            [Cell(f"{step:,}", step), Cell(f"{end:,.6g}"), *(cells.get(step, Cell(DASH)) for _, cells in columns)]
            for step, end in zip(steps, self.ends(steps), strict=True)
        ]
        return Table(["step", self.label, *(head for head, _ in columns)], rows)


def uptime_panel(runs: Sequence[Run], metric: str) -> Panel | None:
    """The median device over uptime with its band; of a single run also the classes' medians."""
    unit = unit_of(metric)
    recorded = [run for run in runs if run.series(ALL, metric)]
    if not recorded:
        return None
    bands = [(run.name if len(runs) > 1 else "all devices", run.series(ALL, metric)) for run in recorded]
    medians: list[tuple[str, Series]] = []
    if len(runs) == 1:
        medians = [(name, runs[0].series(name, metric)) for name in runs[0].classes if runs[0].series(name, metric)]
        # More would hide the band; the figure by class has them all.
        medians = medians if 1 < len(medians) < MAX_SERIES else []
    clock = Clock.of(runs, (points for _, points in bands + medians))
    longest = max(len(points) for _, points in bands + medians)
    places = thin_steps(longest, MAX_STEPS)
    size, name = unit.steps[0] if unit.most else unit.step(max(p["p95"] for _, points in bands for p in points))
    lines: list[Line] = []
    columns = []
    for label, points in bands + medians:
        is_median = len(lines) >= len(bands)
        shown = [points[place] for place in places if place < len(points)]
        middle, low, high = ([p[key] / size for p in shown] for key in ("p50", "p5", "p95"))
        x = clock.ends(p["step"] for p in shown)
        lines.append(Line(label, x, middle, minor=True) if is_median else Line(label, x, middle, low, high))
        for key in ("p50",) if is_median else ("p5", "p50", "p95"):
            head = add_unit(f"{label} {quantile_name(key)}", unit.head)
            columns.append((head, {p["step"]: exact_cell(p[key], unit) for p in shown}))
    facts = {
        "metric": metric,
        # Quantiles of a step come from a histogram: what changes is said of exact figures only.
        "ends": [(run.name, *_ends(run, metric)) for run in recorded],
        "is_average": bool(unit.sums and recorded[-1].devices.get(ALL)),
        "last": recorded[-1].series(ALL, metric)[-1],
        "step_hours": recorded[0].hours if unit.sums else None,
        "has_medians": bool(medians),
        "step_distance": places[1] - places[0] if len(places) < longest else 1,
    }
    draw = partial(
        line_figure,
        lines=lines,
        x_label=clock.label,
        y_label=add_unit(metric_name(metric).lower(), name),
        y_most=unit.most / size if unit.most else None,
    )
    return Panel("uptime", f"uptime-{metric}", facts, draw, clock.table(columns))


def _ends(run: Run, metric: str) -> tuple[int, int]:
    """What the fleet has in the first and in the last step; of what adds up, that of a device on average."""
    points = run.series(ALL, metric)
    devices = (unit_of(metric).sums and run.devices.get(ALL)) or 1
    return points[0]["total"] // devices, points[-1]["total"] // devices


def kill_panel(runs: Sequence[Run]) -> Panel | None:
    """Killed apps over uptime, as a rate."""
    recorded = [(run, run.series(ALL, "kills")) for run in runs]
    recorded = [(run, points) for run, points in recorded if points and run.devices.get(ALL)]
    if not recorded:
        return None
    clock = Clock.of(runs, (points for _, points in recorded))
    lines, columns, totals = [], [], []
    for run, points in recorded:
        groups = [points[start:end] for start, end in group_steps(len(points), MAX_STEPS)]
        sums = {group[-1]["step"]: sum(p["total"] for p in group) for group in groups}
        rates = [_kill_rate(run, total, len(group)) for total, group in zip(sums.values(), groups, strict=True)]
        # Rates hold between two ends of steps: the first one from the beginning.
        lines.append(Line(run.name, [0.0, *clock.ends(sums)], [rates[0], *rates]))
        columns.append((run.label("killed in the fleet"), {s: exact_cell(total, COUNT) for s, total in sums.items()}))
        total = sum(sums.values())
        totals.append((run.name, total, _kill_rate(run, total, len(points))))
    facts = {"totals": totals, "is_grouped": any(len(points) > MAX_STEPS for _, points in recorded)}
    draw = partial(line_figure, lines=lines, x_label=clock.label, y_label="killed per device and day", steps=True)
    return Panel("kills", "uptime-kills", facts, draw, clock.table(columns))


def _kill_rate(run: Run, total: int, steps: int) -> float:
    """Killed apps per device and day."""
    return 24 * total / (run.devices[ALL] * run.hours * steps)


def allocation_panel(runs: Sequence[Run]) -> Panel | None:
    """Large folios that memory could give over uptime, by size."""
    requests: dict[str, int] = {}
    for run in runs:
        for size, points in run.part("allocation").items():
            requests[size] = requests.get(size, 0) + sum(p["wanted"] for p in points)
    sizes = [size for size, total in requests.items() if total]
    # Those that are asked for most are drawn, the same ones of every run.
    drawn = sorted(sizes, key=lambda size: -requests[size])[: MAX_SERIES // len(runs)]
    recorded = [(size, run, run.part("allocation").get(size) or []) for size in sizes for run in runs]
    recorded = [(size, run, points) for size, run, points in recorded if any(p["wanted"] for p in points)]
    if not recorded:
        return None
    clock = Clock.of(runs, (points for _, _, points in recorded))
    lines, columns, ends = [], [], []
    for size, run, points in recorded:
        label = f"{size} {run.name}".strip()
        groups = [points[start:end] for start, end in group_steps(len(points), MAX_STEPS)]
        steps = [group[-1]["step"] for group in groups]
        wanted, granted = ([sum(p[key] for p in group) for group in groups] for key in ("wanted", "granted"))
        shares = [100 * g / w if w else math.nan for w, g in zip(wanted, granted, strict=True)]
        if size in drawn:
            lines.append(Line(label, clock.ends(steps), shares))
            known = [share for share in shares if math.isfinite(share)]
            ends.append((label, known[0], known[-1]))
        texts = [Cell(f"{share:.2f}" if math.isfinite(share) else DASH) for share in shares]
        for head, cells in (
            ("wanted", [exact_cell(value, COUNT) for value in wanted]),
            ("granted", [exact_cell(value, COUNT) for value in granted]),
            ("granted, %", texts),
        ):
            columns.append((f"{label} {head}", dict(zip(steps, cells, strict=True))))
    facts = {
        "ends": ends,
        "is_grouped": any(len(points) > MAX_STEPS for _, _, points in recorded),
        "drawn": len(drawn),
        "sizes": len(sizes),
    }
    draw = partial(line_figure, lines=lines, x_label=clock.label, y_label="granted, % of requests", y_most=100)
    return Panel("allocation", "allocation", facts, draw, clock.table(columns))


def thin_steps(count: int, most: int) -> list[int]:
    """Places of at most `most` of `count` values, evenly apart, the last one among them."""
    step = max(1, -(-count // most))
    return list(range((count - 1) % step, count, step))


def group_steps(count: int, most: int) -> list[tuple[int, int]]:
    """Bounds of at most `most` groups of `count` values, of equal size but for the first."""
    ends = [0, *(place + 1 for place in thin_steps(count, most))]
    return list(pairwise(ends))
