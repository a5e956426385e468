"""What a phone does: words of its habits, which its class decides, and of its state, which `phone` keeps.

Chances are thresholds: a draw of 16 bits below one says yes. Sizes are pages.
"""

HABIT_INSTALLED = 0
"""Apps that the phone's user opens."""
HABIT_CACHED = 1
"""App processes that may live besides the one in the foreground."""
HABIT_SYSTEM = 2
"""System processes, which are never killed; process 0 is zygote, they follow, then the apps."""
HABIT_ZYGOTE_PAGES = 3
HABIT_COW = 4
"""Chance that a new app writes to a run of zygote's pages."""
HABIT_SYSTEM_CLASS = 5
"""Record of the class of system processes among the app classes."""
HABIT_ZYGOTE_CONTENT = 6
HABIT_RECENT = 7
"""Chance that the next app is one of the last used."""
HABIT_RECENT_APPS = 8
"""How many apps that are."""
HABIT_BACKGROUND_APPS = 9
"""Cached apps that do something in the background between two switches."""
HABIT_COMPACTION = 10
"""Whether cached apps are compacted (CachedAppOptimizer)."""
HABIT_COMPACT_RSS = 11
HABIT_COMPACT_DELTA = 12
"""Least resident pages of an app that is compacted, and how far they must be from those after the last time."""
HABIT_COMPACT_FREE_SLOTS = 13
HABIT_COMPACT_SWITCHES = 14
"""Switches of the average user before the same app is compacted again, in 2^-16."""
HABIT_LMKD = 15
HABIT_SWAP_LOW_SLOTS = 16
HABIT_THRASH_LIMIT = 17
HABIT_THRASH_DECAY = 18
HABIT_CLASSES = 19
"""Number of app classes, without that of the system, which follows them."""
HABIT_RUN_CHUNK = 20
"""Pages an app writes at once as it grows."""
HABIT_SESSIONS = 21
"""Sixteen equally likely lengths of a session, as 16-bit shares of the time an app takes to grow to its full size."""
HABIT_ACTIVITY = HABIT_SESSIONS + 16
"""Switches of sixteen equally frequent users, over those of the average one, in 2^-16."""
HABIT_POPULARITY = HABIT_ACTIVITY + 16
"""Word offset of the cumulative popularity of the installed apps, 32 bits each."""
HABIT_FIRST_CLASS = HABIT_POPULARITY + 1
"""Word offset of the records of app classes."""
HABIT_WORDS = HABIT_FIRST_CLASS + 1

CLASS_SHARE = 0
"""Cumulative share of installed apps, 32 bits; 0 for the system's class."""
CLASS_START_PAGES = 1
CLASS_FULL_PAGES = 2
"""Anonymous memory right after the launch, and of a long session."""
CLASS_SPREAD = 3
"""How far apps differ in size, as a 16-bit share."""
CLASS_HOT_CORE = 4
"""Chance that a run of pages is used at every relaunch."""
CLASS_HOT_CHANGING = 5
"""Chance that another run is used at one relaunch."""
CLASS_WRITE = 6
CLASS_NEW = 7
"""Share of its pages that an app allocates anew at a relaunch instead of using old ones, 16 bits."""
CLASS_GC = 8
"""Chance that a run of the first region is discarded and written again in a session."""
CLASS_GROWTH = 9
"""Share of its pages that an app grows by in a full session beyond that, 16 bits."""
CLASS_BACKGROUND = 10
"""Chance that a run is used in the background."""
CLASS_FLAGS = 11
"""Flags of the regions."""
CLASS_REGIONS = 12
"""For each of three regions its cumulative share of the pages (16 bits), then for each its content class."""
CLASS_RUN = CLASS_REGIONS + 6
"""Sixteen-bit chances that a run is longer than 1, 2, ... 32 pages."""
CLASS_SHORTEST = CLASS_RUN + 32
"""Shortest run for each upper half of a 16-bit draw, four to a word: where the search among those chances begins."""
CLASS_WORDS = CLASS_SHORTEST + 64

REGIONS = 3
"""Regions of an app; region 0 of every process is zygote's."""

PHONE_SWITCH = 0
"""App switch in progress."""
PHONE_PHASE = 1
PHONE_PROC = 2
PHONE_REGION = 3
PHONE_PAGE = 4
PHONE_COUNT = 5
PHONE_APP = 6
"""The app in the foreground, plus 1."""
PHONE_LAST = 7
"""The one before it, plus 1."""
PHONE_GOAL = 8
PHONE_ACTIVITY = 9
"""Switches of this phone's user, over those of the average one, in 2^-16."""
PHONE_OP = 10
"""The operation to execute, 8 words."""
PHONE_RECENT = PHONE_OP + 8
"""The last used apps, plus 1, most recent first."""
MAX_RECENT = 8
PHONE_APPS = PHONE_RECENT + MAX_RECENT
"""Records of the installed apps."""
APP_CLASS = 0
APP_PROC = 1
"""Its process; 0 if it has none (process 0 is zygote)."""
APP_LAUNCHES = 2
APP_PAGES = 3
"""Pages that it has at most, all regions."""
APP_USED = 4
"""Pages written so far, in each region."""
APP_COMPACTED_RSS = 7
APP_COMPACTED_AT = 8
APP_WORDS = 9
