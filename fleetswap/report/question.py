"""What was asked: the policy in a sentence, on what it was tried, and where two scenarios differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .runs import ALL, Run, Summary, classes_of
from .table import Cell, Table, setting_cell
from .units import SPACE
from .wording import capital, joined, plural


def policy_sentence(scenario: Summary) -> str:
    """The policy of a scenario in one sentence."""
    policy = scenario.get("policy") or {}
    parts = []
    if "large_swapin" in policy:
        upto = str(policy["large_swapin"])
        sizes = policy.get("swapin_sizes") or {}
        text = {"off": "large swap-in off", "on": "large swap-in on"}.get(upto, f"large swap-in up to {upto}")
        if sizes:
            text += f" ({', '.join(f'{size} {setting}' for size, setting in sizes.items())})"
        parts.append(text)
    classes = (scenario.get("device_class") or {}).values()
    folios = {size: setting for size, setting in (policy.get("mthp") or {}).items() if setting != "never"}
    if "mthp" in policy:
        if folios:
            shown = joined([f"{size} ({_setting(setting, policy)})" for size, setting in folios.items()])
            parts.append(f"large folios of {shown}")
        else:
            parts.append("no large folios")
        if any(isinstance(c, Mapping) and c.get("mthp") for c in classes):
            parts[-1] += " where the device class says nothing else"
    if policy.get("margin_rule"):
        parts.append("large swap-in only while enough memory is free")
    pool = policy.get("large_pool") or {}
    if pool.get("share_percent"):
        parts.append(f"{pool['share_percent']}{SPACE}% of memory reserved for folios of {pool.get('size')} only")
    if "zeromap" in policy:
        known = {"on": "zero-filled pages marked instead of stored", "off": "zero-filled pages stored"}
        parts.append(known.get(str(policy["zeromap"]), f"marks of zero-filled pages as in {policy['zeromap']}"))
    for key, text in (("compaction", "app compaction"), ("lmkd", "low-memory killer")):
        if "enabled" in (policy.get(key) or {}):
            parts.append(f"{text} {'on' if policy[key]['enabled'] else 'off'}")
    if "kernel" in policy:
        known = {"v7": "kernel rules of the patch's version 7"}
        parts.append(known.get(str(policy["kernel"]), f"kernel rules of Linux {policy['kernel']}"))
    return capital(joined(parts) or "the scenario's default policy") + "."


def _setting(setting: str, policy: Summary) -> str:
    return f"inherits {policy['thp']}" if setting == "inherit" and "thp" in policy else str(setting)


def scope(runs: Sequence[Run]) -> str:
    """On what it was tried, in one sentence."""
    run = runs[-1]
    scenario = run.summary.get("scenario") or {}
    devices = run.devices.get(ALL, scenario.get("devices"))
    parts = [f"{devices:,} simulated {plural(devices, 'device')}" if devices is not None else "Simulated devices"]
    classes = len(classes_of(run)) or len(scenario.get("device_class") or {})
    if classes:
        parts.append(f"of {classes} {plural(classes, 'class', 'classes')}")
    if scenario.get("days"):
        parts.append(f"over {scenario['days']:,} {plural(scenario['days'], 'day')}")
    text = " ".join(parts)
    if len(runs) > 1:
        text += ", the same devices and the same use under both policies"
    return text + "."


def _flat(value: object, path: str = "") -> dict[str, object]:
    """Keys of nested tables with their values, as TOML's dotted keys."""
    if not isinstance(value, Mapping) or (path and not value):
        return {path: value}
    found: dict[str, object] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{path}.{key}" if path else str(key))
    return found


def scenario_differences(runs: Sequence[Run], a: Summary, b: Summary) -> Table | None:
    """Keys in which two scenarios differ."""
    left, right = _flat(a), _flat(b)
    keys = [k for k in dict.fromkeys([*left, *right]) if left.get(k) != right.get(k) or (k in left) != (k in right)]
    texts = [key for key in keys if key not in ("name", "title", "description")]
    if not texts:
        return None
    rows = [[Cell(key), *(setting_cell(side, key) for side in (left, right))] for key in texts]
    return Table(["setting", *(run.name for run in runs)], rows)
