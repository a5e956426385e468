"""One HTML file for people who decide: what was asked, the answer with its spread, figures, and where it comes from.

The file needs nothing else: no script, no font, no image, no address. A content security policy in it forbids browsers
to fetch any. Numbers in the text are rounded and have units; the tables under the figures have the exact integers.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from itertools import compress
from pathlib import Path
from typing import Any, Literal

from .errors import InputError
from .plots import (
    MAX_SERIES,
    Difference,
    Line,
    Spread,
    bar_figure,
    change,
    forest_figure,
    grouped,
    line_figure,
    spread_figure,
    thinned,
)

Summary = Mapping[str, Any]
ALL = "all"
MAX_STEPS = 240
"""Steps of a figure over uptime; of longer runs it shows every second, third and so on."""
MAX_ROWS = 24
"""Rows of a figure; its table has all."""
MAX_CARDS = 6
DASH = "\N{EN DASH}"
SPACE = "\N{NO-BREAK SPACE}"
"""Between a number and its unit."""


@dataclass(frozen=True)
class Unit:
    """How the integers of a metric are written.

    Parameters
    ----------
    head : str
        Unit of exact values, for the head of a table.
    divisor : int
        Integers in one such unit, a power of 10.
    steps : tuple of (int, str)
        From which value on people count in which unit, ascending.
    most : int or None
        Greatest value there is.
    sums : bool
        Whether the whole fleet's value is the sum of its devices' values, and not a share of sums.
    """

    head: str
    divisor: int
    steps: tuple[tuple[int, str], ...]
    most: int | None = None
    sums: bool = True

    def exact(self, value: int) -> str:
        """All digits."""
        if self.divisor == 1:
            return f"{value:,}"
        whole, rest = divmod(abs(value), self.divisor)
        return f"{'-' if value < 0 else ''}{whole:,}.{rest:0{len(str(self.divisor)) - 1}}"

    def step(self, value: int) -> tuple[int, str]:
        """Unit that suits a value."""
        fit = [step for step in self.steps if step[0] <= abs(value)]
        return fit[-1] if fit else self.steps[0]

    def human(self, value: int) -> str:
        """Three digits and a unit."""
        size, name = self.step(value)
        amount = value / size
        digits = 0 if abs(amount) >= 99.95 or size == 1 or not value else 1 if abs(amount) >= 9.995 else 2
        return f"{amount:,.{digits}f}{SPACE}{name}".rstrip(SPACE)


COUNT = Unit("", 1, ((1, ""), (10**6, "million"), (10**9, "billion")))
PERMYRIAD = Unit("%", 100, ((100, "%"),), most=10_000, sums=False)
PERMILLE = Unit("%", 10, ((10, "%"),), most=1000, sums=False)
RATIO = Unit("times", 1000, ((1000, "times"),), sums=False)
BYTES = Unit("bytes", 1, ((1, "B"), (1 << 10, "KiB"), (1 << 20, "MiB"), (1 << 30, "GiB"), (1 << 40, "TiB")))
NANOSECONDS = Unit(
    "ns",
    1,
    (
        (1, "ns"),
        (10**3, "\N{MICRO SIGN}s"),
        (10**6, "ms"),
        (10**9, "s"),
        (60 * 10**9, "min"),
        (3600 * 10**9, "h"),
    ),
)
SUFFIXES = {
    "_permyriad": PERMYRIAD,
    "ratio_permille": RATIO,
    "_permille": PERMILLE,
    "_bytes": BYTES,
    "_ns": NANOSECONDS,
}


@dataclass(frozen=True)
class Metric:
    """What people call a metric, and what it means."""

    name: str
    meaning: str = ""


METRICS = {
    "fallback_permyriad": Metric(
        "Swap-out fallback", "large folios that found no run of free swap slots and were split into single pages"
    ),
    "swapin_large_permyriad": Metric("Large swap-in", "swapped-in pages that came back as part of a large folio"),
    "pgmajfault": Metric("Major faults", "times an app had to wait for a page from zram"),
    "memory_saved_bytes": Metric("Memory saved", "memory that compression gained"),
    "stall_ns": Metric("Stall time", "time that apps waited for swap"),
    "kills": Metric("Apps killed", "background apps that were killed for want of memory"),
    "ratio_permille": Metric("Compression ratio", "size of the pages in zram over the memory they take there"),
    "cpu_ns": Metric("CPU time of swap", "processor time spent on swap"),
    "pswpin": Metric("Pages swapped in", "single pages read from zram, whether needed or not"),
    "pswpout": Metric("Pages swapped out", "single pages written to zram"),
    "refaults": Metric("Refaults", "pages that were needed again after they had been swapped out"),
    "alloc_success_permyriad": Metric("Large folios granted", "requests for a large folio that free memory could meet"),
    "cold_starts": Metric("Cold starts", "apps that had to be started anew"),
    "decompressed_bytes": Metric("Bytes decompressed", "what the codec put out"),
    "fragmentation_permille": Metric(
        "Fragmentation", "free memory that lies in pieces too small for large folios"
    ),
}  # fmt: skip
"""Metrics that a reader should see, the most telling ones first."""

SWAPIN_REASONS = {
    "policy": "Switched off by the policy",
    "order_mismatch": "Swap slots not aligned like the pages",
    "vma_bounds": "Reaches beyond the memory region",
    "not_contiguous": "Neighbours not in neighbouring slots",
    "zeromap_mixed": "Zero pages and others mixed",
    "swap_cache": "Parts already in the swap cache",
    "allocation": "No large folio free in memory",
    "charge": "Limit of the memory group",
    "margin": "Margin rule: too little free memory",
}
SWAPOUT_REASONS = {
    "swap_full": "Swap is full",
    "no_aligned_hole": "Free slots are scattered",
    "order_mismatch": "Holes only among other folio sizes",
    "not_reached": "The hole appeared behind the search",
    "charge": "Limit of the memory group",
}


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what is shown, and the number behind it."""

    text: str
    raw: int | float | None = None


