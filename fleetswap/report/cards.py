"""The answer in big figures with their spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .differences import better_of, finite, rows_of
from .names import METRICS, metric_name
from .runs import ALL, Run, Summary
from .units import change, span, unit_of

MAX_CARDS = 6


@dataclass(frozen=True)
class Card:
    """A big figure with its spread."""

    title: str
    value: str
    spread: str
    meaning: str
    verdict: str = ""


def run_cards(run: Run) -> list[Card]:
    """Up to six metrics of the whole fleet: the median device, and what nine of ten devices lie between."""
    cards: list[Card] = []
    for metric, known in METRICS.items():
        found = run.quantiles(ALL, metric)
        if "p50" not in found or len(cards) == MAX_CARDS:
            continue
        unit = unit_of(metric)
        spread = ""
        if "p5" in found and "p95" in found:
            spread = f"9 of 10 devices: {span(found['p5'], found['p95'], unit)}"
        if "total" in found:
            spread += f"{'; ' if spread else ''}fleet: {unit.human(found['total'])}"
        cards.append(Card(known.name, unit.human(found["p50"]), spread, known.meaning))
    return cards


def difference_cards(runs: Sequence[Run], rows: Sequence[Summary]) -> list[Card]:
    """Up to six relative differences of the whole fleet, with their intervals and what they are differences of."""
    cards: list[Card] = []
    for metric, row in rows_of(rows, ALL).items():
        if not finite(row.get("relative")) or len(cards) == MAX_CARDS:
            continue
        interval = ""
        if finite(row.get("low")) and finite(row.get("high")):
            interval = f"interval {change(row['low'])} to {change(row['high'])}"
        meaning = METRICS[metric].meaning if metric in METRICS else ""
        # What the change is of: the fleet. That of the median device is another.
        levels = " \N{RIGHTWARDS ARROW} ".join(unit_of(metric).human(row[side]) for side in ("a", "b"))
        interval += f"{'; ' if interval else ''}fleet {levels}"
        cards.append(Card(metric_name(metric), change(row["relative"]), interval, meaning, better_of(runs, row)))
    return cards
