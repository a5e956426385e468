"""Panels: a figure, what its sentences state, and its numbers with all their digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .svg import Caption
from .units import Unit

DASH = "\N{EN DASH}"
MAX_ROWS = 24
"""Rows of a figure; its table has all."""


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
    """A figure with its words and numbers.

    Parameters
    ----------
    kind : str
        Its words are in `data/report/figures/KIND.html.j2`.
    ident : str
        Prefix of all ids in it, unique in the document.
    facts : mapping
        What the words state.
    draw : callable
        Draws the figure, an svg element.
    table : Table
    """

    kind: str
    ident: str
    facts: Mapping[str, Any]
    draw: Callable[[Caption], str]
    table: Table

    def svg(self, title: str, text: str) -> str:
        """The figure, named and described for those who cannot see it."""
        return self.draw(Caption(self.ident, title, text))


def is_finite(value: float | None) -> bool:
    """Whether there is such a number."""
    return value is not None and math.isfinite(value)


def exact_cell(value: int | None, unit: Unit) -> Cell:
    """An integer with all its digits, in the unit of the table's head."""
    return Cell(DASH) if value is None else Cell(unit.exact(value), value)


def decimal_cell(value: float | None, write: Callable[[float], str]) -> Cell:
    """A number as `write` writes it, or a dash if it is none."""
    return Cell(write(value), value) if value is not None and math.isfinite(value) else Cell(DASH)
