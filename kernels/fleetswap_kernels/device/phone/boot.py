"""What a phone has before its first app: a user, zygote, system processes, and apps that are not started yet."""

import numpy as np

from ...compile.decorators import device
from ...layout.operations import FORK, MAP, MODELLED, PROC, TOUCH, WRITE
from ...layout.phone import (
    APP_CLASS, APP_PAGES, CLASS_FULL_PAGES, CLASS_SHARE, CLASS_SPREAD, HABIT_ACTIVITY, HABIT_CLASSES, HABIT_INSTALLED,
    HABIT_SYSTEM, HABIT_SYSTEM_CLASS, HABIT_ZYGOTE_CONTENT, HABIT_ZYGOTE_PAGES, PHONE_ACTIVITY, PHONE_COUNT, REGIONS,
)  # fmt: skip
from ...layout.streams import Stream
from ..pressure.lmkd import begin_window
from ..rng import draw_words
from .app import (
    ADDRESS, app_at, class_at, content_entry, emit_operation, habit, map_own_region, region_pages, set_state, state,
)  # fmt: skip


@device
def make_user(dev):
    """Draw how often the user of the phone switches."""
    kind, _, _, _ = draw_words(dev, Stream.USER, 0, 0, 0)
    set_state(dev, PHONE_ACTIVITY, habit(dev, HABIT_ACTIVITY + (kind >> 28)))


@device
def make_apps(dev):
    """Draw class and size of every installed app."""
    for app in range(habit(dev, HABIT_INSTALLED)):
        kind, size, _, _ = draw_words(dev, Stream.APP, app, 0, 0)
        c = np.int64(0)
        while c + 1 < habit(dev, HABIT_CLASSES) and kind >= habit(dev, class_at(dev, c) + CLASS_SHARE):
            c += 1
        o_class = class_at(dev, c)
        spread = habit(dev, o_class + CLASS_SPREAD)
        factor = 65536 - spread + (2 * spread * size >> 32)
        o = app_at(app)
        set_state(dev, o + APP_CLASS, c)
        set_state(dev, o + APP_PAGES, max(habit(dev, o_class + CLASS_FULL_PAGES) * factor >> 16, np.int64(REGIONS)))


@device
def boot_phone(dev):
    """The user, zygote, system processes, and what the installed apps are."""
    step = state(dev, PHONE_COUNT)
    set_state(dev, PHONE_COUNT, step + 1)
    zygote = habit(dev, HABIT_ZYGOTE_PAGES)
    if step == 0:
        make_user(dev)
        make_apps(dev)
        begin_window(dev, np.int64(1))
        return emit_operation(dev, PROC, 0, 0, 0, 0, 0, 0, 0)
    if step == 1:
        return emit_operation(dev, MAP, 0, 0, zygote, ADDRESS, 0, 0, 0)
    if step == 2:
        return emit_operation(dev, TOUCH, 0, 0, 0, zygote, WRITE, habit(dev, HABIT_ZYGOTE_CONTENT), MODELLED)
    p = (step - 3) // (1 + 2 * REGIONS) + 1
    part = (step - 3) % (1 + 2 * REGIONS)
    if p > habit(dev, HABIT_SYSTEM):
        return False
    if part == 0:
        return emit_operation(dev, FORK, 0, p, 0, 0, 0, 0, 0)
    o_class = class_at(dev, habit(dev, HABIT_SYSTEM_CLASS))
    pages = habit(dev, o_class + CLASS_FULL_PAGES)
    r = (part + 1) // 2
    if part & 1:
        return map_own_region(dev, o_class, p, r, pages)
    mine = region_pages(dev, o_class, pages, r)
    return emit_operation(dev, TOUCH, p, r, 0, mine, WRITE, content_entry(dev, o_class, r, 1), MODELLED)
