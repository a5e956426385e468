"""Values of a fleet that can be simulated but do not act as they read: one line each, with key, value and what acts.

A miniature holds whole pages, of which it needs a few, and one key can make another one pointless. A default that does
nothing is nobody's mistake and gets no line, unless the page scale is the reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fleetswap_kernels.layout.pages import PAGE_BYTES

from .units import DAY_MINUTES, KIB, MIB, parse_size, shown_size, shown_value

if TYPE_CHECKING:
    from .model import FleetScenario

MIN_THP_RAM_BYTES = 512 * MIB
"""Below, the kernel turns huge pages off at boot (spec 06 §6.2)."""
USUAL_FOLIO_BYTES = 64 * KIB
SWAP_CLUSTER_MAX = 32
"""With so many pages of kswapd before each fault the lowest watermark is not reached."""
MIN_APP_PAGES = 3
"""An app has three regions, none of which is empty."""


def found_warnings(scenario: FleetScenario) -> list[str]:
    """Every such value of a scenario."""
    return [
        *_devices(scenario),
        *_folios(scenario),
        *_small_sizes(scenario),
        *_switched_off(scenario),
        *_outdone(scenario),
    ]


def _devices(scenario: FleetScenario) -> Iterator[str]:
    for name, device in scenario.device_class.items():
        where = f"device_class.{name}"
        most = max(_usable(scenario, name), default=0)
        if device.block > PAGE_BYTES and device.block > most:
            yield f"{where}.block: no folio size of {shown_size(device.block)} or more is enabled: not used"
        if device.ram < MIN_THP_RAM_BYTES:
            yield f"{where}.ram: the kernel turns huge pages off on devices with less than 512M"
        if device.mem_limit >= device.zram_bytes:
            why = f"zram holds no more than {shown_size(device.zram_bytes)}"
            yield f"{where}.mem_limit: {shown_size(device.mem_limit)} has hardly any effect: {why}"
        if device.installed_apps == 1:
            yield f"{where}.installed_apps: the only app never leaves the foreground: no app is cached or compacted"
        elif device.cached_apps >= device.installed_apps - 1:
            yield f"{where}.cached_apps: {device.cached_apps} are no fewer than all apps but the one in front: no limit"


def _folios(scenario: FleetScenario) -> Iterator[str]:
    """Settings of folio sizes that no device, or only some of them, can follow."""
    chosen = scenario.policy
    usable = {name: _usable(scenario, name) for name in scenario.device_class}
    granted = set(chosen.swapin_bytes)
    without = [name for name, sizes in usable.items() if granted and not sizes & granted]
    if without:
        size = USUAL_FOLIO_BYTES if USUAL_FOLIO_BYTES in granted else max(granted)
        hint = f'; policy.mthp.{shown_size(size)} = "always" enables one' if len(without) == len(usable) else ""
        where = _on(scenario, without)
        yield f"policy.large_swapin: is on, but no folio size is enabled that it could bring {where}{hint}"
    enabled = set().union(*usable.values())
    for size, switch in chosen.swapin_sizes.items():
        if size not in enabled:
            yield f"policy.swapin_sizes.{shown_size(size)}: is {switch}, but folios of that size are not enabled"
    if chosen.large_swapin not in ("on", "off") and granted & enabled:
        most, largest = parse_size(chosen.large_swapin), max(granted & enabled)
        if largest < most:
            why = "no size between them is enabled"
            yield f"policy.large_swapin: {chosen.large_swapin} acts as {shown_size(largest)}: {why}"
    pool = chosen.large_pool
    if not pool.share_percent:
        return
    without = [name for name, sizes in usable.items() if pool.size not in sizes]
    if without:
        where = _on(scenario, without)
        yield f"policy.large_pool.size: folios of {shown_size(pool.size)} are not enabled {where}: nobody gets the pool"
    held: dict[int, list[str]] = defaultdict(list)
    for name, device in scenario.device_class.items():
        if device.ram * pool.share_percent // 100 < pool.size * scenario.page_scale:
            held[scenario.pool_frames_of(name) * PAGE_BYTES // pool.size].append(name)
    little = f"less than one folio of {shown_size(pool.size)} with page_scale = {scenario.page_scale}"
    for folios, names in held.items():
        acts = f"{_on(scenario, names)} the pool has {folios}"
        yield f"policy.large_pool.share_percent: {pool.share_percent} is {little}; {acts}"


def _small_sizes(scenario: FleetScenario) -> Iterator[str]:
    """Sizes of the real device that are less than the pages that a miniature has at least."""
    page = PAGE_BYTES * scenario.page_scale
    reclaim, compaction, system = scenario.policy.reclaim, scenario.policy.compaction, scenario.system
    sizes = [("policy.reclaim.min_free_kib", reclaim.min_free_kib, KIB, scenario.min_free_pages)]
    sizes += [(f"system.{key}", getattr(system, key), MIB, 1) for key in ("zygote_mib", "process_mib")]
    for name, app in scenario.app_class.items():
        sizes.append((f"app_class.{name}.anon_10s_mib", app.anon_10s_mib, MIB, 1))
        # The smallest app of the class.
        least = -(-MIN_APP_PAGES * 100 // (100 - app.spread_percent))
        sizes.append((f"app_class.{name}.anon_5min_mib", app.anon_5min_mib, MIB, least))
    for key, value, unit, pages in sizes:
        if value * unit < pages * page:
            yield _acts_as(key, value, -(-pages * page // unit), scenario, "from there on values act")
    for name, device in scenario.device_class.items():
        if 0 < device.mem_limit < page:
            key = f"device_class.{name}.mem_limit"
            yield _acts_as(key, shown_size(device.mem_limit), shown_size(page), scenario, "from there on values act")
    for key in ("min_rss_kib", "min_delta_kib"):
        value = getattr(compaction, key)
        if compaction.enabled and 0 < value * KIB < page:
            yield _acts_as(f"policy.compaction.{key}", value, 0, scenario, f"values from {page // KIB} on act")


def _acts_as(key: str, value: object, as_value: object, scenario: FleetScenario, rest: str) -> str:
    return f"{key}: {value} acts as {as_value} with page_scale = {scenario.page_scale}; {rest}"


def _switched_off(scenario: FleetScenario) -> Iterator[str]:
    """Keys that were changed though another one switches off what they are about."""
    chosen = scenario.policy
    off = [
        ("compaction", "enabled", "enabled is false"),
        ("lmkd", "enabled", "enabled is false"),
        ("large_pool", "share_percent", "share_percent is 0"),
    ]
    for name, switch, why in off:
        table = getattr(chosen, name)
        if not getattr(table, switch):
            for key in _changed(table):
                if key != switch:
                    yield f"policy.{name}.{key}: {_shown(table, key)} has no effect: {why}"
    inherits = any("inherit" in scenario.mthp_of(name).values() for name in scenario.device_class)
    if "thp" in _changed(chosen) and not inherits:
        yield f"policy.thp: {_shown(chosen, 'thp')} has no effect: no folio size inherits it"
    if chosen.defrag == "never" and not any(app.madvise_hugepage for app in scenario.app_class.values()):
        yield "policy.defrag: never acts as madvise: no app class has madvise_hugepage"
    if "background_touch_percent" in _changed(scenario.behaviour) and not scenario.behaviour.background_apps_per_switch:
        yield "behaviour.background_touch_percent: has no effect: background_apps_per_switch is 0"
    if all(device.block == PAGE_BYTES for device in scenario.device_class.values()):
        for key in ("block_rewrite", "block_fallback"):
            if getattr(chosen, key):
                yield f"policy.{key}: has no effect: no device class has a block above 4K"


def _outdone(scenario: FleetScenario) -> Iterator[str]:
    """Values that a rule or another key replaces by a larger or smaller one."""
    people, reclaim, compaction = scenario.behaviour, scenario.policy.reclaim, scenario.policy.compaction
    for name, app in scenario.app_class.items():
        if app.hot_percent > 0 and app.similarity_percent < app.hot_percent:
            why = "pages that are hot by chance alone are as similar as hot_percent"
            yield f"app_class.{name}.similarity_percent: {app.similarity_percent} acts as {app.hot_percent}: {why}"
    longest = people.longest_session_minutes
    if people.session_minutes > longest:
        why = "even the shortest session lets an app grow to its full size"
        yield f"behaviour.session_minutes: {people.session_minutes} acts as {longest}: {why}"
    frames = max(scenario.managed_frames_of(name) for name in scenario.device_class)
    # The distance between watermarks is at least a quarter of the lowest one (mm/page_alloc.c).
    least = scenario.min_free_pages // 4
    scale = reclaim.watermark_scale_permyriad
    if "watermark_scale_permyriad" in _changed(reclaim) and frames * scale // 10_000 <= least:
        why = f"a quarter of min_free_kib is as much; values from {(least + 1) * 10_000 // frames + 1} on act"
        yield f"policy.reclaim.watermark_scale_permyriad: {scale} has no effect: {why}"
    if "direct_pages" in _changed(reclaim) and reclaim.kswapd_pages_per_fault >= SWAP_CLUSTER_MAX:
        before = f"before each fault kswapd reclaims kswapd_pages_per_fault = {reclaim.kswapd_pages_per_fault}"
        why = f"{before}, so direct reclaim has nothing to do"
        yield f"policy.reclaim.direct_pages: {reclaim.direct_pages} has hardly any effect: {why}"
    # An app is opened and left before it can be compacted again, two switches later; the busiest user is soonest.
    busiest, throttle = people.switches_per_day * max(people.activity_q16), compaction.throttle_minutes
    if "throttle_minutes" in _changed(compaction) and 0 < throttle * busiest <= 2 * DAY_MINUTES << 16:
        least = (2 * DAY_MINUTES << 16) // busiest + 1
        why = f"two switches of the busiest user take as long; values from {least} on act"
        yield f"policy.compaction.throttle_minutes: {throttle} has no effect: {why}"


def _changed(table: Any) -> list[str]:
    """Keys of a table that are not at their defaults."""
    return [key for key, field in type(table).model_fields.items() if getattr(table, key) != field.default]


def _shown(table: Any, key: str) -> str:
    return shown_value(table.model_dump(mode="json")[key])


def _on(scenario: FleetScenario, names: list[str]) -> str:
    """Names of the devices concerned: all of them, or those of some classes."""
    everywhere = len(names) == len(scenario.device_class)
    return "on all devices" if everywhere else f"on {', '.join(f'device_class.{name}' for name in names)}"


def _usable(scenario: FleetScenario, device_class: str) -> set[int]:
    """Folio sizes that any app of a device gets, bytes."""
    advised = any(app.madvise_hugepage for app in scenario.app_class.values())
    got = {"always": True, "madvise": advised, "never": False}
    got["inherit"] = got[scenario.policy.thp]
    return {size for size, setting in scenario.mthp_of(device_class).items() if got[setting]}
