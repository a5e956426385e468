"""A phone's own operations: its user switches between apps, which start, grow, are used again, and rest.

`next_op` emits one operation after the other, in the language of every other program (`operations`), and keeps where it
is in the device: a run can stop and go on between any two operations. All chance is drawn by coordinates (device, app,
switch, region, page), so that two policies meet the same user (workload notes §1).
"""

from enum import IntEnum, unique

import numpy as np

from ...compile.decorators import device
from ...layout.errors import LOOP_BOUND
from ...layout.phone import (
    APP_LAUNCHES, PHONE_ACTIVITY, PHONE_APP, PHONE_COUNT, PHONE_GOAL, PHONE_PAGE, PHONE_PHASE, PHONE_REGION,
    PHONE_SWITCH,
)  # fmt: skip
from ..access import fail
from .app import app_at, set_state, state
from .background import use_background
from .boot import boot_phone
from .cold_start import copy_zygote, launch_app, make_process, start_app
from .compaction import compact_last, note_compacted
from .session import collect_garbage, grow_app, relaunch_app
from .switch import begin_switch

MAX_OPS_PASSED = 1 << 20
"""Phases that may pass without an operation; a bound that is never met."""


@unique
class Phase(IntEnum):
    """Phases of a switch, in their order; the phone boots once, before the first."""

    BOOT = 0
    BEGIN = 1
    TRIM = 2
    START = 3
    COW = 4
    LAUNCH = 5
    RELAUNCH = 6
    GROW = 7
    COLLECT = 8
    BACKGROUND = 9
    COMPACT = 10
    DONE = 11


@device
def end_switch(dev):
    """Note what the switch leaves behind; the next one begins."""
    note_compacted(dev)
    o = app_at(state(dev, PHONE_APP) - 1)
    set_state(dev, o + APP_LAUNCHES, state(dev, o + APP_LAUNCHES) + 1)
    set_state(dev, PHONE_SWITCH, state(dev, PHONE_SWITCH) + 1)


@device(cuda="inline")
def run_phase(dev, phase):
    """Go on with a phase; whether it emitted an operation, or is over."""
    if phase == Phase.BOOT:
        return boot_phone(dev)
    if phase == Phase.BEGIN:
        begin_switch(dev)
        return False
    if phase == Phase.TRIM:
        return make_process(dev)
    if phase == Phase.START:
        return start_app(dev)
    if phase == Phase.COW:
        return copy_zygote(dev)
    if phase == Phase.LAUNCH:
        return launch_app(dev)
    if phase == Phase.RELAUNCH:
        return relaunch_app(dev)
    if phase == Phase.GROW:
        return grow_app(dev)
    if phase == Phase.COLLECT:
        return collect_garbage(dev)
    if phase == Phase.BACKGROUND:
        return use_background(dev)
    return compact_last(dev)


@device(cpu="call", cuda="call")
def next_op(dev, end):
    """Put down the phone's next operation before the average user's switch number `end`; whether there is one."""
    for _ in range(MAX_OPS_PASSED):
        phase = state(dev, PHONE_PHASE)
        if phase == Phase.BEGIN and state(dev, PHONE_SWITCH) >= end * state(dev, PHONE_ACTIVITY) >> 16:
            return False
        if run_phase(dev, phase):
            return True
        # A cold start is known by its count in the phases that differ for it.
        if phase < Phase.TRIM or phase >= Phase.RELAUNCH:
            set_state(dev, PHONE_COUNT, 0)
        phase += 1
        if phase == Phase.DONE:
            end_switch(dev)
            phase = np.int64(Phase.BEGIN)
        set_state(dev, PHONE_REGION, 0)
        set_state(dev, PHONE_PAGE, 0)
        set_state(dev, PHONE_GOAL, 0)
        set_state(dev, PHONE_PHASE, phase)
    fail(dev, LOOP_BOUND, state(dev, PHONE_PHASE))
    return False
