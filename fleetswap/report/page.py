"""One HTML page for people who decide: what was asked, the answer with its spread, figures, and where it comes from.

The page needs nothing else: no script, no font, no image, no address. A content security policy in it forbids browsers
to fetch any. Numbers in the text are rounded and have units; the tables under the figures have the exact integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from .allocation import allocation_panels
from .cards import Card, difference_cards, run_cards
from .census import census_panels
from .classes import class_panels
from .differences import verdict_sentence
from .forest import forest_section
from .kills import kill_panels
from .losers import losers_section
from .pairing import pairing_section
from .panel import Section
from .provenance import fleet_table, full_scenarios, merged_lines, notes, provenance_table
from .question import policy_sentence, scenario_differences, scope
from .reasons import SWAPIN_REASONS, SWAPOUT_REASONS, reason_panels
from .runs import Run, Summary
from .table import Table
from .uptime import uptime_panels
from .wording import alike_sentence, capital


@dataclass
class Page:
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
    page = Page(
        str(scenario.get("title") or scenario.get("name") or "Fleet"), [("", policy_sentence(scenario))], scope([run])
    )
    page.cards = run_cards(run)
    page.sections = _sections([run])
    return _rendered(page, [run])


def render_comparison(comparison: Mapping[str, Any]) -> str:
    """The report of a comparison of two policies on the same devices.

    Parameters
    ----------
    comparison : mapping
        `a` and `b`, the summaries; `label_a` and `label_b`; `alike`, if both are the same scenario; `rows`, one
        per metric and class; `explanations`.

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
    asked = [(run.name, policy_sentence(scenario)) for run, scenario in zip(runs, (a, b), strict=True)]
    page = Page(capital(f"{runs[0].name} or {runs[1].name}? {name}"), asked, scope(runs))
    rows = [row for row in comparison.get("rows") or [] if row.get("metric")]
    page.differences = scenario_differences(runs, a, b)
    alike = comparison.get("alike")
    page.verdict = alike_sentence(runs[0].name, runs[1].name) if alike else verdict_sentence(runs, rows)
    page.cards = difference_cards(runs, rows)
    page.sections = [
        s for s in (forest_section(runs, rows), pairing_section(rows), losers_section(runs, rows)) if s.panels
    ]
    page.sections += _sections(runs)
    page.explanations = [
        (str(e.get("title", "")), [part for part in str(e.get("text", "")).split("\n\n") if part.strip()])
        for e in comparison.get("explanations") or []
    ]
    return _rendered(page, runs)


def _sections(runs: Sequence[Run]) -> list[Section]:
    """Figures about one run or two, those that their summaries have numbers for."""
    sections = [
        Section(
            "Over uptime: does it stay good?",
            [
                *uptime_panels(runs, "fallback_permyriad", "Swap-out fallback over uptime"),
                *allocation_panels(runs),
                *uptime_panels(runs, "swapin_large_permyriad", "Large swap-in over uptime"),
                *uptime_panels(runs, "fragmentation_permille", "Fragmentation over uptime"),
            ],
        ),
        Section(
            "Across the fleet: who fares how?",
            [
                *class_panels(runs, "fallback_permyriad", "Swap-out fallback by device class"),
                *class_panels(runs, "pgmajfault", "Major faults by device class"),
                *class_panels(runs, "memory_saved_bytes", "Memory saved by device class"),
            ],
        ),
        Section(
            "How well memory compresses", class_panels(runs, "ratio_permille", "Compression ratio by device class")
        ),
        Section(
            "Where fallbacks come from",
            [
                *reason_panels(runs, "swapout", "Why large folios were split at swap-out", SWAPOUT_REASONS),
                *reason_panels(runs, "swapin", "Why swap-in brought less than the largest folio", SWAPIN_REASONS),
                *census_panels(runs),
            ],
        ),
        Section(
            "What users feel: waiting and killed apps",
            [
                *uptime_panels(runs, "stall_ns", "Stall time over uptime"),
                *class_panels(runs, "stall_ns", "Stall time by device class"),
                *kill_panels(runs),
                *class_panels(runs, "kills", "Killed apps by device class"),
            ],
        ),
    ]
    return [section for section in sections if section.panels]


def _rendered(page: Page, runs: Sequence[Run]) -> str:
    """The page as HTML, after what both kinds have: where it comes from."""
    from jinja2 import Environment, StrictUndefined

    page.fleet = fleet_table(runs[-1])
    page.assumptions = merged_lines(runs, "assumptions")
    page.warnings = merged_lines(runs, "warnings")
    page.notes = notes(runs)
    page.provenance = provenance_table(runs)
    page.scenarios = full_scenarios(runs)
    source = (resources.files("fleetswap") / "data" / "report" / "report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(page=page)
