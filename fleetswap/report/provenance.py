"""Where a report comes from: devices, assumptions, versions, seeds and scenarios."""

from __future__ import annotations

import json
from collections.abc import Sequence

from .runs import Run, classes_of
from .table import Cell, Table, exact_cell, setting_cell, text_cell
from .units import COUNT
from .wording import joined


def notes(runs: Sequence[Run]) -> list[str]:
    """How exact the numbers of a report are."""
    found = []
    scenario = runs[-1].summary.get("scenario") or {}
    scale = scenario.get("page_scale")
    if isinstance(scale, int) and scale > 1:
        found.append(f"Devices are simulated in miniature: one simulated page stands for {scale:,} real ones.")
    errors = dict.fromkeys(str(run.summary["quantile_error"]) for run in runs if run.summary.get("quantile_error"))
    if errors:
        found.append(
            "Quantiles of devices over the whole run are exact; those of a step come from a histogram and are up to"
            f" {joined([*errors])} too low or too high."
        )
    found.append("All else in tables is exact; numbers in the text and in figures are rounded.")
    return found


def provenance_table(runs: Sequence[Run]) -> Table:
    """What it takes to compute the runs again."""
    rows = []
    for name, key in (("scenario", "name"), ("seed", "seed")):
        rows.append([Cell(name), *(text_cell((run.summary.get("scenario") or {}).get(key)) for run in runs)])
    for name, key in (("digest of the scenario", "digest"), ("computed on", "backend")):
        rows.append([Cell(name), *(text_cell(run.summary.get(key)) for run in runs)])
    versions = [run.summary.get("versions") or {} for run in runs]
    for program in dict.fromkeys(name for own in versions for name in own):
        rows.append([Cell(program), *(text_cell(own.get(program)) for own in versions)])  # noqa: PERF401 (as the rows above)
    return Table(["", *(run.name or "value" for run in runs)], rows)


def full_scenarios(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """The scenarios with all their numbers, as JSON, each with a title."""
    return [
        (
            f"Scenario {run.name}".strip(),
            json.dumps(run.summary.get("scenario") or {}, indent=2, default=str, ensure_ascii=False),
        )
        for run in runs
    ]


def merged_lines(runs: Sequence[Run], key: str) -> list[str]:
    """Lines of all runs, each once; those of one run only say whose they are."""
    having = [[str(line) for line in run.summary.get(key) or []] for run in runs]
    merged = []
    for line in dict.fromkeys(line for lines in having for line in lines):
        owners = [run.name for run, lines in zip(runs, having, strict=True) if line in lines]
        merged.append(f"{owners[0]}: {line}" if len(owners) < len(runs) else line)
    return merged


def fleet_table(run: Run) -> Table | None:
    """The device classes and their hardware."""
    classes = (run.summary.get("scenario") or {}).get("device_class") or {}
    names = classes_of(run) or list(classes)
    if not names:
        return None
    keys = ("ram", "zram", "codec", "block", "cpus")
    rows = []
    for name in names:
        device = classes.get(name) or {}
        texts = [setting_cell(device, key) for key in keys]
        rows.append([Cell(name), exact_cell(run.devices.get(name), COUNT), *texts])
    return Table(["class", "devices", "RAM", "zram", "codec", "block", "CPUs"], rows)