@dataclass(frozen=True)
class Table:
    """A table with the numbers of a figure."""

    head: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Panel:
    """A figure, what it says, and its numbers."""

    ident: str
    title: str
    lead: str
    meaning: str
    svg: str
    table: Table


@dataclass(frozen=True)
class Section:
    """Figures that answer one question."""

    title: str
    panels: list[Panel]


@dataclass(frozen=True)
class Card:
    """A big figure with its spread."""

    title: str
    value: str
    spread: str
    meaning: str
    verdict: str = ""


@dataclass(frozen=True)
class Run:
    """A run, and how a comparison calls it."""

    name: str
    summary: Summary

    @property
    def devices(self) -> Mapping[str, int]:
        """Number of devices, by class."""
        return self.summary.get("devices") or {}

    @property
    def hours(self) -> float:
        """Hours of a step."""
        return float(self.summary.get("hours_per_step") or 1)

    def quantiles(self, device_class: str, metric: str) -> Mapping[str, int]:
        """Total and quantiles of a metric; empty if it was not recorded."""
        return ((self.summary.get("metrics") or {}).get(device_class) or {}).get(metric) or {}

    def series(self, device_class: str, metric: str) -> Sequence[Mapping[str, int]]:
        """A metric over uptime; empty if it was not recorded."""
        return ((self.summary.get("series") or {}).get(device_class) or {}).get(metric) or []


@dataclass
class _Page:
    """What the template shows."""

    title: str
    asked: list[tuple[str, str]]
    scope: str
    differences: Table | None = None
    verdict: str = ""
    cards: list[Card] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    explanations: list[tuple[str, list[str]]] = field(default_factory=list)
    fleet: Table | None = None
    assumptions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    provenance: Table | None = None
    scenarios: list[tuple[str, str]] = field(default_factory=list)


def render_run(summary: Summary) -> str:
    """The report of a run.

    Parameters
    ----------
    summary : mapping
        A run's summary: scenario, metrics and series by device class, allocation, fallbacks. What it lacks is left out.

    Returns
    -------
    str
        An HTML document; the same for the same summary.
    """
    run = Run("", summary)
    scenario = summary.get("scenario") or {}
    page = _Page(
        str(scenario.get("title") or scenario.get("name") or "Fleet"), [("", _sentence(scenario))], _scope([run])
    )
    page.cards = _cards(run)
    page.sections = _sections([run])
    _sources(page, [run])
    return _render(page)


def render_comparison(comparison: Mapping[str, Any]) -> str:
    """The report of a comparison of two policies on the same devices.

    Parameters
    ----------
    comparison : mapping
        `a` and `b`, the summaries; `label_a` and `label_b`; `rows`, one per metric and class; `explanations`.

    Returns
    -------
    str
        An HTML document; the same for the same comparison.
    """
    runs = [
        Run(str(comparison.get(f"label_{side}") or side.upper()), comparison.get(side) or {}) for side in ("a", "b")
    ]
    a, b = (run.summary.get("scenario") or {} for run in runs)
    name = str(b.get("title") or b.get("name") or "Fleet")
    asked = [(run.name, _sentence(scenario)) for run, scenario in zip(runs, (a, b), strict=True)]
    page = _Page(_capital(f"{runs[0].name} or {runs[1].name}? {name}"), asked, _scope(runs))
    rows = [row for row in comparison.get("rows") or [] if row.get("metric")]
    page.differences = _scenario_differences(runs, a, b)
    page.verdict = _verdict(runs, rows)
    page.cards = _difference_cards(runs, rows)
    page.sections = [s for s in (_forests(runs, rows), _pairing(rows), _worse(runs, rows)) if s.panels]
    page.sections += _sections(runs)
    page.explanations = [
        (str(e.get("title", "")), [part for part in str(e.get("text", "")).split("\n\n") if part.strip()])
        for e in comparison.get("explanations") or []
    ]
    _sources(page, runs)
    return _render(page)


def write_report(path: Path, html: str) -> None:
    """Write a report; a file of that name is replaced at the end, or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(html.encode("utf-8", "xmlcharrefreplace"))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        # A name that nothing could be written to, such as one below a file, needs no cleaning.
        if partial.is_file():
            partial.unlink()


def _render(page: _Page) -> str:
    from jinja2 import Environment, StrictUndefined

    source = (resources.files("fleetswap") / "data" / "report" / "report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(page=page)


def unit_of(metric: str) -> Unit:
    """Unit of a metric, by the end of its name."""
    return next((unit for suffix, unit in SUFFIXES.items() if metric.endswith(suffix)), COUNT)


def _name(metric: str) -> str:
    return METRICS[metric].name if metric in METRICS else metric


def _headed(text: str, unit: Unit) -> str:
    return f"{text}, {unit.head}" if unit.head else text


def _cell(value: int | None, unit: Unit) -> Cell:
    return Cell(DASH) if value is None else Cell(unit.exact(value), value)


def _text(value: object) -> Cell:
    return Cell(DASH if value is None else str(value))


def _decimal(value: float | None, show: Callable[[float], str]) -> Cell:
    return Cell(show(value), value) if _finite(value) and value is not None else Cell(DASH)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _span(low: int, high: int, unit: Unit) -> str:
    """Two values, or one where people would read the same twice."""
    texts = dict.fromkeys((unit.human(low), unit.human(high)))
    return " to ".join(texts)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _joined(parts: Sequence[str]) -> str:
    """Parts of a sentence: a, b and c."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1]))) if parts else ""


