"""What belongs to an app of a phone: its record, its process, regions and runs of pages that are used together."""

import numpy as np

from ...compile.decorators import device
from ...layout.device import PROC_APP, PROC_USED, VMA_PAGES
from ...layout.operations import MAP, MODELLED, READ, TOUCH, WRITE
from ...layout.phone import (
    APP_CLASS, APP_LAUNCHES, APP_PROC, APP_USED, APP_WORDS, CLASS_FLAGS, CLASS_FULL_PAGES, CLASS_HOT_CORE,
    CLASS_REGIONS, CLASS_RUN, CLASS_SHORTEST, CLASS_WORDS, CLASS_WRITE, HABIT_FIRST_CLASS, HABIT_RUN_CHUNK,
    HABIT_ZYGOTE_PAGES, PHONE_APP, PHONE_APPS, PHONE_OP, PHONE_PAGE, PHONE_PROC, PHONE_REGION, REGIONS,
)  # fmt: skip
from ...layout.streams import Stream
from ..access import set_word, word
from ..regions import PMD_PAGES, proc_at, vma_at
from ..rng import draw_words, hash_word

VERSIONS = 1 << 16
"""Versions of contents that are told apart."""
MOST_QUARTERS = 5
"""How large an app may become, in quarters of its full size."""
ADDRESS = 0x10000
"""Virtual page of zygote's region; a page's address and its PTE's place agree modulo 64 KiB and 2 MiB."""


@device
def habit(dev, i):
    """A word of the phone's habits."""
    return word(dev, dev.o_habits + i)


@device
def state(dev, i):
    """A word of the phone's state."""
    return word(dev, dev.o_phone + i)


@device
def set_state(dev, i, value):
    """Store a word of the phone's state."""
    set_word(dev, dev.o_phone + i, value)


@device
def app_at(app):
    """Index of an app's record in the phone's state."""
    return PHONE_APPS + app * APP_WORDS


@device
def class_at(dev, c):
    """Index of the record of an app class in the habits."""
    return habit(dev, HABIT_FIRST_CLASS) + c * CLASS_WORDS


@device
def foreground_app(dev):
    """The app in the foreground: its number, and the indices of its record and of that of its class."""
    app = state(dev, PHONE_APP) - 1
    o = app_at(app)
    return app, o, class_at(dev, state(dev, o + APP_CLASS))


@device
def emit_operation(dev, op, p, a, b, c, d, e, f):
    """Put down the operation to execute next; True, what a phase that emits returns.

    Parameters
    ----------
    op, p : int64
        Code and process of the operation.
    a, b, c, d, e, f : int64
        Its arguments, which mean what `operations` says of the code.
    """
    o = np.int64(dev.o_phone) + PHONE_OP
    set_word(dev, o, op)
    set_word(dev, o + 1, p)
    set_word(dev, o + 2, a)
    set_word(dev, o + 3, b)
    set_word(dev, o + 4, c)
    set_word(dev, o + 5, d)
    set_word(dev, o + 6, e)
    set_word(dev, o + 7, f)
    return True


@device
def process_of(dev, app):
    """Process of an app; 0 if it has none any more, zygote's number."""
    p = state(dev, app_at(app) + APP_PROC)
    o = proc_at(dev, p)
    if p != 0 and (word(dev, o + PROC_USED) == 0 or word(dev, o + PROC_APP) != app + 1):
        return np.int64(0)
    return p


@device
def region_pages(dev, o_class, pages, r):
    """Pages of a region (1 to REGIONS) of an app that has so many."""
    upper = pages * habit(dev, o_class + CLASS_REGIONS + r - 1) >> 16
    lower = pages * habit(dev, o_class + CLASS_REGIONS + r - 2) >> 16 if r > 1 else np.int64(0)
    return upper - lower


@device
def content_entry(dev, o_class, r, version):
    """What a write to a region puts there: its content class and a version (`operations.MODELLED`)."""
    return habit(dev, o_class + CLASS_REGIONS + REGIONS + r - 1) + 32 * (version & (VERSIONS - 1))


@device
def run_length(dev, o_class, r16):
    """Length of a run of pages that are used together, from a 16-bit draw: the sector locality of swap-ins."""
    upper = r16 >> 8
    n = habit(dev, o_class + CLASS_SHORTEST + (upper >> 2)) >> 8 * (upper & 3) & 0xFF
    while n < 32 and r16 < habit(dev, o_class + CLASS_RUN + n - 1):
        n += 1
    return n


@device
def rounded_to_blocks(pages):
    """Pages rounded up to whole blocks of 64 KiB."""
    return (pages + 15) & ~15


