"""Start of an app that has no process: zygote forks, regions are mapped, the memory of a launch is written."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import COLD_STARTS, TRIMMED_APPS
from ...layout.device import PROC_APP, PROC_STAMP, PROC_USED
from ...layout.operations import CPU, EXIT, FORK, MODELLED, TOUCH, WRITE
from ...layout.phone import (
    APP_COMPACTED_RSS, APP_LAUNCHES, APP_PAGES, APP_PROC, APP_USED, CLASS_FULL_PAGES, CLASS_START_PAGES, HABIT_CACHED,
    HABIT_COW, HABIT_SYSTEM, HABIT_ZYGOTE_CONTENT, HABIT_ZYGOTE_PAGES, PHONE_COUNT, PHONE_PROC, PHONE_SWITCH, REGIONS,
)  # fmt: skip
from ..access import count, set_word, word
from ..regions import proc_at
from .app import (
    MOST_QUARTERS, VERSIONS, emit_operation, foreground_app, grow_to, habit, map_own_region, next_run, set_state, state,
)  # fmt: skip


@device
def free_process(dev):
    """A process number that no app uses, or 0; and the cached app that rested longest, or -1."""
    first = habit(dev, HABIT_SYSTEM) + 1
    free = np.int64(0)
    alive = np.int64(0)
    victim = np.int64(-1)
    oldest = np.int64(0)
    for p in range(first, np.int64(dev.n_procs)):
        o = proc_at(dev, p)
        if word(dev, o + PROC_USED) == 0:
            if free == 0:
                free = p
            continue
        alive += 1
        stamp = word(dev, o + PROC_STAMP)
        if victim < 0 or stamp < oldest:
            victim = p
            oldest = stamp
    if alive > habit(dev, HABIT_CACHED):
        free = np.int64(0)
    return free, victim


@device
def make_process(dev):
    """Without a process for the app: end cached apps until there is one, then fork zygote."""
    if state(dev, PHONE_PROC) != 0:
        return False
    p, victim = free_process(dev)
    if p == 0:
        count(dev, TRIMMED_APPS, 1)
        return emit_operation(dev, EXIT, victim, 0, 0, 0, 0, 0, 0)
    set_state(dev, PHONE_PROC, p)
    set_state(dev, PHONE_COUNT, 1)
    count(dev, COLD_STARTS, 1)
    return emit_operation(dev, FORK, 0, p, 0, 0, 0, 0, 0)


@device
def start_app(dev):
    """Make a forked process the app's: its CPU, its regions."""
    step = state(dev, PHONE_COUNT)
    p = state(dev, PHONE_PROC)
    if step == 0:
        return False
    app, o, o_class = foreground_app(dev)
    set_state(dev, PHONE_COUNT, step + 1)
    if step == 1:
        set_word(dev, proc_at(dev, p) + PROC_APP, app + 1)
        set_word(dev, proc_at(dev, p) + PROC_STAMP, state(dev, PHONE_SWITCH) + 1)
        dev.foreground = np.uint32(p + 1)
        set_state(dev, o + APP_PROC, p)
        set_state(dev, o + APP_COMPACTED_RSS, 0)
        for r in range(REGIONS):
            set_state(dev, o + APP_USED + r, 0)
        return emit_operation(dev, CPU, p, p % np.int64(dev.n_cpus), 0, 0, 0, 0, 0)
    if step > 1 + REGIONS:
        return False
    most = state(dev, o + APP_PAGES) * MOST_QUARTERS >> 2
    return map_own_region(dev, o_class, p, step - 1, most)


@device
def copy_zygote(dev):
    """A new app writes to some of the pages it shares with zygote."""
    if state(dev, PHONE_COUNT) == 0:
        return False
    app, o, o_class = foreground_app(dev)
    launch = state(dev, o + APP_LAUNCHES)
    end = habit(dev, HABIT_ZYGOTE_PAGES)
    page, n, _ = next_run(dev, o_class, app, np.int64(0), end, habit(dev, HABIT_COW), 2 * launch)
    if page < 0:
        return False
    entry = habit(dev, HABIT_ZYGOTE_CONTENT) + 32 * (2 + app + (launch & 0xFF) * 256 & VERSIONS - 1)
    return emit_operation(dev, TOUCH, state(dev, PHONE_PROC), 0, page, n, WRITE, entry, MODELLED)


@device
def launch_app(dev):
    """A new app writes what it has after its launch."""
    if state(dev, PHONE_COUNT) == 0:
        return False
    _, o, o_class = foreground_app(dev)
    full = max(habit(dev, o_class + CLASS_FULL_PAGES), np.int64(1))
    return grow_to(dev, state(dev, o + APP_PAGES) * habit(dev, o_class + CLASS_START_PAGES) // full)