# What was asked


def _sentence(scenario: Summary) -> str:
    """The policy of a scenario in one sentence."""
    policy = scenario.get("policy") or {}
    parts = []
    if "large_swapin" in policy:
        upto = str(policy["large_swapin"])
        sizes = policy.get("swapin_sizes") or {}
        text = {"off": "large swap-in off", "on": "large swap-in on"}.get(upto, f"large swap-in up to {upto}")
        if sizes:
            text += f" ({', '.join(f'{size} {setting}' for size, setting in sizes.items())})"
        parts.append(text)
    classes = (scenario.get("device_class") or {}).values()
    folios = {size: setting for size, setting in (policy.get("mthp") or {}).items() if setting != "never"}
    if "mthp" in policy:
        if folios:
            shown = _joined([f"{size} ({_setting(setting, policy)})" for size, setting in folios.items()])
            parts.append(f"large folios of {shown}")
        else:
            parts.append("no large folios")
        if any(isinstance(c, Mapping) and c.get("mthp") for c in classes):
            parts[-1] += " where the device class says nothing else"
    if policy.get("margin_rule"):
        parts.append("large swap-in only while enough memory is free")
    pool = policy.get("large_pool") or {}
    if pool.get("share_percent"):
        parts.append(f"{pool['share_percent']}{SPACE}% of memory reserved for folios of {pool.get('size')} and larger")
    if "zeromap" in policy:
        known = {"on": "zero-filled pages marked instead of stored", "off": "zero-filled pages stored"}
        parts.append(known.get(str(policy["zeromap"]), f"marks of zero-filled pages as in {policy['zeromap']}"))
    for key, text in (("compaction", "app compaction"), ("lmkd", "low-memory killer")):
        if "enabled" in (policy.get(key) or {}):
            parts.append(f"{text} {'on' if policy[key]['enabled'] else 'off'}")
    if "kernel" in policy:
        known = {"v7": "kernel rules of the patch's version 7"}
        parts.append(known.get(str(policy["kernel"]), f"kernel rules of Linux {policy['kernel']}"))
    return _capital(_joined(parts) or "the scenario's default policy") + "."


def _setting(setting: str, policy: Summary) -> str:
    return f"inherits {policy['thp']}" if setting == "inherit" and "thp" in policy else str(setting)


def _scope(runs: Sequence[Run]) -> str:
    """On what it was tried, in one sentence."""
    run = runs[-1]
    scenario = run.summary.get("scenario") or {}
    devices = run.devices.get(ALL, scenario.get("devices"))
    parts = [f"{devices:,} simulated {_plural(devices, 'device')}" if devices is not None else "Simulated devices"]
    classes = len(_classes(run)) or len(scenario.get("device_class") or {})
    if classes:
        parts.append(f"of {classes} {_plural(classes, 'class', 'classes')}")
    if scenario.get("days"):
        parts.append(f"over {scenario['days']:,} {_plural(scenario['days'], 'day')}")
    text = " ".join(parts)
    if len(runs) > 1:
        text += ", the same devices and the same use under both policies"
    return text + "."


def _plural(n: int, one: str, many: str = "") -> str:
    return one if n == 1 else many or one + "s"


def _classes(run: Run) -> list[str]:
    """Device classes that have results."""
    known = [*run.devices, *(run.summary.get("metrics") or {}), *(run.summary.get("series") or {})]
    return [name for name in dict.fromkeys(known) if name != ALL]


def _flat(value: object, path: str = "") -> dict[str, object]:
    """Keys of nested tables with their values, as TOML's dotted keys."""
    if not isinstance(value, Mapping) or (path and not value):
        return {path: value}
    found: dict[str, object] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{path}.{key}" if path else str(key))
    return found


def _scenario_differences(runs: Sequence[Run], a: Summary, b: Summary) -> Table | None:
    """Keys in which two scenarios differ."""
    left, right = _flat(a), _flat(b)
    keys = [k for k in dict.fromkeys([*left, *right]) if left.get(k) != right.get(k) or (k in left) != (k in right)]
    texts = [key for key in keys if key not in ("name", "title", "description")]
    if not texts:
        return None
    rows = [[Cell(key), *(Cell(_value(side[key]) if key in side else DASH) for side in (left, right))] for key in texts]
    return Table(["setting", *(run.name for run in runs)], rows)


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


# The answer


def _cards(run: Run) -> list[Card]:
    """Up to six metrics of the whole fleet: the median device, and what nine of ten devices lie between."""
    cards: list[Card] = []
    for metric, known in METRICS.items():
        found = run.quantiles(ALL, metric)
        if "p50" not in found or len(cards) == MAX_CARDS:
            continue
        unit = unit_of(metric)
        spread = ""
        if "p5" in found and "p95" in found:
            spread = f"9 of 10 devices: {_span(found['p5'], found['p95'], unit)}"
        if "total" in found:
            spread += f"{'; ' if spread else ''}fleet: {unit.human(found['total'])}"
        cards.append(Card(known.name, unit.human(found["p50"]), spread, known.meaning))
    return cards


def _ordered(metrics: Iterable[str]) -> list[str]:
    """Metrics without repetition, the telling ones first."""
    names = list(dict.fromkeys(metrics))
    return [name for name in METRICS if name in names] + [name for name in names if name not in METRICS]


