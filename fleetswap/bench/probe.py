"""Probe: how long a run takes and how much happens in it, from some of its devices."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from fleetswap_kernels.backend.arena import Arena, device_bytes
from fleetswap_kernels.backend.choose import ONE_THREAD, choose
from fleetswap_kernels.layout import counters

from ..fleet import pieces as engine
from ..fleet.pieces import Shard, no_progress
from ..fleet.shard import STEPS_AT_ONCE, folding, run_shard, stretches, warm_up
from ..scenario.experiments import Scenario
from ..scenario.model import FleetScenario
from ..workload.phones import LaidOut, class_of_devices, lay_out

ENOUGH_S = 4.0
"""A probe stops after about so long, but never within the steps that a device does at once."""
DEVICES = 12
"""Devices of a class in the probe, for each thread; fewer keep no thread busy. They fit the memory of a shard."""


def probe_fleet(scenario: FleetScenario, threads: int) -> dict[str, Any]:
    """Time of a fleet, from some devices of each class; the first steps have less to swap than later ones.

    Returns
    -------
    dict
        ``seconds``, of which ``simulating_s`` in kernels and ``folding_s`` outside; ``page_events`` of all devices;
        ``probe``, what was tried. Compiling is not counted.
    """
    laid_out = lay_out(scenario)
    warm_up(laid_out)
    devices = np.bincount(class_of_devices(scenario, 0, scenario.devices), minlength=len(laid_out.classes)).tolist()
    steps = len(laid_out.marks) - 1
    one_of_each = sum(device_bytes(b.sizes) for b in laid_out.blueprints)
    many = min(DEVICES * threads, ONE_THREAD.devices_at_once(one_of_each))
    probes = []
    started = time.perf_counter()
    seconds = 0.0
    for number, count in enumerate(devices):
        if count:
            arena = Arena([(laid_out.blueprints[number], many)], backend=choose("cpu", threads)[0])
            at = time.perf_counter()
            arena.init()
            fold = arena.fold(folding(scenario, np.full(many, number)))
            seconds += count * (time.perf_counter() - at) / many
            probes.append((count, arena, fold))
    done, events, step_s, step_events = 0, 0.0, 0.0, 0.0
    for first, end in stretches(0, steps, STEPS_AT_ONCE):
        if done and time.perf_counter() - started > ENOUGH_S:
            break
        spent = 0.0
        for count, arena, fold in probes:
            at = time.perf_counter()
            arena.run_steps(fold, laid_out.program, laid_out.marks[first : end + 1])
            spent += count * (time.perf_counter() - at) / many
        seconds += spent
        happened = sum(count * _page_events(arena) / many for count, arena, _ in probes)
        step_s, step_events = spent / (end - first), (happened - events) / (end - first)
        done, events = end, happened
    # Steps that were not tried take as long as the last ones that were, and have as many events.
    seconds += (steps - done) * step_s
    folded_s = _folding_s(scenario, laid_out, steps)
    return {
        "seconds": seconds + folded_s,
        "simulating_s": seconds,
        "folding_s": folded_s,
        "page_events": round(events + (steps - done) * step_events),
        "probe": {"devices": many * len(probes), "steps": done, "of_steps": steps},
    }


def _page_events(arena: Arena) -> int:
    """Page events of all devices of an arena so far."""
    return int(arena.counters()[:, counters.PAGE_EVENTS].sum())


def _folding_s(scenario: FleetScenario, laid_out: LaidOut, steps: int) -> float:
    """Time in which tallies become histograms and rows are made, from one step of some devices, scaled."""
    timings = []
    for n in (min(scenario.devices, 16), min(scenario.devices, 128)):
        at = time.perf_counter()
        shard = run_shard(replace(laid_out, marks=laid_out.marks[:2]), Shard(0, 0, n), ONE_THREAD)
        timings.append((n, time.perf_counter() - at - shard.step_ns / 1e9))
    (few, short), (many, long) = timings
    device_s = max(long - short, 0.0) / max(many - few, 1)
    # Folded were a step and the whole run.
    return (short + device_s * (scenario.devices - few)) * (steps + 1) / 2


def probe_test(scenario: Scenario, threads: int) -> dict[str, Any]:
    """Time of an allocator test, from some devices of it (`probe_fleet`); ``page_events`` by policy."""
    many = min(scenario.devices, DEVICES * threads)
    engine.run_shard(scenario, Shard(0, 0, 1), choose("cpu", threads)[0], no_progress)  # Loads what is loaded once.
    at = time.perf_counter()
    ran = engine.run_shard(scenario, Shard(0, 0, many), choose("cpu", threads)[0], no_progress)
    device_s = (time.perf_counter() - at) / many
    steps = scenario.test.iterations
    events = {policy: int(events_of[:, counters.PAGE_EVENTS].sum()) for policy, events_of in ran.counters.items()}
    return {
        "seconds": device_s * scenario.devices,
        "page_events": {policy: n * scenario.devices // many for policy, n in events.items()},
        "probe": {"devices": many, "steps": steps, "of_steps": steps},
    }
