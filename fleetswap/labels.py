"""What two policies are called in tables and reports: by the settings in which they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LABELLED = 3
"""Two policies that differ in more keys are not called by what differs."""


def labels(a: Mapping[str, Any], b: Mapping[str, Any], name_a: str, name_b: str) -> tuple[str, str]:
    """What two policies are called: by the settings in which they differ if those are few, else by their names.

    Parameters
    ----------
    a, b : mapping
        Resolved scenarios.
    name_a, name_b : str
        What the user calls them.
    """
    left, right = _flat(a), _flat(b)
    keys = [k for k in dict.fromkeys((*left, *right)) if left.get(k) != right.get(k)]
    keys = [key for key in keys if key not in ("scenario", "title", "description")]
    if 0 < len(keys) <= LABELLED:
        last = [key.rpartition(".")[2] for key in keys]
        shown = keys if len({*last}) < len(last) else last
        texts = [[f"{s} {_shown(side.get(k))}" for s, k in zip(shown, keys, strict=True)] for side in (left, right)]
        return ", ".join(texts[0]), ", ".join(texts[1])
    return (name_a, name_b) if name_a != name_b else (f"A: {name_a}", f"B: {name_b}")


def _flat(table: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Values by dotted key."""
    found: dict[str, Any] = {}
    for key, inner in table.items():
        found |= _flat(inner, f"{at}{key}.") if isinstance(inner, Mapping) else {f"{at}{key}": inner}
    return found


def _shown(told: object) -> str:
    if isinstance(told, bool):
        return "on" if told else "off"
    return "not set" if told is None else str(told)
