"""Sentences that the report and the terminal share."""

from __future__ import annotations

from collections.abc import Sequence


def joined(parts: Sequence[str]) -> str:
    """Parts of a sentence: a, b and c."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1]))) if parts else ""


def alike_sentence(label_a: str, label_b: str) -> str:
    """What is said of two sides that are alike."""
    return (
        f"\N{LEFT DOUBLE QUOTATION MARK}{label_a}\N{RIGHT DOUBLE QUOTATION MARK} and"
        f" \N{LEFT DOUBLE QUOTATION MARK}{label_b}\N{RIGHT DOUBLE QUOTATION MARK} resolve to the same scenario:"
        " there are no two policies to compare."
    )