def _rows_of(rows: Sequence[Summary], device_class: str) -> dict[str, Summary]:
    found = {row["metric"]: row for row in rows if row.get("class") == device_class}
    return {metric: found[metric] for metric in _ordered(found)}


def _difference_cards(runs: Sequence[Run], rows: Sequence[Summary]) -> list[Card]:
    """Up to six relative differences of the whole fleet, with their intervals."""
    cards: list[Card] = []
    for metric, row in _rows_of(rows, ALL).items():
        if not _finite(row.get("relative")) or len(cards) == MAX_CARDS:
            continue
        interval = ""
        if _finite(row.get("low")) and _finite(row.get("high")):
            interval = f"interval {change(row['low'])} to {change(row['high'])}"
        medians = [run.quantiles(ALL, metric).get("p50") for run in runs]
        meaning = METRICS[metric].meaning if metric in METRICS else ""
        if medians[0] is not None and medians[1] is not None:
            unit = unit_of(metric)
            interval += f"{'; ' if interval else ''}median device {unit.human(medians[0])} \N{RIGHTWARDS ARROW} "
            interval += unit.human(medians[1])
        cards.append(Card(_name(metric), change(row["relative"]), interval, meaning, _better(runs, row)))
    return cards


def _better(runs: Sequence[Run], row: Summary) -> str:
    return {"a": f"better: {runs[0].name}", "b": f"better: {runs[1].name}"}.get(str(row.get("better")), "not clear")


def _verdict(runs: Sequence[Run], rows: Sequence[Summary]) -> str:
    """How many measures are better, in one sentence."""
    found = [str(row.get("better")) for row in _rows_of(rows, ALL).values()]
    if not found:
        return ""
    better, worse = found.count("b"), found.count("a")
    return (
        f"Of {len(found)} {_plural(len(found), 'measure')} over the whole fleet, \N{LEFT DOUBLE QUOTATION MARK}"
        f"{runs[1].name}\N{RIGHT DOUBLE QUOTATION MARK} is better in {better} and worse in {worse} than "
        f"\N{LEFT DOUBLE QUOTATION MARK}{runs[0].name}\N{RIGHT DOUBLE QUOTATION MARK}; "
        f"{len(found) - better - worse} {'is' if len(found) - better - worse == 1 else 'are'} not clear. "
        f"Percentages below are changes from the latter to the former."
    )


# Figures of comparisons


def _forests(runs: Sequence[Run], rows: Sequence[Summary]) -> Section:
    """Relative differences: all metrics over the fleet, then each telling one by class."""
    fleet = _rows_of(rows, ALL)
    panels = [_forest(runs, "effect-fleet", "All measures, whole fleet", [(_name(m), row) for m, row in fleet.items()])]
    shown = [metric for metric in _ordered(row["metric"] for row in rows) if metric in METRICS][:MAX_CARDS]
    for metric in shown:
        own = [row for row in rows if row["metric"] == metric]
        if len({row.get("class") for row in own}) > 1:
            named = [(_class_name(str(row.get("class"))), row) for row in own]
            panels.append(_forest(runs, f"effect-{metric}", f"{_name(metric)} by device class", named))
    return Section("What changes, and how sure that is", [panel for panel in panels if panel is not None])


def _class_name(device_class: str) -> str:
    return "all devices" if device_class == ALL else device_class


def _forest(runs: Sequence[Run], ident: str, title: str, named: Sequence[tuple[str, Summary]]) -> Panel | None:
    drawn = [
        Difference(name, row["relative"], row["low"], row["high"], _side(row))
        for name, row in named
        if all(_finite(row.get(key)) for key in ("relative", "low", "high"))
    ]
    if not drawn:
        return None
    cells = []
    for name, row in named:
        unit = unit_of(row["metric"])
        values = [Cell(f"{unit.exact(row[side])} {unit.head}".strip(), row[side]) for side in ("a", "b")]
        ends = [_decimal(row.get(key), change) for key in ("relative", "low", "high")]
        cells.append([Cell(name), *values, *ends, Cell(_better(runs, row))])
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
    meaning += " open which is better." + _cut(len(drawn))
    missing = _joined(
        [name for name, row in named if not all(_finite(row.get(k)) for k in ("relative", "low", "high"))]
    )
    if missing:
        meaning += f" Without a relative change, and in the table only: {missing}."
    svg = forest_figure(ident, title, f"{lead} {meaning}", drawn[:MAX_ROWS], names)
    head = ["", *(run.name for run in runs), "change", "from", "to", ""]
    return Panel(ident, title, lead, meaning, svg, Table(head, cells))


def _side(row: Summary) -> Literal["a", "b", "unclear"]:
    better = row.get("better")
    return "a" if better == "a" else "b" if better == "b" else "unclear"


def _cut(rows: int) -> str:
    return f" The figure shows the first {MAX_ROWS} of {rows}; the table has all." if rows > MAX_ROWS else ""


