"""Tables of exact numbers, and their cells."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .units import Unit

DASH = "\N{EN DASH}"


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


def exact_cell(value: int | None, unit: Unit) -> Cell:
    """An integer with all its digits, in the unit of the table's head."""
    return Cell(DASH) if value is None else Cell(unit.exact(value), value)


def text_cell(value: object) -> Cell:
    """A text, or a dash for none."""
    return Cell(DASH if value is None else str(value))


def decimal_cell(value: float | None, show: Callable[[float], str]) -> Cell:
    """A number as `show` writes it, or a dash if it is none."""
    return Cell(show(value), value) if value is not None and math.isfinite(value) else Cell(DASH)


def setting_cell(table: Mapping[str, object], key: str) -> Cell:
    """What a table of a scenario says under a key, or a dash if it does not say it."""
    value = table.get(key)
    if key not in table:
        return Cell(DASH)
    return Cell(value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False))
