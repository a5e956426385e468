"""Scenarios in a report: what they set, where two differ, and which of their remarks are whose."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .panel import DASH
from .runs import Run

TEXTS = ("scenario", "title", "description")
"""Keys that only say what a scenario is called."""


def write_setting(table: Mapping[str, Any], key: str) -> str:
    """What a table of a scenario says under a key, or a dash if it does not say it."""
    if key not in table:
        return DASH
    value = table[key]
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def write_scenario(scenario: Mapping[str, Any]) -> str:
    """A scenario with all its numbers, as JSON."""
    return json.dumps(scenario, indent=2, default=str, ensure_ascii=False)


def scenario_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Keys in which two scenarios differ, with the settings of both."""
    left, right = flatten(a), flatten(b)
    keys = [k for k in dict.fromkeys([*left, *right]) if left.get(k) != right.get(k) or (k in left) != (k in right)]
    return [(key, write_setting(left, key), write_setting(right, key)) for key in keys if key not in TEXTS]


def flatten(
    table: Mapping[str, Any], is_value: Callable[[tuple[str, ...]], bool] = lambda _: False, at: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Values of nested tables by TOML's dotted keys; a table whose key `is_value`, or that is empty, stays whole."""
    flat: dict[str, Any] = {}
    for name, inner in table.items():
        key = (*at, str(name))
        if isinstance(inner, Mapping) and inner and not is_value(key):
            flat |= flatten(inner, is_value, key)
        else:
            flat[".".join(key)] = inner
    return flat


def merge_lines(runs: Sequence[Run], key: str) -> list[str]:
    """Lines of all runs, each once; those of one run only say whose they are."""
    named = [(run.name, [str(line) for line in run.summary.get(key) or []]) for run in runs]
    merged = []
    for line in dict.fromkeys(line for _, lines in named for line in lines):
        owners = [name for name, lines in named if line in lines]
        merged.append(f"{owners[0]}: {line}" if len(owners) < len(runs) else line)
    return merged