def _pairing(rows: Sequence[Summary]) -> Section:
    """How many times fewer devices the paired comparison needs."""
    gains = [(metric, row["pairing_gain"]) for metric, row in _rows_of(rows, ALL).items() if _positive(row)]
    if not gains:
        return Section("", [])
    ordered = sorted(gains, key=lambda gain: -gain[1])
    least, most = _times(ordered[-1][1]), _times(ordered[0][1])
    span = most if least == most else f"{least.removesuffix(' times')} to {most}"
    lead = f"Because both policies ran on the same devices, {span} fewer of them are needed."
    meaning = "How many times more devices it would take for the same certainty if each policy ran on devices of its"
    meaning += " own. 1 (dashed) is no gain." + _cut(len(gains))
    title = "Pairing gain"
    svg = bar_figure(
        "pairing",
        title,
        f"{lead} {meaning}",
        [(_name(metric), [gain]) for metric, gain in ordered[:MAX_ROWS]],
        [""],
        x_label="times fewer devices",
        show=_times,
        mark=1,
    )
    cells = [[Cell(_name(metric)), _decimal(gain, _times)] for metric, gain in ordered]
    panel = Panel("pairing", title, lead, meaning, svg, Table(["", "pairing gain"], cells))
    return Section("What comparing the same devices gains", [panel])


def _positive(row: Summary) -> bool:
    return _finite(row.get("pairing_gain")) and row["pairing_gain"] > 0


def _times(value: float) -> str:
    return f"{value:,.{0 if value >= 99.5 else 1}f} times"


def _worse(runs: Sequence[Run], rows: Sequence[Summary]) -> Section:
    """Which devices get worse: over the fleet, and the worst class of each metric."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        if row.get("worse_devices_permille") is not None:
            found.setdefault(row["metric"], {})[str(row.get("class"))] = row["worse_devices_permille"]
    metrics = [metric for metric in _ordered(found) if ALL in found[metric]]
    if not metrics:
        return Section("", [])
    classes = list(dict.fromkeys(name for metric in metrics for name in found[metric]))
    title = f"Devices for which {runs[1].name} is worse"
    worst = max(
        ((share, metric, name) for metric in metrics for name, share in found[metric].items() if name != ALL),
        key=lambda entry: entry[0],
        default=None,
    )
    lead = f"{_percent(found[metrics[0]][ALL])} of all devices get worse in {_name(metrics[0]).lower()}."
    if worst and worst[0]:
        lead += f" The worst case is {_name(worst[1]).lower()} in class {worst[2]}: {_percent(worst[0])}."
    meaning = "A policy that is better on average can still be worse for some. The table has every class."
    svg = bar_figure(
        "worse",
        title,
        f"{lead} {meaning}",
        [(_name(metric), [found[metric][ALL] / 10]) for metric in metrics[:MAX_ROWS]],
        [""],
        x_label="% of devices",
        show=lambda value: f"{value:.1f}{SPACE}%",
    )
    head = ["worse, % of devices", *(_class_name(name) for name in classes)]
    cells = [
        [Cell(_name(metric)), *(_cell(found[metric].get(name), PERMILLE) for name in classes)] for metric in metrics
    ]
    panel = Panel("worse", title, lead, meaning + _cut(len(metrics)), svg, Table(head, cells))
    return Section("Who loses", [panel])


def _percent(permille: int) -> str:
    return PERMILLE.human(permille)


# Figures of runs


def _sections(runs: Sequence[Run]) -> list[Section]:
    """Figures about one run or two, those that their summaries have numbers for."""
    sections = [
        Section(
            "Over uptime: does it stay good?",
            [
                *_over_uptime(runs, "fallback_permyriad", "Swap-out fallback over uptime"),
                *_allocation(runs),
                *_over_uptime(runs, "swapin_large_permyriad", "Large swap-in over uptime"),
                *_over_uptime(runs, "fragmentation_permille", "Fragmentation over uptime"),
            ],
        ),
        Section(
            "Across the fleet: who fares how?",
            [
                *_by_class(runs, "fallback_permyriad", "Swap-out fallback by device class"),
                *_by_class(runs, "pgmajfault", "Major faults by device class"),
                *_by_class(runs, "memory_saved_bytes", "Memory saved by device class"),
            ],
        ),
        Section("How well memory compresses", _by_class(runs, "ratio_permille", "Compression ratio by device class")),
        Section(
            "Where fallbacks come from",
            [
                *_reasons(runs, "swapout", "Why large folios were split at swap-out", SWAPOUT_REASONS),
                *_reasons(runs, "swapin", "Why swap-in brought less than the largest folio", SWAPIN_REASONS),
                *_census(runs),
            ],
        ),
        Section(
            "What users feel: waiting and killed apps",
            [
                *_over_uptime(runs, "stall_ns", "Stall time over uptime"),
                *_by_class(runs, "stall_ns", "Stall time by device class"),
                *_kills(runs),
                *_by_class(runs, "kills", "Killed apps by device class"),
            ],
        ),
    ]
    return [section for section in sections if section.panels]


def _uptime(hours: float, longest: float) -> tuple[float, str]:
    """Hours as the x axis of a run has them, and their unit."""
    return (hours / 24, "days") if longest > 72 else (hours, "hours")


def _x_axis(runs: Sequence[Run], points: Iterable[Sequence[Mapping[str, int]]]) -> tuple[float, str]:
    """Length of a step and its unit; step 0 is the first, and a point stands where its step ends."""
    last = max((p[-1]["step"] for p in points if p), default=0)
    hours = runs[0].hours
    return _uptime(hours, (last + 1) * hours)


def _over_uptime(runs: Sequence[Run], metric: str, title: str) -> list[Panel]:
    """The median device over uptime with its band; of a single run also the classes' medians."""
    unit = unit_of(metric)
    having = [run for run in runs if run.series(ALL, metric)]
    if not having:
        return []
    wanted = [(run.name, run.series(ALL, metric), False) for run in having]
    if len(runs) == 1:
        wanted[0] = ("all devices", wanted[0][1], False)
        classes = [name for name in _classes(runs[0]) if runs[0].series(name, metric)]
        # More would hide the band; the figure by class has them all.
        if 1 < len(classes) < MAX_SERIES:
            wanted += [(name, runs[0].series(name, metric), True) for name in classes]
    factor, time = _x_axis(runs, (points for _, points, _ in wanted))
    kept = thinned(max(len(points) for _, points, _ in wanted), MAX_STEPS)
    size, name = unit.step(max(p["p95"] for _, points, minor in wanted for p in points if not minor))
    if unit.most:
        size, name = unit.steps[0]
    lines, columns = [], []
    for text, points, minor in wanted:
        shown = [points[i] for i in kept if i < len(points)]
        y, low, high = ([p[key] / size for p in shown] for key in ("p50", "p5", "p95"))
        x = [(p["step"] + 1) * factor for p in shown]
        lines.append(Line(text, x, y, minor=True) if minor else Line(text, x, y, low, high))
        columns.append({p["step"]: p for p in shown})
    ident = f"uptime-{metric}"
    points = having[-1].series(ALL, metric)
    first, last = points[0], points[-1]
    who = f"{having[-1].name}: the" if len(runs) > 1 else "The"
    ends = _span(first["p50"], last["p50"], unit)
    lead = (
        f"{who} median device {'goes from' if ' to ' in ends else 'begins and ends at'} {ends}; at the end, nine of ten"
    )
    lead += f" devices have {_span(last['p5'], last['p95'], unit)}."
    if len(having) > 1:
        points = having[0].series(ALL, metric)
        lead += f" {having[0].name}: {_span(points[0]['p50'], points[-1]['p50'], unit)}."
    meaning = _meaning(metric)
    if unit.sums:
        meaning += f"Each point is what a device had in a step of {having[0].hours:,.6g} h. "
    meaning += "Thick lines: median device; bands: 5 % to 95 % of devices."
    if len(lines) > len(having):
        meaning += " Thin lines: median device of a class."
    if len(kept) < max(len(points) for _, points, _ in wanted):
        meaning += f" Shown is every {kept[1] - kept[0]}th step."
    y_label = _headed(_name(metric).lower(), Unit(name, 1, ()))
    svg = line_figure(
        ident,
        title,
        f"{lead} {meaning}",
        lines,
        x_label=f"uptime, {time}",
        y_label=y_label,
        y_most=unit.most / size if unit.most else None,
    )
    head, keys = ["step", f"uptime, {time}"], []
    for (text, _, minor), column in zip(wanted, columns, strict=True):
        for key in ("p50",) if minor else ("p5", "p50", "p95"):
            head.append(_headed(f"{text} {_quantile(key)}", unit))
            keys.append((column, key))
    steps = sorted({step for column in columns for step in column})
    rows = [
        [
            Cell(f"{step:,}", step),
            Cell(f"{(step + 1) * factor:,.6g}"),
            *(_cell(column[step][key] if step in column else None, unit) for column, key in keys),
        ]
        for step in steps
    ]
    return [Panel(ident, title, lead, meaning, svg, Table(head, rows))]


