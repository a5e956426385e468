"""The user opens another app: which one it is, and which were used last (workload notes §1)."""

import numpy as np

from ...compile.decorators import device
from ...layout.counters import APP_SWITCHES
from ...layout.device import PROC_STAMP
from ...layout.phone import (
    HABIT_INSTALLED, HABIT_POPULARITY, HABIT_RECENT, HABIT_RECENT_APPS, PHONE_APP, PHONE_LAST, PHONE_PROC,
    PHONE_RECENT, PHONE_SWITCH,
)  # fmt: skip
from ...layout.streams import Stream
from ..access import count, set_word
from ..memory.workingset import resident_pages
from ..pressure.lmkd import begin_window
from ..regions import proc_at
from ..rng import draw_words
from .app import habit, process_of, set_state, state


@device
def remember_app(dev, app):
    """Move an app to the front of those used last."""
    carried = app
    for i in range(habit(dev, HABIT_RECENT_APPS)):
        here = state(dev, PHONE_RECENT + i)
        set_state(dev, PHONE_RECENT + i, carried)
        if here == app:
            break
        carried = here


@device
def begin_switch(dev):
    """Choose the next app; the one in the foreground becomes a cached one."""
    switch = state(dev, PHONE_SWITCH)
    recent, which, popular, _ = draw_words(dev, Stream.SWITCH, 0, switch, 0)
    installed = habit(dev, HABIT_INSTALLED)
    current = state(dev, PHONE_APP)
    app = np.int64(0)
    if recent >> 16 < habit(dev, HABIT_RECENT):
        # The most recent one is in the foreground now.
        app = state(dev, PHONE_RECENT + 1 + (which * (habit(dev, HABIT_RECENT_APPS) - 1) >> 32))
    if app == 0:
        i = np.int64(0)
        while i + 1 < installed and popular >= habit(dev, habit(dev, HABIT_POPULARITY) + i):
            i += 1
        app = i + 1
    if app == current:
        app = app % installed + 1
    # The only app of a phone is opened again: it never left the foreground.
    last = current if app != current else np.int64(0)
    set_state(dev, PHONE_LAST, last)
    set_state(dev, PHONE_APP, app)
    remember_app(dev, app)
    begin_window(dev, resident_pages(dev))
    count(dev, APP_SWITCHES, np.int64(app != current))
    p = process_of(dev, app - 1)
    set_state(dev, PHONE_PROC, p)
    dev.foreground = np.uint32(p + 1 if p != 0 else 0)
    if p != 0:
        set_word(dev, proc_at(dev, p) + PROC_STAMP, switch + 1)
