"""One HTML page for people who decide: what was asked, the answer with its spread, figures, and where it comes from.

The page needs nothing else: no script, no font, no image, no address. A content security policy in it forbids browsers
to fetch any. Numbers in the text are rounded and have units; the tables under the figures have the exact integers.
Its text and structure are in `data/report/page.html.j2`, which also says which figures it has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from .classes import class_panel
from .differences import class_rows, effect_panels, pairing_panel, verdict_names, verdict_of, worse_panel
from .experiments import experiment_panels
from .fallbacks import census_panel, reason_panel
from .names import ALL, METRICS
from .panel import is_finite
from .runs import Run, Summary
from .scenarios import scenario_differences
from .templates import render_template
from .uptime import allocation_panel, kill_panel, uptime_panel

MAX_CARDS = 6
"""Big figures of the answer."""


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
    quantiles = {metric: run.quantiles(ALL, metric) for metric in METRICS}
    cards = [(metric, values) for metric, values in quantiles.items() if "p50" in values]
    values = {"is_compared": False, "cards": cards[:MAX_CARDS], "experiments": partial(experiment_panels, run)}
    return render_template("page.html.j2", {**_panels([run]), **values})


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
    rows = [row for row in comparison.get("rows") or [] if row.get("metric")]
    fleet = class_rows(rows, ALL)
    verdicts = verdict_names(runs)
    cards = [
        (metric, row, verdicts[verdict_of(row)]) for metric, row in fleet.items() if is_finite(row.get("relative"))
    ]
    values = {
        "is_compared": True,
        "is_alike": bool(comparison.get("alike")),
        "differences": scenario_differences(*(run.scenario for run in runs)),
        "verdicts": Counter(verdict_of(row) for row in fleet.values()),
        "cards": cards[:MAX_CARDS],
        "explanations": comparison.get("explanations") or [],
        "effects": partial(effect_panels, runs, rows),
        "pairing": partial(pairing_panel, rows),
        "worse": partial(worse_panel, runs, rows),
    }
    return render_template("page.html.j2", {**_panels(runs), **values})


def _panels(runs: Sequence[Run]) -> dict[str, Any]:
    """The runs, and the panels that the page may ask for."""
    return {
        "runs": runs,
        "allocation": partial(allocation_panel, runs),
        "census": partial(census_panel, runs),
        "classes": partial(class_panel, runs),
        "kills": partial(kill_panel, runs),
        "reasons": partial(reason_panel, runs),
        "uptime": partial(uptime_panel, runs),
    }
