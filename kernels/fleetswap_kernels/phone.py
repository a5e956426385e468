"""A phone's own operations: its user switches between apps, which start, grow, are used again, and rest.

`next_op` emits one operation after the other, in the language of every other program (`ops`), and keeps where it is in
the device: a run can stop and go on between any two operations. All chance is drawn by coordinates (device, app,
switch, region, page), so that two policies meet the same user (workload notes §1).
"""

import numpy as np

from .access import count, fail, set_word, word
from .app import (
    ADDRESS, MOST_QUARTERS, STREAM_APP, STREAM_SWITCH, VERSIONS, app_at, class_at, content_entry, draw, emit,
    habit, map_own_region, next_run, process_of, region_pages, set_state, state, use_runs,
)  # fmt: skip
from .counters import APP_SWITCHES, COLD_STARTS, COMPACTED_APPS, TRIMMED_APPS
from .errors import LOOP_BOUND
from .habits import (
    APP_CLASS, APP_COMPACTED_AT, APP_COMPACTED_RSS, APP_LAUNCHES, APP_PAGES, APP_PROC, APP_USED, CLASS_BACKGROUND,
    CLASS_FULL_PAGES, CLASS_GC, CLASS_GROWTH, CLASS_HOT_CHANGING, CLASS_NEW, CLASS_SHARE, CLASS_SPREAD,
    CLASS_START_PAGES, HABIT_BACKGROUND_APPS, HABIT_CACHED, HABIT_CLASSES, HABIT_COMPACTION, HABIT_COMPACT_DELTA,
    HABIT_COMPACT_FREE_SLOTS, HABIT_COMPACT_RSS, HABIT_COMPACT_SWITCHES, HABIT_COW, HABIT_INSTALLED,
    HABIT_POPULARITY, HABIT_RECENT, HABIT_RECENT_APPS, HABIT_RUN_CHUNK, HABIT_SESSIONS, HABIT_SYSTEM,
    HABIT_SYSTEM_CLASS, HABIT_ZYGOTE_CONTENT, HABIT_ZYGOTE_PAGES, PHONE_APP, PHONE_COUNT, PHONE_GOAL, PHONE_LAST,
    PHONE_PAGE, PHONE_PHASE, PHONE_PROC, PHONE_RECENT, PHONE_REGION, PHONE_SWITCH, REGIONS,
)  # fmt: skip
from .jit import device, rare
from .layout import PROC_ANONPAGES, PROC_APP, PROC_STAMP, PROC_USED, VMA_PAGES
from .lmkd import begin_window
from .ops import CPU, DONTNEED, EXIT, FORK, MAP, MODELLED, PAGEOUT, PROC, TOUCH, WRITE
from .region import proc_at, vma_at
from .workingset import resident_pages

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
SYSTEM = 10
COMPACT = 11
DONE = 12
"""Phases of a switch, in their order; the phone boots once, before the first."""
MAX_OPS_PASSED = 1 << 20
"""Phases that may pass without an operation; a bound that is never met."""


@device
def boot(dev):
    """Zygote, system processes, and what the installed apps are."""
    step = state(dev, PHONE_COUNT)
    set_state(dev, PHONE_COUNT, step + 1)
    zygote = habit(dev, HABIT_ZYGOTE_PAGES)
    if step == 0:
        make_apps(dev)
        begin_window(dev, np.int64(1))
        return emit(dev, PROC, 0, 0, 0, 0, 0, 0, 0)
    if step == 1:
        return emit(dev, MAP, 0, 0, zygote, ADDRESS, 0, 0, 0)
    if step == 2:
        return emit(dev, TOUCH, 0, 0, 0, zygote, WRITE, habit(dev, HABIT_ZYGOTE_CONTENT), MODELLED)
    p = (step - 3) // (1 + 2 * REGIONS) + 1
    part = (step - 3) % (1 + 2 * REGIONS)
    if p > habit(dev, HABIT_SYSTEM):
        return 0
    if part == 0:
        return emit(dev, FORK, 0, p, 0, 0, 0, 0, 0)
    o_class = class_at(dev, habit(dev, HABIT_SYSTEM_CLASS))
    pages = habit(dev, o_class + CLASS_FULL_PAGES)
    r = (part + 1) // 2
    if part & 1:
        return map_own_region(dev, o_class, p, r, pages)
    mine = region_pages(dev, o_class, pages, r)
    return emit(dev, TOUCH, p, r, 0, mine, WRITE, content_entry(dev, o_class, r, 1), MODELLED)


