"""The app in the foreground: it uses its hot pages again, grows, and collects garbage."""

import numpy as np

from ...compile.decorators import device
from ...layout.operations import DONTNEED, MODELLED, TOUCH, WRITE
from ...layout.phone import (
    APP_LAUNCHES, APP_PAGES, APP_USED, CLASS_GC, CLASS_GROWTH, CLASS_HOT_CHANGING, CLASS_NEW, HABIT_SESSIONS,
    PHONE_COUNT, PHONE_GOAL, PHONE_PAGE, PHONE_PROC, PHONE_SWITCH, REGIONS,
)  # fmt: skip
from ...layout.streams import Stream
from ..rng import draw_words
from .app import content_entry, emit_operation, foreground_app, grow_to, habit, next_run, set_state, state, use_runs


@device
def relaunch_app(dev):
    """An app that rested uses its hot pages: the core ones again, others for this time."""
    if state(dev, PHONE_COUNT) != 0:
        return False
    app, o, o_class = foreground_app(dev)
    chance = habit(dev, o_class + CLASS_HOT_CHANGING)
    salt = 2 * state(dev, o + APP_LAUNCHES) + 1
    return use_runs(dev, o_class, app, state(dev, PHONE_PROC), o + APP_USED, chance, salt)


@device
def session_goal(dev):
    """Pages the app in the foreground is to have at the end of its session."""
    _, o, o_class = foreground_app(dev)
    used = np.int64(0)
    for r in range(REGIONS):
        used += state(dev, o + APP_USED + r)
    _, _, _, length = draw_words(dev, Stream.SWITCH, 0, state(dev, PHONE_SWITCH), 0)
    share = habit(dev, HABIT_SESSIONS + (length >> 28))
    towards_full = max(state(dev, o + APP_PAGES) - used, np.int64(0)) * share >> 16
    beyond = used * (habit(dev, o_class + CLASS_NEW) + (habit(dev, o_class + CLASS_GROWTH) * share >> 16)) >> 16
    return used + towards_full + beyond


@device
def grow_app(dev):
    """The app in the foreground grows with the length of its session."""
    if state(dev, PHONE_GOAL) == 0:
        set_state(dev, PHONE_GOAL, session_goal(dev))
    return grow_to(dev, state(dev, PHONE_GOAL))


@device
def collect_garbage(dev):
    """The garbage collector frees runs of the first region, which are written anew."""
    app, o, o_class = foreground_app(dev)
    p = state(dev, PHONE_PROC)
    salt = 2 * state(dev, PHONE_SWITCH)
    if state(dev, PHONE_COUNT) > 0:
        # The other half of the last run.
        n = state(dev, PHONE_COUNT)
        set_state(dev, PHONE_COUNT, 0)
        entry = content_entry(dev, o_class, np.int64(1), salt + 1)
        return emit_operation(dev, TOUCH, p, 1, state(dev, PHONE_PAGE) - n, n, WRITE, entry, MODELLED)
    chance = habit(dev, o_class + CLASS_GC)
    page, n, _ = next_run(dev, o_class, app, np.int64(1), state(dev, o + APP_USED), chance, salt)
    if page < 0:
        return False
    set_state(dev, PHONE_COUNT, n)
    return emit_operation(dev, DONTNEED, p, 1, page, n, 0, 0, 0)
