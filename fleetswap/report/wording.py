"""Words and lists of a sentence."""

from __future__ import annotations

from collections.abc import Sequence


def capital(text: str) -> str:
    """A text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


def joined(parts: Sequence[str]) -> str:
    """Parts of a sentence: a, b and c."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1]))) if parts else ""


def plural(n: int, one: str, many: str = "") -> str:
    """A noun for so many things."""
    return one if n == 1 else many or one + "s"


def quoted(text: str) -> str:
    """A text in quotation marks."""
    return f"\N{LEFT DOUBLE QUOTATION MARK}{text}\N{RIGHT DOUBLE QUOTATION MARK}"


def alike_sentence(label_a: str, label_b: str) -> str:
    """What is said of two sides that are alike."""
    return (
        f"{quoted(label_a)} and {quoted(label_b)} resolve to the same scenario, value for value:"
        " there are no two policies to compare."
    )
