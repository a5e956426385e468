"""Limits of a fleet that concern several keys at once: what one value may be depends on another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fleetswap_kernels.layout.pages import PAGE_BYTES

from ..errors import InputError
from .content_library import class_names, load_library
from .cost import BUILT_IN, load_profile
from .device_limits import MAX_SLOTS
from .model import FleetScenario
from .units import DAY_MINUTES, KIB, MIB, Key, near, not_possible, shown_size, shown_value

MIN_FRAMES = 1024
"""Fewest page frames of a miniature."""
MIN_ZRAM_BYTES = MIB
"""Smallest zram of a miniature."""
MAX_PROCESSES = 60
"""Zygote, system, cached apps and the one in front: swap counts above 62 are outside of the model."""
MAX_SWITCHES = 100_000
"""Of the average user; the busiest has up to about four times as many."""
MAX_STEPS = 10_000
RESERVE_PERCENT = 5
"""RAM that must remain for single pages beside a pool of large folios."""


@dataclass(frozen=True)
class Limit:
    """A value that another one rules out.

    Parameters
    ----------
    key : tuple of str
        The value to blame.
    text : str
        The value, and what is allowed.
    others : tuple of keys
        What else it depends on.
    """

    key: Key
    text: str
    others: tuple[Key, ...] = ()


def broken_limits(scenario: FleetScenario) -> Iterator[Limit]:
    """Every value of a scenario that does not go with another one."""
    yield from _run(scenario)
    for name in scenario.device_class:
        yield from _device(scenario, name)
    yield from _memory(scenario)
    yield from _contents(scenario)


def _limit(key: str, value: object, allowed: str, *others: str) -> Limit:
    """A value that is not possible beside others; keys are dotted, which names of classes are not."""
    return Limit(tuple(key.split(".")), not_possible(value, allowed), tuple(tuple(key.split(".")) for key in others))


def _run(scenario: FleetScenario) -> Iterator[Limit]:
    """Limits of the length of a run."""
    habit, days = scenario.behaviour, scenario.days
    if days * habit.switches_per_day > MAX_SWITCHES:
        allowed = f"at most {MAX_SWITCHES // days} with days = {days}: a run has {MAX_SWITCHES} switches or fewer"
        yield _limit("behaviour.switches_per_day", habit.switches_per_day, allowed, "days")
    if days * scenario.steps_per_day > MAX_STEPS:
        allowed = f"at most {MAX_STEPS // days} with days = {days}: a series has {MAX_STEPS} steps or fewer"
        yield _limit("steps_per_day", scenario.steps_per_day, allowed, "days")
    busiest = habit.switches_per_day * max(habit.activity_q16) >> 16
    if habit.session_minutes * busiest > DAY_MINUTES:
        others = ("behaviour.switches_per_day", "behaviour.switches_spread_percent")
        given = f"{others[0]} = {habit.switches_per_day}, {others[1]} = {habit.switches_spread_percent}"
        allowed = f"at most {DAY_MINUTES // busiest} with {given}: the busiest user's day has {DAY_MINUTES} minutes"
        yield _limit("behaviour.session_minutes", habit.session_minutes, allowed, *others)


def _device(scenario: FleetScenario, name: str) -> Iterator[Limit]:
    """Limits of the miniature of a device."""
    device, scale = scenario.device_class[name], scenario.page_scale
    at = f"device_class.{name}"
    given = f"with page_scale = {scale}"
    most = MAX_SLOTS * PAGE_BYTES * scale
    if not MIN_FRAMES <= scenario.frames_of(name) < MAX_SLOTS:
        least = MIN_FRAMES * PAGE_BYTES * scale
        allowed = f"sizes from {shown_size(least)} to below {shown_size(most)} {given}"
        yield _limit(f"{at}.ram", shown_size(device.ram), allowed, "page_scale")
    size = device.zram_bytes
    if size < MIN_ZRAM_BYTES * scale or scenario.slots_of(name) >= MAX_SLOTS:
        allowed = f"sizes from {shown_size(MIN_ZRAM_BYTES * scale)} to below {shown_size(most)} {given}"
        yield _limit(f"{at}.zram", device.zram, allowed, "page_scale", f"{at}.ram")
    system = scenario.system.processes
    if 2 + system + device.cached_apps > MAX_PROCESSES:
        allowed = f"at most {MAX_PROCESSES - 2 - system} with system.processes = {system}: "
        allowed += f"a device has {MAX_PROCESSES} processes or fewer"
        yield _limit(f"{at}.cached_apps", device.cached_apps, allowed, "system.processes")
    pool = scenario.policy.large_pool.share_percent
    left = 100 - RESERVE_PERCENT - device.unavailable_percent
    if pool > left:
        unavailable = f"{at}.unavailable_percent"
        allowed = f"at most {left} with {unavailable} = {device.unavailable_percent}: "
        allowed += f"{RESERVE_PERCENT} % of RAM must remain"
        yield _limit("policy.large_pool.share_percent", pool, allowed, unavailable)
    try:
        codecs = tuple(load_profile(device.cost).codecs)
    except (ValueError, RecursionError) as error:
        if device.cost in BUILT_IN or device.cost.endswith(".toml"):
            yield Limit(("device_class", name, "cost"), f"{shown_value(device.cost)} cannot be used: {error}")
        else:
            yield _limit(f"{at}.cost", device.cost, f"{', '.join(BUILT_IN)}, or a .toml file")
    else:
        if device.codec not in codecs:
            allowed = f"{', '.join(codecs) or 'none'}, the codecs of cost profile {device.cost}"
            yield _limit(f"{at}.codec", device.codec, allowed, f"{at}.cost")


def _memory(scenario: FleetScenario) -> Iterator[Limit]:
    """Limits of memory, in the device class that has least of it."""
    name, device = min(scenario.device_class.items(), key=lambda item: (item[1].available_bytes, item[0]))
    needs = (f"device_class.{name}.ram", f"device_class.{name}.unavailable_percent")
    available = device.available_bytes
    given = f"device_class.{name}: ram = {shown_size(device.ram)}, unavailable_percent = {device.unavailable_percent}"
    for key, app in scenario.app_class.items():
        at = f"app_class.{key}"
        if app.anon_10s_mib > app.anon_5min_mib:
            allowed = f"at most anon_5min_mib, {app.anon_5min_mib}"
            yield _limit(f"{at}.anon_10s_mib", app.anon_10s_mib, allowed, f"{at}.anon_5min_mib")
        most = available * 100 // ((100 + app.spread_percent) * MIB)
        if app.anon_5min_mib > most:
            allowed = f"at most {most} with spread_percent = {app.spread_percent} and {given}"
            yield _limit(f"{at}.anon_5min_mib", app.anon_5min_mib, allowed, f"{at}.spread_percent", *needs)
    system = scenario.system
    most = (available // MIB - system.zygote_mib) // system.processes
    if system.process_mib > most:
        allowed = f"at most {max(0, most)} with system.processes = {system.processes}, "
        allowed += f"zygote_mib = {system.zygote_mib} and {given}"
        others = ("system.processes", "system.zygote_mib", *needs)
        yield _limit("system.process_mib", system.process_mib, allowed, *others)
    reclaim = scenario.policy.reclaim
    most = available // 4 // KIB
    if reclaim.min_free_kib > most:
        allowed = f"at most {most}, a quarter of what is available, with {given}"
        yield _limit("policy.reclaim.min_free_kib", reclaim.min_free_kib, allowed, *needs)


def _contents(scenario: FleetScenario) -> Iterator[Limit]:
    """Contents that the library must have."""
    library = scenario.content_library
    at = ("content_library",)
    if library == "measured":
        known = class_names()
    elif not library.endswith(".npz"):
        yield _limit("content_library", library, "measured, or a .npz file")
        return
    else:
        try:
            known = load_library(Path(library)).names
        except InputError as error:
            yield Limit(at, f"{shown_value(library)} cannot be used: {error}")
            return
    mixes: dict[Key, dict[str, int]] = {("system", "content"): scenario.system.content}
    mixes |= {("app_class", name, "content"): app.content for name, app in scenario.app_class.items()}
    for key, mix in mixes.items():
        for kind in mix:
            if kind not in known:
                yield Limit((*key, kind), f"unknown content class; {near(kind, known)}", others=(at,))