@device
def make_apps(dev):
    """Draw class and size of every installed app."""
    for app in range(habit(dev, HABIT_INSTALLED)):
        kind, size, _, _ = draw(dev, STREAM_APP, app, 0, 0)
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
def begin(dev):
    """Choose the next app; the one in the foreground becomes a cached one."""
    switch = state(dev, PHONE_SWITCH)
    recent, which, popular, _ = draw(dev, STREAM_SWITCH, 0, switch, 0)
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
    set_state(dev, PHONE_LAST, current)
    set_state(dev, PHONE_APP, app)
    remember(dev, app)
    begin_window(dev, resident_pages(dev))
    count(dev, APP_SWITCHES, 1)
    p = process_of(dev, app - 1)
    set_state(dev, PHONE_PROC, p)
    dev.foreground = np.uint32(p + 1 if p != 0 else 0)
    if p != 0:
        set_word(dev, proc_at(dev, p) + PROC_STAMP, switch + 1)


@device
def remember(dev, app):
    """Move an app to the front of those used last."""
    carried = app
    for i in range(habit(dev, HABIT_RECENT_APPS)):
        here = state(dev, PHONE_RECENT + i)
        set_state(dev, PHONE_RECENT + i, carried)
        if here == app:
            break
        carried = here


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
def trim(dev):
    """Without a process for the app: end cached apps until there is one, then fork zygote."""
    if state(dev, PHONE_PROC) != 0:
        return 0
    p, victim = free_process(dev)
    if p == 0:
        count(dev, TRIMMED_APPS, 1)
        return emit(dev, EXIT, victim, 0, 0, 0, 0, 0, 0)
    set_state(dev, PHONE_PROC, p)
    set_state(dev, PHONE_COUNT, 1)
    count(dev, COLD_STARTS, 1)
    return emit(dev, FORK, 0, p, 0, 0, 0, 0, 0)


@device
def start(dev):
    """Make a forked process the app's: its CPU, its regions."""
    step = state(dev, PHONE_COUNT)
    p = state(dev, PHONE_PROC)
    if step == 0:
        return 0
    app = state(dev, PHONE_APP) - 1
    o = app_at(app)
    set_state(dev, PHONE_COUNT, step + 1)
    if step == 1:
        set_word(dev, proc_at(dev, p) + PROC_APP, app + 1)
        set_word(dev, proc_at(dev, p) + PROC_STAMP, state(dev, PHONE_SWITCH) + 1)
        dev.foreground = np.uint32(p + 1)
        set_state(dev, o + APP_PROC, p)
        set_state(dev, o + APP_COMPACTED_RSS, 0)
        for r in range(REGIONS):
            set_state(dev, o + APP_USED + r, 0)
        return emit(dev, CPU, p, p % np.int64(dev.n_cpus), 0, 0, 0, 0, 0)
    if step > 1 + REGIONS:
        return 0
    o_class = class_at(dev, state(dev, o + APP_CLASS))
    most = state(dev, o + APP_PAGES) * MOST_QUARTERS >> 2
    return map_own_region(dev, o_class, p, step - 1, most)


@device
def copy_zygote(dev):
    """A new app writes to some of the pages it shares with zygote."""
    app = state(dev, PHONE_APP) - 1
    o = app_at(app)
    if state(dev, PHONE_COUNT) == 0:
        return 0
    o_class = class_at(dev, state(dev, o + APP_CLASS))
    launch = state(dev, o + APP_LAUNCHES)
    end = habit(dev, HABIT_ZYGOTE_PAGES)
    page, n, _ = next_run(dev, o_class, app, np.int64(0), end, habit(dev, HABIT_COW), 2 * launch)
    if page < 0:
        return 0
    entry = habit(dev, HABIT_ZYGOTE_CONTENT) + 32 * (2 + app + (launch & 0xFF) * 256 & VERSIONS - 1)
    return emit(dev, TOUCH, state(dev, PHONE_PROC), 0, page, n, WRITE, entry, MODELLED)


@device
def grow_to(dev, goal):
    """Write the next pages of an app that is to have `goal` pages; 0 once it has."""
    o = app_at(state(dev, PHONE_APP) - 1)
    o_class = class_at(dev, state(dev, o + APP_CLASS))
    p = state(dev, PHONE_PROC)
    for r in range(1, REGIONS + 1):
        used = state(dev, o + APP_USED + r - 1)
        end = min(region_pages(dev, o_class, goal, r), word(dev, vma_at(dev, p, r) + VMA_PAGES))
        if used < end:
            n = min(end - used, habit(dev, HABIT_RUN_CHUNK))
            set_state(dev, o + APP_USED + r - 1, used + n)
            entry = content_entry(dev, o_class, r, 2 * state(dev, o + APP_LAUNCHES) + 1)
            return emit(dev, TOUCH, p, r, used, n, WRITE, entry, MODELLED)
    return 0


