"""Probe: how long a run takes and how much happens in it, from some of its devices."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from fleetswap_kernels.backend.arena import Arena, device_bytes
from fleetswap_kernels.backend.choose import ONE_THREAD, choose
from fleetswap_kernels.layout import counters

from ..fleet.pieces import Shard
from ..fleet.shard import STEPS_AT_ONCE, folding, run_shard, stretches, warm_up
from ..workload.laid_out import LaidOut

ENOUGH_S = 4.0
"""A probe stops after about so long, but never within the steps that a device does at once."""
DEVICES = 12
"""Devices of a class in the probe, for each thread; fewer keep no thread busy. They fit the memory of a shard."""


def probe_fleet(laid_out: LaidOut, threads: int) -> dict[str, Any]:
    """Time of a fleet, from some devices of each class; the first steps have less to swap than later ones.

    Returns
    -------
    dict
        ``seconds``, of which ``simulating_s`` in kernels and ``folding_s`` outside; ``page_events`` of all devices,
        and those of each class; ``probe``, what was tried. Compiling is not counted.
    """
    warm_up(laid_out)
    counts = np.bincount(laid_out.classes_of(0, laid_out.devices), minlength=len(laid_out.kinds))
    steps = laid_out.steps
    one_of_each = sum(device_bytes(b.sizes) for b in laid_out.blueprints)
    many = min(DEVICES * threads, ONE_THREAD.devices_at_once(one_of_each))
    probes = []
    started = time.perf_counter()
    seconds = 0.0
    for number, count in enumerate(counts.tolist()):
        if count:
            arena = Arena([(laid_out.blueprints[number], many)], backend=choose("cpu", threads)[0])
            at = time.perf_counter()
            arena.init()
            fold = arena.fold(folding(laid_out, np.full(many, number)))
            seconds += count * (time.perf_counter() - at) / many
            probes.append((number, count, arena, fold))
    done, step_s = 0, 0.0
    events, of_step = np.zeros(len(counts)), np.zeros(len(counts))
    for first, end in stretches(0, steps, STEPS_AT_ONCE):
        if done and time.perf_counter() - started > ENOUGH_S:
            break
        spent = 0.0
        happened = np.zeros(len(counts))
        for number, count, arena, fold in probes:
            at = time.perf_counter()
            arena.run_steps(fold, laid_out.program, laid_out.marks[first : end + 1])
            spent += count * (time.perf_counter() - at) / many
            happened[number] = count * _page_events(arena) / many
        seconds += spent
        step_s, of_step = spent / (end - first), (happened - events) / (end - first)
        done, events = end, happened
    # Steps that were not tried take as long as the last ones that were, and have as many events.
    seconds += (steps - done) * step_s
    page_events = (events + (steps - done) * of_step).round().astype(np.int64)
    folded_s = _folding_s(laid_out)
    return {
        "seconds": seconds + folded_s,
        "simulating_s": seconds,
        "folding_s": folded_s,
        "page_events": int(page_events.sum()),
        "page_events_of_classes": dict(zip(laid_out.classes, page_events.tolist(), strict=True)),
        "probe": {"devices": many * len(probes), "steps": done, "of_steps": steps},
    }


def _page_events(arena: Arena) -> int:
    """Page events of all devices of an arena so far."""
    return int(arena.counters()[:, counters.PAGE_EVENTS].sum())


def _folding_s(laid_out: LaidOut) -> float:
    """Time in which tallies become histograms and rows are made, from one step of some devices, scaled."""
    timings = []
    for n in (min(laid_out.devices, 16), min(laid_out.devices, 128)):
        at = time.perf_counter()
        shard = run_shard(replace(laid_out, marks=laid_out.marks[:2]), Shard(0, 0, n), ONE_THREAD)
        timings.append((n, time.perf_counter() - at - shard.step_ns / 1e9))
    (few, short), (many, long) = timings
    device_s = max(long - short, 0.0) / max(many - few, 1)
    # Folded were a step and the whole run.
    return (short + device_s * (laid_out.devices - few)) * (laid_out.steps + 1) / 2
