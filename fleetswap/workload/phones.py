"""Phones of a fleet scenario: the habits, sizes and policy of each device class, and the program that all run."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.arena import Blueprint
from fleetswap_kernels.device.memory import large_folio as allocation
from fleetswap_kernels.device.phone.app import MOST_QUARTERS
from fleetswap_kernels.layout import operations as ops
from fleetswap_kernels.layout import phone as h
from fleetswap_kernels.layout import words as bits
from fleetswap_kernels.layout.device import Sizes
from fleetswap_kernels.layout.pages import PAGE_BYTES, order_of
from fleetswap_kernels.layout.size_classes import size_classes

from ..scenario.content_library import library_model, load_library
from ..scenario.model import FULL_SIZE_MINUTES, SESSION_PERMILLE, AppClass, DeviceClass, FleetScenario
from ..script.config import Config
from ..script.program import policy
from .laid_out import LOW, Kind, LaidOut, seed_fields
from .metrics import METRICS

MIB = 1 << 20
Q16 = 1 << 16
RECENT_APPS = 5
"""Apps that count as recent; assumption."""
GROW_CHUNK_PAGES = 64
"""Pages an app writes at a time as it grows; it orders nothing but what comes between."""
DEFRAG = {
    "always": allocation.DEFRAG_ALWAYS,
    "defer": allocation.DEFRAG_DEFER,
    "defer+madvise": allocation.DEFRAG_DEFER_MADVISE,
    "madvise": allocation.DEFRAG_MADVISE,
    "never": allocation.DEFRAG_NEVER,
}
GLOBAL = {"never": bits.THP_NEVER, "madvise": bits.THP_MADVISE, "always": bits.THP_ALWAYS}


def lay_out(scenario: FleetScenario) -> LaidOut:
    """Lay out a fleet.

    Raises
    ------
    InputError
        If a file that the scenario names cannot be used.
    """
    steps = scenario.days * scenario.steps_per_day
    switches = scenario.days * scenario.behaviour.switches_per_day
    program = np.zeros((2 * steps, ops.OP_WORDS), dtype=np.uint32)
    for step in range(steps):
        program[2 * step, [0, 2]] = ops.SWITCH, switches * (step + 1) // steps
        # The census looks at every page: once a day.
        census = bits.FAULT_ORDERS if (step + 1) % scenario.steps_per_day == 0 else 0
        program[2 * step + 1, [0, 2]] = ops.GAUGE, census
    kinds = {
        name: Kind(blueprint(scenario, name), device.cost, device.codec, order_of(device.block), device.share)
        for name, device in scenario.device_class.items()
    }
    processes = max(kind.blueprint.sizes.procs for kind in kinds.values())
    headline = f"{scenario.devices:,} devices of up to {processes} processes, {scenario.days} day(s)"
    return LaidOut(
        scenario,
        scenario.digest(),
        kinds,
        program,
        tuple(2 * i for i in range(steps + 1)),
        METRICS,
        headline,
        library=_library(scenario),
        page_scale=scenario.page_scale,
        advises=any(app.madvise_hugepage for app in scenario.app_class.values()),
    )


def blueprint(scenario: FleetScenario, name: str) -> Blueprint:
    """What a device of a class is made of: a miniature, all sizes divided by the page scale."""
    device = scenario.device_class[name]
    slots = scenario.slots_of(name)
    block_order = order_of(device.block)
    classes = size_classes(block_order=block_order)
    words = habits(scenario, device, slots)
    ptes, pmds = process_size(scenario)
    sizes = Sizes(
        slots=slots,
        ptes=ptes,
        pmds=pmds,
        frames=scenario.available_frames_of(name),
        procs=2 + scenario.system.processes + device.cached_apps,
        vmas=1 + h.REGIONS,
        cpus=device.cpus,
        contents=3,
        zspages=slots + 2 if scenario.policy.pool == "exact" else 0,
        zclasses=len(classes.class_bytes),
        block_order=block_order,
        verify=False,
        pressure=True,
        habits=len(words),
        phone=h.PHONE_APPS + device.installed_apps * h.APP_WORDS,
    )
    return Blueprint(
        sizes,
        header_fields(scenario, name),
        np.zeros(3, np.uint32),
        np.zeros(1, np.uint32),
        classes,
        model=library_model(_library(scenario)),
        habits=words,
    )


def _library(scenario: FleetScenario) -> Path | None:
    return None if scenario.content_library == "measured" else Path(scenario.content_library)


def header_fields(scenario: FleetScenario, name: str) -> dict[str, int]:
    """Policy fields of a device's header."""
    device, chosen = scenario.device_class[name], scenario.policy
    config = Config(
        cpus=device.cpus,
        thp={size // 1024: setting for size, setting in scenario.mthp_of(name).items()},
        page_cluster=device.page_cluster,
        algorithm=device.codec,
        mem_limit_bytes=device.mem_limit // scenario.page_scale,
        kernel=chosen.kernel,
        block_order=order_of(device.block),
        block_rewrite=chosen.block_rewrite,
        block_fallback=chosen.block_fallback,
        content_scaled=True,
    )
    granted = sum(1 << order_of(size) for size in chosen.swapin_bytes)
    pool_order = order_of(chosen.large_pool.size)
    least, managed = scenario.min_free_pages, scenario.managed_frames_of(name)
    distance = max(least // 4, managed * chosen.reclaim.watermark_scale_permyriad // 10_000)
    return policy(config) | {
        "thp_global": GLOBAL[chosen.thp],
        "zeromap_check": int(chosen.kernel != "v7" and chosen.zeromap != "v7"),
        "zeromap_off": int(chosen.zeromap == "off"),
        "swapin_denied": bits.FAULT_ORDERS & ~granted,
        "verdicts": 1,
        "random_philox": 1,
        **seed_fields(scenario.seed),
        "min_free": least,
        "low_free": least + distance,
        "high_free": least + 2 * distance,
        "kswapd_pages": chosen.reclaim.kswapd_pages_per_fault,
        "direct_pages": chosen.reclaim.direct_pages,
        "reserve_order": pool_order,
        "reserve_frames": scenario.pool_frames_of(name),
        "margin_rule": int(chosen.margin_rule),
        "defrag": DEFRAG[chosen.defrag],
    }


def scaled_pages(scenario: FleetScenario, mib: int) -> int:
    """Pages of a miniature for so much memory of the real device."""
    return max(mib * MIB // (PAGE_BYTES * scenario.page_scale), 1)


def process_size(scenario: FleetScenario) -> tuple[int, int]:
    """PTEs and 2 MiB ranges that the largest process needs (`app.map_own_region`)."""
    largest = max(
        [scaled_pages(scenario, scenario.system.process_mib)]
        + [
            (scaled_pages(scenario, app.anon_5min_mib) * (Q16 + _q16(app.spread_percent, 100)) >> 16) * MOST_QUARTERS
            >> 2
            for app in scenario.app_class.values()
        ]
    )
    zygote = scaled_pages(scenario, scenario.system.zygote_mib)
    # Whatever their shares, three regions have at most a block of 64 KiB and two ranges each besides their pages.
    ptes = (zygote + largest + 15 * (1 + h.REGIONS) + h.REGIONS) // 16 * 16 + 16
    return ptes, ptes // 512 + 2 * (1 + h.REGIONS) + 2


def habits(scenario: FleetScenario, device: DeviceClass, slots: int) -> npt.NDArray[np.uint32]:
    """The words of `fleetswap_kernels.layout.phone` for one device class."""
    people, system, chosen = scenario.behaviour, scenario.system, scenario.policy
    names = load_library(_library(scenario)).names
    apps = list(scenario.app_class.values())
    at_popularity = h.HABIT_WORDS
    at_classes = at_popularity + device.installed_apps
    words = np.zeros(at_classes + (len(apps) + 1) * h.CLASS_WORDS, dtype=np.uint32)
    minutes_per_switch = Fraction(1440, people.switches_per_day)
    unit_kib = PAGE_BYTES * scenario.page_scale // 1024
    record = {
        h.HABIT_INSTALLED: device.installed_apps,
        h.HABIT_CACHED: device.cached_apps,
        h.HABIT_SYSTEM: system.processes,
        h.HABIT_ZYGOTE_PAGES: scaled_pages(scenario, system.zygote_mib),
        h.HABIT_COW: _q16(system.zygote_cow_percent, 100),
        h.HABIT_SYSTEM_CLASS: len(apps),
        h.HABIT_ZYGOTE_CONTENT: names.index(max(system.content, key=lambda c: system.content[c])),
        h.HABIT_RECENT: _q16(people.relaunch_of_recent_percent, 100),
        h.HABIT_RECENT_APPS: RECENT_APPS,
        h.HABIT_BACKGROUND_APPS: people.background_apps_per_switch,
        h.HABIT_COMPACTION: int(chosen.compaction.enabled),
        h.HABIT_COMPACT_RSS: chosen.compaction.min_rss_kib // unit_kib,
        h.HABIT_COMPACT_DELTA: chosen.compaction.min_delta_kib // unit_kib,
        h.HABIT_COMPACT_FREE_SLOTS: slots * chosen.compaction.min_free_swap_percent // 100,
        h.HABIT_COMPACT_SWITCHES: -int(-Q16 * chosen.compaction.throttle_minutes // minutes_per_switch),
        h.HABIT_LMKD: int(chosen.lmkd.enabled),
        h.HABIT_SWAP_LOW_SLOTS: slots * chosen.lmkd.swap_free_low_percent // 100,
        h.HABIT_THRASH_LIMIT: chosen.lmkd.thrashing_limit_percent,
        h.HABIT_THRASH_DECAY: chosen.lmkd.thrashing_decay_percent,
        h.HABIT_CLASSES: len(apps),
        h.HABIT_RUN_CHUNK: GROW_CHUNK_PAGES,
        h.HABIT_POPULARITY: at_popularity,
        h.HABIT_FIRST_CLASS: at_classes,
    }
    _put(words, 0, record)
    for i, permille in enumerate(SESSION_PERMILLE):
        share = Fraction(people.session_minutes * permille, 1000 * FULL_SIZE_MINUTES)
        words[h.HABIT_SESSIONS + i] = min(int(share * Q16), Q16)
    words[h.HABIT_ACTIVITY : h.HABIT_POPULARITY] = people.activity_q16
    words[at_popularity:at_classes] = _popularity(device.installed_apps, people.popularity_permille)
    edges = _cumulative([app.share for app in apps])
    for i, app in enumerate(apps):
        record = _app_words(scenario, app, people.background_touch_percent, names) | {h.CLASS_SHARE: edges[i]}
        _put(words, at_classes + i * h.CLASS_WORDS, record)
    _put(words, at_classes + len(apps) * h.CLASS_WORDS, _system_words(scenario, names))
    return words


def _put(words: npt.NDArray[np.uint32], at: int, record: dict[int, int]) -> None:
    for index, value in record.items():
        words[at + index] = value


def _q16(part: int, whole: int) -> int:
    """A share in 2^-16."""
    return part * Q16 // whole


def _popularity(apps: int, exponent_permille: int) -> list[int]:
    """Cumulative chances of apps to be opened, Zipf by rank, in 2^-32."""
    return _cumulative([round((1 << 40) / (rank + 1) ** (exponent_permille / 1000)) for rank in range(apps)])


def _cumulative(weights: list[int]) -> list[int]:
    """Cumulative shares, in 2^-32."""
    total = sum(weights)
    return [min(passed * (1 << 32) // total, LOW) for passed in accumulate(weights)]


def hot_chances(hot_percent: int, similarity_percent: int) -> tuple[int, int]:
    """Chances, in 2^-16, that a run of pages is used at every relaunch, and that another one is at a given relaunch.

    With a core c and a chance t of the others, a share h = c + (1 - c) t is hot, and of it (c + (1 - c) t^2) / h at
    the next relaunch again. Solved for the similarity s: c = h (s - h) / (1 - 2 h + s h). Without a core s = h, so a
    smaller similarity cannot be.
    """
    hot, same = Fraction(hot_percent, 100), Fraction(similarity_percent, 100)
    if hot == 0 or hot == 1:
        return int(hot * Q16), 0
    core = hot * (same - hot) / (1 - 2 * hot + same * hot) if same > hot else Fraction(0)
    return int(core * Q16), int((hot - core) / (1 - core) * Q16) if core < 1 else 0


def _mix_words(content: dict[str, int], names: tuple[str, ...]) -> dict[int, int]:
    """Three regions, each of one content class, in the shares of a mix; the largest comes first."""
    kinds = sorted(content.items(), key=lambda item: (-item[1], item[0]))
    # Without a third or second class its region has no pages.
    kinds += [(kinds[0][0], 0)] * (h.REGIONS - len(kinds))
    total = sum(content.values())
    edges = [_q16(passed, total) for passed in accumulate(weight for _, weight in kinds)]
    return dict(enumerate([*edges, *(names.index(kind) for kind, _ in kinds)], h.CLASS_REGIONS))


def _run_words(locality_percent: int) -> dict[int, int]:
    """Chances of runs longer than 1, 2, ... 32 pages, if every page is followed by the next with one chance."""
    follows = Fraction(locality_percent, 100)
    longer = [int(follows ** (k + 1) * Q16) for k in range(32)]
    # Of the draws with one upper half the largest makes the shortest run.
    shortest = np.array([1 + sum((upper << 8 | 0xFF) < chance for chance in longer[:31]) for upper in range(256)])
    packed = shortest.astype("<u1").view("<u4").tolist()
    return dict(enumerate(longer, h.CLASS_RUN)) | dict(enumerate(packed, h.CLASS_SHORTEST))


def _app_words(scenario: FleetScenario, app: AppClass, background: int, names: tuple[str, ...]) -> dict[int, int]:
    core, changing = hot_chances(app.hot_percent, app.similarity_percent)
    return {
        h.CLASS_START_PAGES: scaled_pages(scenario, app.anon_10s_mib),
        h.CLASS_FULL_PAGES: scaled_pages(scenario, app.anon_5min_mib),
        h.CLASS_SPREAD: _q16(app.spread_percent, 100),
        h.CLASS_HOT_CORE: core,
        h.CLASS_HOT_CHANGING: changing,
        h.CLASS_WRITE: _q16(app.write_percent, 100),
        h.CLASS_NEW: _q16((100 - app.reuse_percent) * app.hot_percent, 10_000),
        h.CLASS_GC: _q16(app.gc_percent_per_session, 100),
        h.CLASS_GROWTH: _q16(app.growth_percent_per_session, 100),
        h.CLASS_BACKGROUND: _q16(background, 100),
        h.CLASS_FLAGS: bits.VMA_HUGEPAGE if app.madvise_hugepage else 0,
        **_mix_words(app.content, names),
        **_run_words(app.locality_percent),
    }


SYSTEM_SIMILARITY_PERCENT = 70
"""System processes use the same pages again as apps do; assumption."""


def _system_words(scenario: FleetScenario, names: tuple[str, ...]) -> dict[int, int]:
    system = scenario.system
    core, changing = hot_chances(system.hot_percent_per_switch, SYSTEM_SIMILARITY_PERCENT)
    pages = scaled_pages(scenario, system.process_mib)
    return {
        h.CLASS_START_PAGES: pages,
        h.CLASS_FULL_PAGES: pages,
        h.CLASS_HOT_CORE: core,
        h.CLASS_HOT_CHANGING: changing,
        h.CLASS_WRITE: _q16(system.write_percent, 100),
        **_mix_words(system.content, names),
        **_run_words(system.locality_percent),
    }
