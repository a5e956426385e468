"""A phone's own operations: its user switches between apps, which start, grow, are used again, and rest.

`next_op` emits one operation after the other, in the language of every other program (`operations`), and keeps where it
is in the device: a run can stop and go on between any two operations. All chance is drawn by coordinates (device, app,
switch, region, page), so that two policies meet the same user (workload notes §1).
"""

import numpy as np

from ...compile.decorators import device
from ...layout.errors import LOOP_BOUND
from ...layout.phone import (
    APP_LAUNCHES, PHONE_ACTIVITY, PHONE_APP, PHONE_COUNT, PHONE_GOAL, PHONE_PAGE, PHONE_PHASE, PHONE_REGION,
    PHONE_SWITCH,
)  # fmt: skip
from ..access import fail
from .app import app_at, set_state, state
from .background import background
from .boot import boot
from .cold_start import copy_zygote, launch, start, trim
from .compaction import compact_last, note_compacted
from .session import collect, grow, relaunch
from .switch import begin

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
"""Phases of a switch, in their order; the phone boots once, before the first."""
MAX_OPS_PASSED = 1 << 20
"""Phases that may pass without an operation; a bound that is never met."""


@device
def done(dev):
    """Note what the switch leaves behind; the next one begins."""
    note_compacted(dev)
    o = app_at(state(dev, PHONE_APP) - 1)
    set_state(dev, o + APP_LAUNCHES, state(dev, o + APP_LAUNCHES) + 1)
    set_state(dev, PHONE_SWITCH, state(dev, PHONE_SWITCH) + 1)


@device(cuda="inline")
def run_phase(dev, phase):
    """Go on with a phase; 1 if it emitted an operation, 0 if it is over."""
    if phase == BOOT:
        return boot(dev)
    if phase == BEGIN:
        begin(dev)
        return 0
    if phase == TRIM:
        return trim(dev)
    if phase == START:
        return start(dev)
    if phase == COW:
        return copy_zygote(dev)
    if phase == LAUNCH:
        return launch(dev)
    if phase == RELAUNCH:
        return relaunch(dev)
    if phase == GROW:
        return grow(dev)
    if phase == COLLECT:
        return collect(dev)
    if phase == BACKGROUND:
        return background(dev)
    return compact_last(dev)


@device(cpu="call", cuda="call")
def next_op(dev, end):
    """Put down the phone's next operation before the average user's switch number `end`; 0 if there is none."""
    for _ in range(MAX_OPS_PASSED):
        phase = state(dev, PHONE_PHASE)
        if phase == BEGIN and state(dev, PHONE_SWITCH) >= end * state(dev, PHONE_ACTIVITY) >> 16:
            return 0
        if run_phase(dev, phase):
            return 1
        # A cold start is known by its count in the phases that differ for it.
        if phase < TRIM or phase >= RELAUNCH:
            set_state(dev, PHONE_COUNT, 0)
        phase += 1
        if phase == DONE:
            done(dev)
            phase = np.int64(BEGIN)
        set_state(dev, PHONE_REGION, 0)
        set_state(dev, PHONE_PAGE, 0)
        set_state(dev, PHONE_GOAL, 0)
        set_state(dev, PHONE_PHASE, phase)
    fail(dev, LOOP_BOUND, state(dev, PHONE_PHASE))
    return 0