@device
def map_own_region(dev, o_class, p, r, most_pages):
    """Emit the mapping of a region: regions follow each other, each at a multiple of 16 pages.

    Parameters
    ----------
    o_class : int64
        Index of the app class in the habits.
    p : int64
        Process.
    r : int64
        Region, 1 to REGIONS.
    most_pages : int64
        Pages that the app may have, all regions.
    """
    first = rounded_to_blocks(habit(dev, HABIT_ZYGOTE_PAGES))
    pmd = first // PMD_PAGES + 2
    pages = np.int64(0)
    for before in range(1, r + 1):
        first += rounded_to_blocks(pages)
        pmd += pages // PMD_PAGES + 2 if before > 1 else np.int64(0)
        # A region cannot be empty.
        pages = max(region_pages(dev, o_class, most_pages, before), np.int64(1))
    return emit_operation(dev, MAP, p, r, pages, ADDRESS + first, habit(dev, o_class + CLASS_FLAGS), first, pmd)


@device
def next_run(dev, o_class, who, r, end, chance, salt):
    """Go on from the phone's page to a run of pages that is used; its first page, or -1 behind the last one.

    Parameters
    ----------
    o_class : int64
        Index of the app class in the habits.
    who : int64
        Whose pages: an app's number, or one for a system process.
    r : int64
        Region.
    end : int64
        Pages of the region.
    chance : int64
        16-bit chance of a run to be used; it is a draw anew for each `salt`. Those of the core are used in any case
        if `salt` is odd.
    salt : int64
        What tells this use from every other one.

    Returns
    -------
    int64, int64, int64
        First page, pages, and 16 bits of chance that stay with the run.
    """
    page = state(dev, PHONE_PAGE)
    core = habit(dev, o_class + CLASS_HOT_CORE) if salt & 1 else np.int64(0)
    # A Philox block for every run took a fifth of a phone's time.
    shape_a, shape_b, use_a, use_b = draw_words(dev, Stream.SHAPE, who, r, 0)
    # Salts are small numbers: spread over all bits, no two of them exchange the draws of neighbouring pages.
    use_now = use_a ^ (salt * 0x9E3779B1 & 0xFFFFFFFF)
    for _ in range(end):
        if page >= end:
            break
        shape = hash_word(page, shape_a, shape_b)
        n = min(run_length(dev, o_class, shape >> 16), end - page)
        first = page
        page += n
        if shape & 0xFFFF < core or hash_word(first, use_now, use_b) >> 16 < chance:
            set_state(dev, PHONE_PAGE, page)
            return first, n, hash_word(first, use_b, shape_a) >> 16
    set_state(dev, PHONE_PAGE, page)
    return np.int64(-1), np.int64(0), np.int64(0)


@device
def use_runs(dev, o_class, who, p, most, chance, salt):
    """Use runs of all regions of a process, one operation each: read, or written with a new version.

    Parameters
    ----------
    o_class : int64
        Index of the app class in the habits.
    who, p : int64
        Whose pages (`next_run`), and the process that has them.
    most : int64
        Index of the state words with the pages of each region; 0 takes the pages of the system's class.
    chance, salt : int64
        16-bit chance of a run to be used, and what tells this use from every other one (`next_run`).
    """
    for _ in range(REGIONS):
        r = state(dev, PHONE_REGION) + 1
        if r > REGIONS:
            break
        end = region_pages(dev, o_class, habit(dev, o_class + CLASS_FULL_PAGES), r)
        if most != 0:
            end = state(dev, most + r - 1)
        page, n, kind = next_run(dev, o_class, who, r, end, chance, salt)
        if page >= 0:
            mode = WRITE if kind < habit(dev, o_class + CLASS_WRITE) else READ
            return emit_operation(dev, TOUCH, p, r, page, n, mode, content_entry(dev, o_class, r, salt), MODELLED)
        set_state(dev, PHONE_REGION, r)
        set_state(dev, PHONE_PAGE, 0)
    return False


@device
def grow_to(dev, goal):
    """Write the next pages of the app in the foreground, which is to have `goal` pages; not once it has."""
    _, o, o_class = foreground_app(dev)
    p = state(dev, PHONE_PROC)
    for r in range(1, REGIONS + 1):
        used = state(dev, o + APP_USED + r - 1)
        end = min(region_pages(dev, o_class, goal, r), word(dev, vma_at(dev, p, r) + VMA_PAGES))
        if used < end:
            n = min(end - used, habit(dev, HABIT_RUN_CHUNK))
            set_state(dev, o + APP_USED + r - 1, used + n)
            entry = content_entry(dev, o_class, r, 2 * state(dev, o + APP_LAUNCHES) + 1)
            return emit_operation(dev, TOUCH, p, r, used, n, WRITE, entry, MODELLED)
    return False
