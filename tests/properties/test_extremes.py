"""Every number of a fleet at its least and its most: refused in one line, or simulated with nothing lost."""

from __future__ import annotations

import pytest

from fleetswap.errors import InputError
from fleetswap.scenario.model import AppClass, Behaviour, DeviceClass, FleetScenario, Policy, SystemMemory
from fleetswap.workload.phones import hot_chances
from tests.properties.phones import tiny, words
from tests.properties.test_phones import check

LONG = {"days", "devices", "steps_per_day", "seed", "switches_per_day"}
"""They make a run long, not odd."""
BRIEF = {"steps_per_day": 2, "behaviour.switches_per_day": 12}


def numbers(model, where):
    """Every whole number of a table and those in it: key, least, most."""
    for name, field in model.model_fields.items():
        key = f"{where}{name}"
        bounds = {type(limit).__name__: limit for limit in field.metadata}
        if {"Ge", "Le"} <= bounds.keys() and name not in LONG:
            yield key, bounds["Ge"].ge, bounds["Le"].le
        elif hasattr(field.annotation, "model_fields"):
            yield from numbers(field.annotation, f"{key}.")


TABLES = {
    "": FleetScenario, "policy.": Policy, "behaviour.": Behaviour, "system.": SystemMemory,
    "device_class.phone.": DeviceClass, "app_class.large.": AppClass,
}  # fmt: skip
EXTREMES = sorted({(key, value) for at, model in TABLES.items() for key, *ends in numbers(model, at) for value in ends})
PAIRS = [
    {"app_class.large.hot_percent": 50, "app_class.large.similarity_percent": 0},
    {"app_class.large.hot_percent": 60, "app_class.large.similarity_percent": 20},
    {"app_class.large.hot_percent": 100, "app_class.large.similarity_percent": 100},
    {"app_class.large.hot_percent": 0, "app_class.large.reuse_percent": 0},
    {"device_class.phone.installed_apps": 1, "behaviour.background_apps_per_switch": 0},
    {"device_class.phone.installed_apps": 2, "device_class.phone.cached_apps": 1},
    {"system.processes": 1, "system.hot_percent_per_switch": 100},
]


def refusal(choices):
    """Why a phone cannot be so, or nothing."""
    try:
        tiny(*words(choices))
    except InputError as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize("choices", [*({key: value} for key, value in EXTREMES), *PAIRS], ids=str)
def test_an_extreme_is_refused_or_loses_nothing(choices):
    said = refusal(BRIEF | choices)
    if said:
        assert "\n" not in said
        assert any(key.rpartition(".")[2] in said for key in choices)
    else:
        check(BRIEF | choices, seed=1)


@pytest.mark.parametrize(("hot", "same"), [(50, 0), (60, 20), (60, 60), (90, 70), (99, 0), (1, 0)])
def test_similarity_below_chance_has_no_core(hot, same):
    # Pages that are hot by chance alone, a share h of all, are hot again with chance h: nothing is less similar.
    assert hot_chances(hot, same) == (0, hot * 65536 // 100)


@pytest.mark.parametrize(("hot", "same"), [(30, 70), (60, 61), (99, 100), (1, 100), (50, 100)])
def test_similarity_above_chance_has_the_core_that_gives_it(hot, same):
    core, others = (chance / 65536 for chance in hot_chances(hot, same))
    assert core + (1 - core) * others == pytest.approx(hot / 100, abs=1e-4)
    assert core + (1 - core) * others**2 == pytest.approx(hot * same / 10_000, abs=1e-4)


def test_all_tables_are_looked_at():
    keys = {key for key, _ in EXTREMES}
    assert len(keys) > 40
    assert {"policy.reclaim.min_free_kib", "device_class.phone.installed_apps", "system.zygote_mib"} <= keys