@device
def launch(dev):
    """A new app writes what it has after its launch."""
    if state(dev, PHONE_COUNT) == 0:
        return 0
    o = app_at(state(dev, PHONE_APP) - 1)
    o_class = class_at(dev, state(dev, o + APP_CLASS))
    full = max(habit(dev, o_class + CLASS_FULL_PAGES), np.int64(1))
    return grow_to(dev, state(dev, o + APP_PAGES) * habit(dev, o_class + CLASS_START_PAGES) // full)


@device
def relaunch(dev):
    """An app that rested uses its hot pages: the core ones again, others for this time."""
    app = state(dev, PHONE_APP) - 1
    o = app_at(app)
    if state(dev, PHONE_COUNT) != 0:
        return 0
    o_class = class_at(dev, state(dev, o + APP_CLASS))
    chance = habit(dev, o_class + CLASS_HOT_CHANGING)
    salt = 2 * state(dev, o + APP_LAUNCHES) + 1
    return use_runs(dev, o_class, app, state(dev, PHONE_PROC), o + APP_USED, chance, salt)


@device
def session_goal(dev):
    """Pages the app in the foreground is to have at the end of its session."""
    o = app_at(state(dev, PHONE_APP) - 1)
    o_class = class_at(dev, state(dev, o + APP_CLASS))
    used = np.int64(0)
    for r in range(REGIONS):
        used += state(dev, o + APP_USED + r)
    _, _, _, length = draw(dev, STREAM_SWITCH, 0, state(dev, PHONE_SWITCH), 0)
    share = habit(dev, HABIT_SESSIONS + (length >> 28))
    towards_full = max(state(dev, o + APP_PAGES) - used, np.int64(0)) * share >> 16
    beyond = used * (habit(dev, o_class + CLASS_NEW) + (habit(dev, o_class + CLASS_GROWTH) * share >> 16)) >> 16
    return used + towards_full + beyond


@device
def grow(dev):
    """The app in the foreground grows with the length of its session."""
    if state(dev, PHONE_GOAL) == 0:
        set_state(dev, PHONE_GOAL, session_goal(dev))
    return grow_to(dev, state(dev, PHONE_GOAL))


@device
def collect(dev):
    """The garbage collector frees runs of the first region, which are written anew."""
    app = state(dev, PHONE_APP) - 1
    o = app_at(app)
    p = state(dev, PHONE_PROC)
    o_class = class_at(dev, state(dev, o + APP_CLASS))
    salt = 2 * state(dev, PHONE_SWITCH)
    if state(dev, PHONE_COUNT) > 0:
        # The other half of the last run.
        n = state(dev, PHONE_COUNT)
        set_state(dev, PHONE_COUNT, 0)
        entry = content_entry(dev, o_class, np.int64(1), salt + 1)
        return emit(dev, TOUCH, p, 1, state(dev, PHONE_PAGE) - n, n, WRITE, entry, MODELLED)
    chance = habit(dev, o_class + CLASS_GC)
    page, n, _ = next_run(dev, o_class, app, np.int64(1), state(dev, o + APP_USED), chance, salt)
    if page < 0:
        return 0
    set_state(dev, PHONE_COUNT, n)
    return emit(dev, DONTNEED, p, 1, page, n, 0, 0, 0)


@device
def background(dev):
    """Some cached apps use some of their pages."""
    switch = state(dev, PHONE_SWITCH)
    for _ in range(habit(dev, HABIT_BACKGROUND_APPS) + 1):
        turn = state(dev, PHONE_COUNT)
        if turn >= habit(dev, HABIT_BACKGROUND_APPS):
            break
        which, _, _, _ = draw(dev, STREAM_SWITCH, 1 + turn, switch, 0)
        app = which * habit(dev, HABIT_INSTALLED) >> 32
        p = process_of(dev, app)
        if p != 0 and p != state(dev, PHONE_PROC):
            o_class = class_at(dev, state(dev, app_at(app) + APP_CLASS))
            chance = habit(dev, o_class + CLASS_BACKGROUND)
            if use_runs(dev, o_class, app, p, app_at(app) + APP_USED, chance, 2 * switch):
                return 1
        set_state(dev, PHONE_COUNT, turn + 1)
        set_state(dev, PHONE_REGION, 0)
        set_state(dev, PHONE_PAGE, 0)
    return 0


@device
def use_system(dev):
    """System processes use some of their pages."""
    o_class = class_at(dev, habit(dev, HABIT_SYSTEM_CLASS))
    chance = habit(dev, o_class + CLASS_HOT_CHANGING)
    for _ in range(habit(dev, HABIT_SYSTEM) + 1):
        turn = state(dev, PHONE_COUNT)
        if turn >= habit(dev, HABIT_SYSTEM):
            break
        who = habit(dev, HABIT_INSTALLED) + turn
        if use_runs(dev, o_class, who, turn + 1, np.int64(0), chance, 2 * state(dev, PHONE_SWITCH) + 1):
            return 1
        set_state(dev, PHONE_COUNT, turn + 1)
        set_state(dev, PHONE_REGION, 0)
        set_state(dev, PHONE_PAGE, 0)
    return 0


@device
def compact_last(dev):
    """The app that left the foreground is swapped out if it is worth it (AOSP CachedAppOptimizer, full compaction)."""
    last = state(dev, PHONE_LAST)
    r = state(dev, PHONE_REGION) + 1
    if last == 0 or r > REGIONS or habit(dev, HABIT_COMPACTION) == 0:
        return 0
    o = app_at(last - 1)
    p = process_of(dev, last - 1)
    if p == 0:
        return 0
    if r == 1:
        rss = word(dev, proc_at(dev, p) + PROC_ANONPAGES)
        before = state(dev, o + APP_COMPACTED_RSS)
        passed = state(dev, PHONE_SWITCH) - state(dev, o + APP_COMPACTED_AT)
        if rss < habit(dev, HABIT_COMPACT_RSS) or abs(rss - before) < habit(dev, HABIT_COMPACT_DELTA):
            return 0
        if before != 0 and passed < habit(dev, HABIT_COMPACT_SWITCHES):
            return 0
        if np.int64(dev.nr_swap_pages) < habit(dev, HABIT_COMPACT_FREE_SLOTS):
            return 0
        count(dev, COMPACTED_APPS, 1)
        set_state(dev, o + APP_COMPACTED_AT, state(dev, PHONE_SWITCH))
    set_state(dev, PHONE_REGION, r)
    return emit(dev, PAGEOUT, p, r, 0, word(dev, vma_at(dev, p, r) + VMA_PAGES), 0, 0, 0)


@device
def done(dev):
    """Note what the compaction left; the next switch begins."""
    last = state(dev, PHONE_LAST)
    if last != 0:
        o = app_at(last - 1)
        p = process_of(dev, last - 1)
        if p != 0 and state(dev, PHONE_REGION) != 0:
            set_state(dev, o + APP_COMPACTED_RSS, max(word(dev, proc_at(dev, p) + PROC_ANONPAGES), np.int64(1)))
    o = app_at(state(dev, PHONE_APP) - 1)
    set_state(dev, o + APP_LAUNCHES, state(dev, o + APP_LAUNCHES) + 1)
    set_state(dev, PHONE_SWITCH, state(dev, PHONE_SWITCH) + 1)


@device
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
    if phase == SYSTEM:
        return use_system(dev)
    return compact_last(dev)


@rare
def next_op(dev, end):
    """Put down the phone's next operation before switch number `end` begins; 0 if there is none."""
    for _ in range(MAX_OPS_PASSED):
        phase = state(dev, PHONE_PHASE)
        if phase == BEGIN and state(dev, PHONE_SWITCH) >= end:
            return 0
        if run_phase(dev, phase):
            return 1
        # A cold start is known by its count in the phases that differ for it.
        if phase < TRIM or phase >= RELAUNCH:
            set_state(dev, PHONE_COUNT, 0)
        set_state(dev, PHONE_REGION, 0 if phase != COMPACT else state(dev, PHONE_REGION))
        set_state(dev, PHONE_PAGE, 0)
        set_state(dev, PHONE_GOAL, 0)
        phase += 1
        if phase == DONE:
            done(dev)
            set_state(dev, PHONE_REGION, 0)
            phase = np.int64(BEGIN)
        set_state(dev, PHONE_PHASE, phase)
    fail(dev, LOOP_BOUND, state(dev, PHONE_PHASE))
    return 0