def _quantile(key: str) -> str:
    return "median" if key == "p50" else key.removeprefix("p") + " %"


def _meaning(metric: str) -> str:
    known = METRICS.get(metric)
    return f"{known.name}: {known.meaning}. " if known and known.meaning else ""


def _allocation(runs: Sequence[Run]) -> list[Panel]:
    """Large folios that memory could give over uptime, by size."""
    asked_of: dict[str, int] = {}
    for run in runs:
        for size, points in (run.summary.get("allocation") or {}).items():
            asked_of[size] = asked_of.get(size, 0) + sum(p["wanted"] for p in points)
    sizes = [size for size, asked in asked_of.items() if asked]
    # Those that are asked for most are drawn, the same ones of every run.
    drawn = sorted(sizes, key=lambda size: -asked_of[size])[: MAX_SERIES // len(runs)]
    wanted, is_drawn = [], []
    for size in sizes:
        for run in runs:
            points = (run.summary.get("allocation") or {}).get(size) or []
            if any(p["wanted"] for p in points):
                wanted.append((f"{size} {run.name}".strip(), points))
                is_drawn.append(size in drawn)
    if not wanted:
        return []
    factor, time = _x_axis(runs, (points for _, points in wanted))
    lines, columns = [], []
    for text, points in wanted:
        groups = [points[start:end] for start, end in grouped(len(points), MAX_STEPS)]
        sums = {g[-1]["step"]: (sum(p["wanted"] for p in g), sum(p["granted"] for p in g)) for g in groups}
        shares = [100 * granted / asked if asked else math.nan for asked, granted in sums.values()]
        lines.append(Line(text, [(step + 1) * factor for step in sums], shares))
        columns.append(sums)
    ends = []
    shown = list(compress(lines, is_drawn))
    for line in shown:
        known = [share for share in line.y if math.isfinite(share)]
        ends.append(f"{line.label} from {known[0]:.1f}{SPACE}% to {known[-1]:.1f}{SPACE}%")
    ident, title = "allocation", "Large folios that memory could give, over uptime"
    lead = f"Requests granted: {_joined(ends)}."
    meaning = "Of the large folios asked of the page allocator, those it had; over the whole fleet. The more memory is"
    meaning += " fragmented, the fewer."
    if any(len(column) < len(points) for column, (_, points) in zip(columns, wanted, strict=True)):
        meaning += " Steps are added up in groups."
    if len(drawn) < len(sizes):
        meaning += f" The figure shows the {len(drawn)} sizes asked for most; the table has all {len(sizes)}."
    svg = line_figure(
        ident,
        title,
        f"{lead} {meaning}",
        shown,
        x_label=f"uptime, {time}",
        y_label="granted, % of requests",
        y_most=100,
    )
    head = ["step", f"uptime, {time}"]
    for line in lines:
        head += [f"{line.label} {what}" for what in ("wanted", "granted", "granted, %")]
    rows = []
    for step in sorted({step for column in columns for step in column}):
        row = [Cell(f"{step:,}", step), Cell(f"{(step + 1) * factor:,.6g}")]
        for column in columns:
            asked, granted = column.get(step, (None, None))
            row += [_cell(asked, COUNT), _cell(granted, COUNT)]
            row.append(Cell(f"{100 * granted / asked:.2f}" if asked and granted is not None else DASH))
        rows.append(row)
    return [Panel(ident, title, lead, meaning, svg, Table(head, rows))]


def _by_class(runs: Sequence[Run], metric: str, title: str) -> list[Panel]:
    """Quantiles of a metric over the devices of every class."""
    unit = unit_of(metric)
    keys = ("p5", "p50", "p95", "p99")
    names = dict.fromkeys(name for run in runs for name in (ALL, *_classes(run)))
    found: list[tuple[str, list[Mapping[str, int]]]]
    found = [(name, [run.quantiles(name, metric) for run in runs]) for name in names]
    found = [(name, [cell if all(key in cell for key in keys) else {} for cell in cells]) for name, cells in found]
    found = [(name, cells) for name, cells in found if any(cells)]
    if not found:
        return []
    top = max(max(cell.get("p95", 0), cell.get("p99", 0)) for _, cells in found for cell in cells)
    size, name = unit.step(top)
    rows = [
        (_class_name(c), [Spread(*(cell[key] / size for key in keys)) if cell else None for cell in cells])
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
    meaning = f"{_meaning(metric)}Each device counts once, over the whole run.{_cut(len(found))}"
    if len(runs) > 1:
        meaning += " Markers: median device; bars: 5 % to 95 % of devices; ticks: 99 %."
    svg = spread_figure(
        ident,
        title,
        f"{lead} {meaning}",
        rows,
        [run.name for run in runs],
        x_label=_headed(f"{_name(metric).lower()} of a device", Unit(name, 1, ())),
        x_most=unit.most / size if unit.most else None,
    )
    head = ["class", "devices"]
    for run in runs:
        head += [_headed(f"{run.name} {_quantile(key)}".strip(), unit) for key in keys]
        head.append(_headed(f"{run.name} whole fleet".strip(), unit))
    cells_of = [
        [
            Cell(_class_name(c)),
            _cell(runs[-1].devices.get(c), COUNT),
            *(_cell(cell.get(key), unit) for cell in cells for key in (*keys, "total")),
        ]
        for c, cells in found
    ]
    return [Panel(ident, title, lead, meaning, svg, Table(head, cells_of))]


def _reasons(runs: Sequence[Run], kind: str, title: str, known: Mapping[str, str]) -> list[Panel]:
    """Reasons of fallbacks as bars, the most frequent first."""
    counts = [(run.summary.get("fallback") or {}).get(kind) or {} for run in runs]
    if not any(counts):
        return []
    totals = [sum(count.values()) for count in counts]
    names = sorted(
        (name for name in dict.fromkeys(name for count in counts for name in count)),
        key=lambda name: -max(count.get(name, 0) for count in counts),
    )
    shown = [name for name in names if any(count.get(name) for count in counts)][:MAX_ROWS]
    title_of = {name: known.get(name, name.replace("_", " ")) for name in names}
    ident = f"reasons-{kind}"
    meaning = "Over the whole fleet and run; for each fallback, the first test that ruled the large folio out."
    meaning += _cut(sum(any(count.get(name) for count in counts) for name in names))
    parts = []
    for run, count, total in zip(runs, counts, totals, strict=True):
        who = f"{run.name}: " if run.name else ""
        if total:
            first = max(count, key=lambda name: count[name])
            text = title_of[first]
            share = f"{100 * count[first] / total:.1f}{SPACE}% of {COUNT.human(total)}"
            parts.append(f"{who}{_quoted(text)}, {share}.")
        else:
            parts.append(f"{who}none.")
    lead = "Most frequent: " + " ".join(parts) if any(totals) else "None happened."
    size, name = COUNT.step(max((count.get(n, 0) for count in counts for n in names), default=0))
    svg = bar_figure(
        ident,
        title,
        f"{lead} {meaning}",
        [(title_of[n], [count.get(n, 0) / size for count in counts]) for n in shown or names[:MAX_ROWS]],
        [run.name for run in runs],
        x_label=f"fallbacks, {name}" if name else "fallbacks",
        show=lambda value: COUNT.human(round(value * size)),
    )
    head = ["reason", "name"]
    for run in runs:
        head += [f"{run.name} count".strip(), f"{run.name} share, %".strip()]
    rows = []
    for n in names:
        row = [Cell(title_of[n]), Cell(n)]
        for count, total in zip(counts, totals, strict=True):
            row += [_cell(count.get(n), COUNT), Cell(f"{100 * count.get(n, 0) / total:.2f}" if total else DASH)]
        rows.append(row)
    return [Panel(ident, title, lead, meaning, svg, Table(head, rows))]


def _quoted(text: str) -> str:
    return f"\N{LEFT DOUBLE QUOTATION MARK}{text}\N{RIGHT DOUBLE QUOTATION MARK}"


def _census(runs: Sequence[Run]) -> list[Panel]:
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
    lead = f"Swapped-out pages that one large folio could bring back: {_joined(parts)}."
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
        [Cell(_folio(order)), Cell(str(order), order), *(_cell(count.get(order), COUNT) for count in counts)]
        for order in sorted({order for count in counts for order in count})
    ]
    return [Panel(ident, title, lead, meaning, svg, Table(head, rows))]


def _folio(order: int) -> str:
    return f"{4 << order}K" if order < 8 else f"{(4 << order) >> 10}M"


def _kills(runs: Sequence[Run]) -> list[Panel]:
    """Killed apps over uptime, as a rate."""
    having = [run for run in runs if run.series(ALL, "kills") and run.devices.get(ALL)]
    if not having:
        return []
    factor, time = _x_axis(runs, (run.series(ALL, "kills") for run in having))
    lines, columns, parts = [], [], []
    for run in having:
        points = run.series(ALL, "kills")
        sums, rates = {}, []
        for start, end in grouped(len(points), MAX_STEPS):
            total = sum(p["total"] for p in points[start:end])
            sums[points[end - 1]["step"]] = total
            rates.append(24 * total / (run.devices[ALL] * run.hours * (end - start)))
        # Rates hold between two ends of steps: the first one from the beginning.
        x = [(step + 1) * factor for step in sums]
        lines.append(Line(run.name, [0.0, *x], [rates[0], *rates]))
        columns.append(sums)
        total = sum(sums.values())
        rate = 24 * total / (run.devices[ALL] * run.hours * len(points))
        parts.append(
            f"{run.name + ': ' if run.name else ''}{COUNT.human(total)} in all, {rate:,.2f} per device and day"
        )
    ident, title = "uptime-kills", "Killed apps over uptime"
    lead = "; ".join(parts) + "."
    meaning = f"{_meaning('kills')}Over the whole fleet."
    if any(len(column) < len(run.series(ALL, "kills")) for column, run in zip(columns, having, strict=True)):
        meaning += " Steps are added up in groups."
    svg = line_figure(
        ident,
        title,
        f"{lead} {meaning}",
        lines,
        x_label=f"uptime, {time}",
        y_label="killed per device and day",
        steps=True,
    )
    head = ["step", f"uptime, {time}", *(f"{run.name} killed in the fleet".strip() for run in having)]
    rows = [
        [
            Cell(f"{step:,}", step),
            Cell(f"{(step + 1) * factor:,.6g}"),
            *(_cell(column.get(step), COUNT) for column in columns),
        ]
        for step in sorted({step for column in columns for step in column})
    ]
    return [Panel(ident, title, lead, meaning, svg, Table(head, rows))]


# Where it comes from


def _sources(page: _Page, runs: Sequence[Run]) -> None:
    """Assumptions, warnings, provenance and scenarios of the runs."""
    page.fleet = _fleet(runs[-1])
    page.assumptions = _merged(runs, "assumptions")
    page.warnings = _merged(runs, "warnings")
    scenario = runs[-1].summary.get("scenario") or {}
    scale = scenario.get("page_scale")
    if isinstance(scale, int) and scale > 1:
        page.notes.append(f"Devices are simulated in miniature: one simulated page stands for {scale:,} real ones.")
    errors = dict.fromkeys(str(run.summary["quantile_error"]) for run in runs if run.summary.get("quantile_error"))
    if errors:
        page.notes.append(f"Quantiles of devices are exact or up to {_joined([*errors])} too low or too high.")
    page.notes.append("Totals and tables are exact integers; numbers in the text and in figures are rounded.")
    rows = []
    for name, key in (("scenario", "name"), ("seed", "seed")):
        rows.append([Cell(name), *(_text((run.summary.get("scenario") or {}).get(key)) for run in runs)])
    for name, key in (("digest of the scenario", "digest"), ("computed on", "backend")):
        rows.append([Cell(name), *(_text(run.summary.get(key)) for run in runs)])
    versions = [run.summary.get("versions") or {} for run in runs]
    for program in dict.fromkeys(name for own in versions for name in own):
        rows.append([Cell(program), *(_text(own.get(program)) for own in versions)])  # noqa: PERF401
    page.provenance = Table(["", *(run.name or "value" for run in runs)], rows)
    page.scenarios = [
        (
            f"Scenario {run.name}".strip(),
            json.dumps(run.summary.get("scenario") or {}, indent=2, default=str, ensure_ascii=False),
        )
        for run in runs
    ]


def _merged(runs: Sequence[Run], key: str) -> list[str]:
    """Lines of all runs, each once; those of one run only say whose they are."""
    having = [[str(line) for line in run.summary.get(key) or []] for run in runs]
    merged = []
    for line in dict.fromkeys(line for lines in having for line in lines):
        owners = [run.name for run, lines in zip(runs, having, strict=True) if line in lines]
        merged.append(f"{owners[0]}: {line}" if len(owners) < len(runs) else line)
    return merged


def _fleet(run: Run) -> Table | None:
    """The device classes and their hardware."""
    classes = (run.summary.get("scenario") or {}).get("device_class") or {}
    names = _classes(run) or list(classes)
    if not names:
        return None
    keys = ("ram", "zram", "codec", "block", "cpus")
    rows = []
    for name in names:
        device = classes.get(name) or {}
        texts = [Cell(_value(device[key]) if key in device else DASH) for key in keys]
        rows.append([Cell(name), _cell(run.devices.get(name), COUNT), *texts])
    return Table(["class", "devices", "RAM", "zram", "codec", "block", "CPUs"], rows)
