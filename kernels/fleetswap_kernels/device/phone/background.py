"""What goes on behind the foreground: some cached apps and all system processes use some of their pages."""

import numpy as np

from ...compile.decorators import device
from ...layout.phone import (
    APP_CLASS, APP_USED, CLASS_BACKGROUND, CLASS_HOT_CHANGING, HABIT_BACKGROUND_APPS, HABIT_INSTALLED, HABIT_SYSTEM,
    HABIT_SYSTEM_CLASS, PHONE_COUNT, PHONE_PAGE, PHONE_PROC, PHONE_REGION, PHONE_SWITCH,
)  # fmt: skip
from ...layout.streams import Stream
from ..rng import draw_words
from .app import app_at, class_at, habit, process_of, set_state, state, use_runs


@device
def use_background(dev):
    """Take turns: cached apps by chance, then every system process; only those use the core of their pages as well."""
    switch = state(dev, PHONE_SWITCH)
    apps = habit(dev, HABIT_BACKGROUND_APPS)
    turns = apps + habit(dev, HABIT_SYSTEM)
    for _ in range(turns + 1):
        turn = state(dev, PHONE_COUNT)
        if turn >= turns:
            break
        if turn < apps:
            which, _, _, _ = draw_words(dev, Stream.SWITCH, 1 + turn, switch, 0)
            who = which * habit(dev, HABIT_INSTALLED) >> 32
            p = process_of(dev, who)
            o_class = class_at(dev, state(dev, app_at(who) + APP_CLASS))
            most = app_at(who) + APP_USED
            chance = habit(dev, o_class + CLASS_BACKGROUND)
            salt = 2 * switch
        else:
            p = turn - apps + 1
            who = habit(dev, HABIT_INSTALLED) + p - 1
            o_class = class_at(dev, habit(dev, HABIT_SYSTEM_CLASS))
            most = np.int64(0)
            chance = habit(dev, o_class + CLASS_HOT_CHANGING)
            salt = 2 * switch + 1
        if p != 0 and p != state(dev, PHONE_PROC) and use_runs(dev, o_class, who, p, most, chance, salt):
            return True
        set_state(dev, PHONE_COUNT, turn + 1)
        set_state(dev, PHONE_REGION, 0)
        set_state(dev, PHONE_PAGE, 0)
    return False
