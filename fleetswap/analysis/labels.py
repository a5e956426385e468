"""What two policies are called in tables and reports: by the settings in which they differ."""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd
from typing import Any

from ..report.scenarios import TEXTS, flatten
from ..report.wording import joined
from ..scenario.model import Policy, min_free_pages
from ..scenario.schema import is_one_value
from ..scenario.units import parse_size, zram_bytes

CLASSES = ("device_class", "app_class")
"""Tables of classes."""
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
    left, right = settings_of(a), settings_of(b)
    keys = [k for k in dict.fromkeys((*left, *right)) if left.get(k) != right.get(k)]
    if 0 < len(keys) <= LABELLED:
        last = [_short(key) for key in keys]
        shown = keys if len({*last}) < len(last) else last
        texts = [[f"{s} {_shown(k, side.get(k))}" for s, k in zip(shown, keys, strict=True)] for side in (left, right)]
        return ", ".join(texts[0]), ", ".join(texts[1])
    return (name_a, name_b) if name_a != name_b else (f"A: {name_a}", f"B: {name_b}")


def settings_of(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a resolved scenario by dotted key, without what only names it.

    A table that is one value, as `policy.mthp` is, stays whole.
    """
    return {key: value for key, value in flatten(resolved, is_one_value).items() if key not in TEXTS}


def settings_in_effect(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a resolved scenario as its devices have them: scenarios are alike if these are equal.

    Two tables can say one thing in different words: sizes of a device class stand over those of the policy, a size that
    nobody names is one that is never used, `policy.large_swapin` is short for `policy.swapin_sizes`, both act on sizes
    that are enabled, zram is a part of RAM or a size, and of shares only their ratios count.
    """
    settings = settings_of(resolved)
    chosen = resolved["policy"]
    swapin = {key: chosen[key] for key in ("large_swapin", "swapin_sizes")}
    for key in ("mthp", *swapin):
        del settings[f"policy.{key}"]
    swapin_bytes = {*Policy.model_validate(swapin).swapin_bytes}
    least_free = chosen["reclaim"]["min_free_kib"]
    settings["policy.reclaim.min_free_kib"] = min_free_pages(least_free, resolved["page_scale"])
    for name, device in resolved["device_class"].items():
        sizes = {**chosen["mthp"], **device["mthp"]}
        enabled = {size: word for size, word in sizes.items() if word != "never"}
        settings[f"device_class.{name}.mthp"] = enabled
        settings[f"device_class.{name}.swapin_bytes"] = swapin_bytes & {*map(parse_size, enabled)}
        settings[f"device_class.{name}.zram"] = zram_bytes(device["zram"], parse_size(device["ram"]))
    contents = [("system", resolved["system"]["content"])]
    contents += [(f"app_class.{name}", app["content"]) for name, app in resolved["app_class"].items()]
    for name, content in contents:
        unit = gcd(*content.values())
        settings[f"{name}.content"] = {kind: share // unit for kind, share in content.items()}
    return settings


def _short(key: str) -> str:
    """The last part of a key, behind the class whose it is."""
    table, *inner = key.split(".")
    return f"{inner[0]} {inner[-1]}" if table in CLASSES and len(inner) > 1 else key.rpartition(".")[2]


def _shown(key: str, setting: object) -> str:
    if isinstance(setting, Mapping):
        # Sizes that a class does not name have the policy's setting, those that nobody names none.
        empty = "as the policy's" if key.startswith(CLASSES) else "none"
        return joined([f"{name} {value}" for name, value in setting.items()]) or empty
    if isinstance(setting, bool):
        return "on" if setting else "off"
    return "not set" if setting is None else str(setting)
