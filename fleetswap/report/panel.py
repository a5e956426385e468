"""Figures with what they say and their numbers, in sections that answer one question each."""

from __future__ import annotations

from dataclasses import dataclass

from .table import Table

MAX_ROWS = 24
"""Rows of a figure; its table has all."""


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


def cut_note(rows: int) -> str:
    """A sentence that says so if a figure cannot show all rows."""
    return f" The figure shows the first {MAX_ROWS} of {rows}; the table has all." if rows > MAX_ROWS else ""
