"""Tiny phones for tests: a device of some hundred page frames, and what may be drawn about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st

from fleetswap.scenario.file import load_fleet_scenario
from fleetswap.scenario.model import FleetScenario
from fleetswap.workload.laid_out import LaidOut
from fleetswap.workload.lay_out import lay_out
from fleetswap_kernels.backend.arena import Arena
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.contract import Backend

SCENARIO = Path(__file__).parents[1] / "data/tiny-phones.toml"
PAGES_16K = ("never", "always", "madvise", "inherit")
CHOICES: dict[str, tuple[object, ...]] = {
    "policy.kernel": ("6.12", "6.12", "6.12", "v7"),
    "policy.large_swapin": ("on", "on", "off", "16K", "64K", "256K"),
    "policy.margin_rule": ("false", "true"),
    "policy.zeromap": ("on", "on", "off", "v7"),
    "policy.thp": ("always", "madvise", "never"),
    "policy.mthp.16K": PAGES_16K,
    "policy.mthp.32K": ("never", "never", "always"),
    "policy.mthp.64K": PAGES_16K,
    "policy.mthp.128K": ("never", "never", "always", "madvise"),
    "policy.mthp.256K": ("never", "never", "always", "inherit"),
    "policy.mthp.2M": ("never", "never", "always"),
    "policy.defrag": ("always", "defer", "defer+madvise", "madvise", "never"),
    "policy.pool": ("packed", "exact"),
    "policy.block_rewrite": ("false", "true"),
    "policy.block_fallback": ("false", "true"),
    "policy.large_pool.share_percent": (0, 0, 5, 25, 38),
    "policy.large_pool.size": ("64K", "16K", "32K", "256K", "2M"),
    "policy.compaction.enabled": ("true", "false"),
    "policy.lmkd.enabled": ("true", "false"),
    "policy.lmkd.swap_free_low_percent": (10, 0, 50),
    "policy.lmkd.thrashing_limit_percent": (100, 5, 1000),
    "policy.lmkd.thrashing_decay_percent": (10, 0, 100),
    "policy.reclaim.watermark_scale_permyriad": (10, 1000),
    "policy.reclaim.kswapd_pages_per_fault": (32, 1, 300),
    "policy.reclaim.direct_pages": (32, 1, 300),
    "behaviour.background_touch_percent": (2, 40),
    "behaviour.switches_spread_percent": (50, 0, 100),
    "system.zygote_cow_percent": (20, 0, 100),
    "system.hot_percent_per_switch": (5, 60),
    "system.processes": (1, 2, 5),
    "device_class.phone.unavailable_percent": (50, 25, 0, 55),
    "device_class.phone.zram": ("40p", "25p", "100p", "200p"),
    "device_class.phone.codec": ("lz4", "lzo-rle", "zstd"),
    "device_class.phone.block": ("4K", "4K", "16K", "64K", "256K"),
    "device_class.phone.cpus": (1, 1, 2, 3),
    "device_class.phone.page_cluster": (0, 2, 3, 5),
    "device_class.phone.mem_limit": (0, 0, 0, "1M", "16M", "64M"),
    "device_class.phone.installed_apps": (6, 2, 12, 1),
    "device_class.phone.cached_apps": (4, 1, 9),
    "app_class.small.madvise_hugepage": ("false", "true"),
    "app_class.large.madvise_hugepage": ("false", "true"),
    "app_class.large.content.gpu_raster": (10, 0),
    "app_class.large.content.game_managed": (30, 0),
    "app_class.large.write_percent": (30, 0, 100),
}
"""What may be said of a tiny phone. A page stands for 256: zram has 256 to 2048 slots, a limit of 16M is 16 pages."""

ROOMY: dict[str, object] = {
    "device_class.phone.ram": "4G",
    "device_class.phone.unavailable_percent": 50,
    "app_class.large.anon_10s_mib": 600,
    "app_class.large.anon_5min_mib": 1000,
    "behaviour.switches_per_day": 12,
}
"""A phone of 2048 frames whose apps are large enough for folios of 2 MiB."""
_ANY = st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in CHOICES.items()})
SETTINGS = st.builds(lambda settings, kind: settings | kind, _ANY, st.sampled_from(({}, {}, ROOMY)))
"""Any of them; what is not said is as in the file."""


def words(settings: dict[str, object]) -> tuple[str, ...]:
    """Settings as the command line has them."""
    return tuple(f"{key}={value}" for key, value in settings.items())


def tiny(*settings: str, devices: int = 1, seed: int = 0) -> FleetScenario:
    """A fleet of tiny phones."""
    return load_fleet_scenario(str(SCENARIO), settings, devices, seed)


def verified(laid_out: LaidOut, swap_cache: bool = True) -> LaidOut:
    """The same phones, but they remember what every page should hold, so that reads are checked."""
    kinds = {}
    for name, kind in laid_out.kinds.items():
        sizes = replace(kind.blueprint.sizes, verify=True, swap_cache=swap_cache)
        kinds[name] = replace(kind, blueprint=replace(kind.blueprint, sizes=sizes))
    return replace(laid_out, kinds=kinds)


def ready(
    scenario: FleetScenario, backend: Backend = ONE_THREAD, verify: bool = True, swap_cache: bool = True
) -> tuple[Arena, LaidOut]:
    """All devices of a fleet just after boot of the kernel, and their program."""
    laid_out = verified(lay_out(scenario), swap_cache) if verify else lay_out(scenario)
    arena, _ = laid_out.arena(backend=backend)
    arena.init()
    return arena, laid_out
