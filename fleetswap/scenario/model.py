"""Scenarios of a fleet of phones: what a file may say, with its defaults and bounds.

Every value is an integer, a choice or a name. The checks between keys are in `limits`, the files in `file`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from fleetswap_kernels.layout.pages import PAGE_BYTES

from .fingerprint import digest_of, file_or_name
from .units import (
    BLOCK,
    CLASS_NAME,
    DAY_MINUTES,
    FOLIO,
    FOLIO_KEY,
    KIB,
    LARGE_SWAPIN,
    MAX_DEVICES,
    MAX_SEED,
    MEM_LIMIT,
    RAM,
    SWAPIN_BYTES,
    SWAPIN_KEY,
    ZRAM,
    natural,
    number,
    parse_size,
    refusal,
    shown_size,
    zram_bytes,
)
from .warnings import found_warnings

MAX_CLASSES = 32
MAX_SHARE = 1_000_000
MAX_PATH_LENGTH = 4096
MAX_RECLAIMED_PAGES = 4096
"""Pages of one call of reclaim."""
MAX_KINDS = 3
"""Content classes of one app class."""
ONE_ENTRY = "one entry a size"
LEAST_FREE_PAGES = 64
"""A fault may need this many pages at once (readahead), and the pool some more."""
FULL_SIZE_MINUTES = 5
"""An app has its full size after so long (Ariadne, table 1)."""
SESSION_PERMILLE = (155, 268, 364, 460, 560, 669, 789, 925, 1082, 1268, 1495, 1784, 2174, 2746, 3736, 6441)
"""Sixteen equally likely sessions over their median: the middles of the sixteenths of a log-normal, sigma 1."""


_Class = TypeVar("_Class")


def _percent(default: Any, text: str) -> Any:
    return number(default, 0, 100, f"{text}, %")


def _choice(default: Any, text: str) -> Any:
    return Field(default, description=text)


def _text(default: Any, most: int, text: str) -> Any:
    return Field(default, min_length=1, max_length=most, description=text)


def _one_entry_a_size(value: object) -> object:
    """Refuse a table that names one size twice, as "64K" and "65536"."""
    if isinstance(value, Mapping):
        seen = set()
        for key in value:
            try:
                size = parse_size(key)
            except ValueError:
                continue  # The key's own check refuses it.
            if size in seen:
                raise refusal(f"{ONE_ENTRY}, {shown_size(size)} has two")
            seen.add(size)
    return value


def _by_size(value: dict[int, str]) -> dict[int, str]:
    return dict(sorted(value.items()))


def _by_name(value: dict[str, _Class]) -> dict[str, _Class]:
    return {name: value[name] for name in sorted(value, key=natural)}


def _mix(value: dict[str, int]) -> dict[str, int]:
    """A mix without what has no weight, in one order: equal mixes must give equal devices."""
    weighted = {name: weight for name, weight in sorted(value.items()) if weight}
    if not 1 <= len(weighted) <= MAX_KINDS:
        raise refusal(f"1 to {MAX_KINDS} content classes with a weight above 0")
    return weighted


def _no_truth(value: object) -> object:
    """Refuse true, which a choice of numbers takes for 1."""
    if isinstance(value, bool):
        raise refusal(", ".join(map(str, get_args(Scale))))
    return value


Scale = Literal[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
Setting = Literal["always", "madvise", "inherit", "never"]
Switch = Literal["on", "off"]
FolioSettings = Annotated[
    dict[Annotated[int, FOLIO_KEY], Setting], BeforeValidator(_one_entry_a_size), AfterValidator(_by_size)
]
SwapinSettings = Annotated[
    dict[Annotated[int, SWAPIN_KEY], Switch], BeforeValidator(_one_entry_a_size), AfterValidator(_by_size)
]
Mix = Annotated[dict[str, Annotated[int, Field(ge=0, le=1000)]], AfterValidator(_mix)]


class _Table(BaseModel):
    """One table of a scenario file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LargePool(_Table):
    """Frames kept for large folios of one size, like TAO's `nomerge`."""

    share_percent: int = number(0, 0, 90, "Part of RAM kept for folios of `size`, %; 0 is no pool")
    size: Annotated[int, FOLIO] = _choice(
        64 * KIB, "The one size of folios that get the pool's frames; no smaller or larger one does"
    )


class AppCompaction(_Table):
    """App compaction: Android pages out apps that left the screen (AOSP CachedAppOptimizer)."""

    enabled: bool = _choice(True, "Whether cached apps are paged out")
    min_rss_kib: int = number(12_000, 0, 1 << 24, "Resident memory an app must have, KiB")
    min_delta_kib: int = number(8_000, 0, 1 << 24, "Change of it since its last compaction, KiB")
    min_free_swap_percent: int = _percent(20, "Free swap below which anonymous memory is left alone")
    throttle_minutes: int = number(10, 0, DAY_MINUTES, "Least time between two compactions of an app, minutes")


class Reclaim(_Table):
    """When the kernel reclaims, and how much at a time."""

    watermark_scale_permyriad: int = number(
        10, 1, 1000, "vm.watermark_scale_factor: distance from min to low and from low to high, 1/10000 of RAM"
    )
    min_free_kib: int = number(27_386, 0, 4 << 20, "vm.min_free_kbytes of the real device, divided by page_scale")
    kswapd_pages_per_fault: int = number(
        32, 1, MAX_RECLAIMED_PAGES, "Pages kswapd reclaims while a process takes one fault"
    )
    direct_pages: int = number(32, 1, MAX_RECLAIMED_PAGES, "Pages a direct reclaim asks for (SWAP_CLUSTER_MAX)")


class Lmkd(_Table):
    """Android's killer of apps."""

    enabled: bool = _choice(True, "Whether apps are killed")
    swap_free_low_percent: int = _percent(10, "Free swap below which cached apps are killed")
    thrashing_limit_percent: int = number(100, 0, 10_000, "Refaults, in % of resident pages, that kill an app")
    thrashing_decay_percent: int = _percent(10, "How much a kill lowers that limit for the next")


class Policy(_Table):
    """What is chosen for all devices: what a comparison compares."""

    kernel: Literal["6.12", "v7"] = _choice("6.12", "Rules of the kernel, or of the patch's posting (spec 07)")
    large_swapin: Annotated[str, LARGE_SWAPIN] = _choice("on", "Large swap-in: off, on, or up to a folio size")
    swapin_sizes: SwapinSettings = _choice({}, "Large swap-in by folio size, instead of `large_swapin`")
    zeromap: Literal["on", "off", "v7"] = _choice(
        "on", "Zero-filled pages are marked, not stored; v7: large swap-in does not look at the marks (spec 07)"
    )
    thp: Literal["always", "madvise", "never"] = _choice("madvise", "transparent_hugepage/enabled, which sizes inherit")
    mthp: FolioSettings = _choice({}, "Setting of each folio size; never for those not named")
    defrag: Literal["always", "defer", "defer+madvise", "madvise", "never"] = _choice(
        "madvise", "transparent_hugepage/defrag: effort for a large folio (spec 06 §6.4)"
    )
    margin_rule: bool = _choice(
        False, "Large swap-in only if free pages above the high watermark are at least 64, and the folio's"
    )
    block_rewrite: bool = _choice(False, "zram stores blocks again that have become sparse")
    block_fallback: bool = _choice(
        False, "When no large folio can be had, a fault on a stored block brings all of its pages, as small ones"
    )
    pool: Literal["packed", "exact"] = _choice("packed", "How zsmalloc's memory is counted: full zspages, or each one")
    large_pool: LargePool = _choice(LargePool(), "Frames reserved for large folios of one size")
    compaction: AppCompaction = _choice(AppCompaction(), "App compaction")
    reclaim: Reclaim = _choice(Reclaim(), "Reclaim")
    lmkd: Lmkd = _choice(Lmkd(), "Low-memory killer")

    @property
    def swapin_bytes(self) -> tuple[int, ...]:
        """Folio sizes that swap-in may bring as a whole, as far as `mthp` enables them."""
        most = {"off": 0, "on": SWAPIN_BYTES[-1]}.get(self.large_swapin)
        most = parse_size(self.large_swapin) if most is None else most
        return tuple(s for s in SWAPIN_BYTES if self.swapin_sizes.get(s, "on" if s <= most else "off") == "on")


class DeviceClass(_Table):
    """Devices of one model."""

    share: int = number(..., 1, MAX_SHARE, "Devices of this class, relative to the other classes")
    ram: Annotated[int, RAM] = _choice(..., "Memory of the device")
    zram: Annotated[str, ZRAM] = _choice(..., 'Size of zram: "4G", or "50p" of RAM')
    codec: Literal["lz4", "lzo-rle", "zstd"] = _choice("lz4", "Compression algorithm of zram")
    block: Annotated[int, BLOCK] = _choice(PAGE_BYTES, "zram compresses blocks of this size where folios cover them")
    cpus: int = number(
        8, 1, 64, "CPUs; each has slot caches of real size, also in a miniature: give few if page_scale is above 1"
    )
    page_cluster: int = number(0, 0, 5, "vm.page-cluster: swap readahead of 2^N pages")
    mem_limit: Annotated[int, MEM_LIMIT] = _choice(0, "Most memory zram may use; 0 is no limit")
    cost: str = _text("patch-phone", MAX_PATH_LENGTH, "Cost profile: patch-phone, x86-server, or a .toml file")
    unavailable_percent: int = number(35, 0, 90, "RAM that neither apps nor zram get: kernel, firmware, page cache, %")
    installed_apps: int = number(30, 1, 200, "Apps in use on a device, drawn from the app classes")
    cached_apps: int = number(16, 1, 40, "Most apps kept in the background")
    mthp: FolioSettings = _choice({}, "Setting of folio sizes; one not named has that of policy.mthp")

    @property
    def zram_bytes(self) -> int:
        """Size of zram, bytes of the real device."""
        return zram_bytes(self.zram, self.ram)

    @property
    def available_bytes(self) -> int:
        """RAM for apps and zram, bytes of the real device."""
        return self.ram * (100 - self.unavailable_percent) // 100


class AppClass(_Table):
    """Apps of one kind."""

    share: int = number(..., 1, MAX_SHARE, "Apps of this class, relative to the other classes")
    anon_10s_mib: int = number(..., 1, 65_536, "Anonymous memory 10 s after launch, MiB")
    anon_5min_mib: int = number(..., 1, 65_536, "Anonymous memory 5 min after launch, MiB")
    spread_percent: int = number(25, 0, 90, "How much apps of the class differ in it, up or down, %")
    content: Mix = Field(..., description=f"What memory holds: weights of 1 to {MAX_KINDS} content classes")
    hot_percent: int = _percent(30, "Pages of the app that a relaunch touches")
    similarity_percent: int = _percent(70, "Hot pages that the next relaunch touches again")
    reuse_percent: int = _percent(98, "Hot pages of a relaunch that are used again while the app runs")
    locality_percent: int = _percent(75, "Probability that the next zram sector touched is the next one")
    write_percent: int = _percent(30, "Touches that write")
    growth_percent_per_session: int = _percent(5, "Growth of the heap in a session")
    gc_percent_per_session: int = _percent(5, "Part of the heap that garbage collection discards in a session")
    madvise_hugepage: bool = _choice(False, "Whether the app asks for huge pages (MADV_HUGEPAGE)")


class Behaviour(_Table):
    """What people do."""

    switches_per_day: int = number(120, 1, 5_000, "Switches to another app")
    switches_spread_percent: int = _percent(50, "How much users differ in that: sigma of a log-normal")
    session_minutes: int = number(3, 1, 600, "Median time in an app, minutes")
    popularity_permille: int = number(1000, 0, 5_000, "Zipf exponent of the apps of a device, 1/1000")
    background_touch_percent: int = _percent(2, "Pages of an app that it touches in the background, each time")
    background_apps_per_switch: int = number(2, 0, 40, "Cached apps that run in the background between two switches")
    relaunch_of_recent_percent: int = _percent(60, "Probability that the next app is one of the most recent")

    @property
    def longest_session_minutes(self) -> int:
        """A longer median changes nothing: every session lets an app grow to its full size."""
        return -(-FULL_SIZE_MINUTES * 1000 // SESSION_PERMILLE[0])

    @property
    def activity_q16(self) -> list[int]:
        """Switches of sixteen equally frequent users over their mean, in 2^-16: a log-normal's middles."""
        sixteenths = range(1, 32, 2)
        weights = [math.exp(NormalDist().inv_cdf(i / 32) * self.switches_spread_percent / 100) for i in sixteenths]
        return [round(weight * 16 * 65_536 / math.fsum(weights)) for weight in weights]


class SystemMemory(_Table):
    """Zygote and the processes that are never killed."""

    zygote_mib: int = number(48, 1, 1_024, "Anonymous memory that apps share with zygote, MiB")
    zygote_cow_percent: int = _percent(20, "Part of it that an app writes to")
    processes: int = number(6, 1, 20, "System processes, standing for the real 150 to 250")
    process_mib: int = number(80, 1, 1_024, "Anonymous memory of each, MiB")
    content: Mix = Field(
        default={"java_tool": 40, "native_db": 30, "native_compiler": 30},
        description=f"What it holds: weights of 1 to {MAX_KINDS} content classes",
    )
    hot_percent_per_switch: int = _percent(5, "Pages of a system process that a switch of apps touches")
    locality_percent: int = _percent(75, "Probability that the next zram sector touched is the next one")
    write_percent: int = _percent(30, "Touches that write")


def min_free_pages(min_free_kib: int, page_scale: int) -> int:
    """The lowest watermark of a miniature: what is asked of the real device, but no less than it needs."""
    return max(min_free_kib * KIB // (PAGE_BYTES * page_scale), LEAST_FREE_PAGES)


class FleetScenario(_Table):
    """A fleet, what its people do, and the policy of its devices.

    `file.load_fleet_scenario` makes one; all values are stored in canonical form: sizes in bytes, zram as
    "50p" or "4G", classes in order of their names, content classes without those of weight 0.
    """

    name: str = _text(..., 255, "The built-in's name, or the file's without .toml")
    title: str = _text(..., 120, "One line for reports")
    description: str = _text(..., 4_000, "What this fleet is, and what of it is assumed")
    devices: int = number(10_000, 1, MAX_DEVICES, "Devices of the fleet")
    seed: int = number(0, 0, MAX_SEED, "Seed of all random numbers")
    days: int = number(1, 1, 365, "Simulated days")
    steps_per_day: int = number(24, 1, DAY_MINUTES, "Entries of the time series in a day")
    page_scale: Annotated[Scale, BeforeValidator(_no_truth)] = _choice(
        64, "Real pages that one simulated page stands for: RAM, zram and apps are divided by it, folios are not"
    )
    content_library: str = _text("measured", MAX_PATH_LENGTH, "Content library: measured, or a .npz file")
    policy: Policy = _choice(Policy(), "Policy of the devices")
    behaviour: Behaviour = _choice(Behaviour(), "What people do")
    device_class: Annotated[dict[Annotated[str, CLASS_NAME], DeviceClass], AfterValidator(_by_name)] = Field(
        ..., min_length=1, max_length=MAX_CLASSES, description="Device classes"
    )
    app_class: Annotated[dict[Annotated[str, CLASS_NAME], AppClass], AfterValidator(_by_name)] = Field(
        ..., min_length=1, max_length=MAX_CLASSES, description="App classes"
    )
    system: SystemMemory = _choice(SystemMemory(), "Memory of the system")

    def resolved(self) -> dict[str, Any]:
        """Every key, defaults included, sizes in canonical form; of files what is in them, not where they are."""
        table: dict[str, Any] = self.model_dump(mode="json")
        table["content_library"] = file_or_name(self.content_library)
        for device in table["device_class"].values():
            device["cost"] = file_or_name(device["cost"])
        return {"scenario": table.pop("name"), **table}

    def digest(self) -> str:
        """Hash of the resolved scenario; its name is left out: a copy of a file has the digest of the file."""
        table = self.resolved()
        del table["scenario"]
        return digest_of(table)

    def mthp_of(self, device_class: str) -> dict[int, str]:
        """Settings of folio sizes on devices of a class, by bytes: the class's over the policy's."""
        return dict(sorted({**self.policy.mthp, **self.device_class[device_class].mthp}.items()))

    def frames_of(self, device_class: str) -> int:
        """Page frames of the miniature of a device, all of its RAM."""
        return self.device_class[device_class].ram // (PAGE_BYTES * self.page_scale)

    def slots_of(self, device_class: str) -> int:
        """Swap slots of the miniature of a device."""
        return self.device_class[device_class].zram_bytes // (PAGE_BYTES * self.page_scale)

    def available_frames_of(self, device_class: str) -> int:
        """Page frames of the miniature that apps and zram get."""
        return self.device_class[device_class].available_bytes // (PAGE_BYTES * self.page_scale)

    def pool_frames_of(self, device_class: str) -> int:
        """Page frames of the miniature that only folios of one size get; they begin where such a folio may begin."""
        pool, frames = self.policy.large_pool, self.available_frames_of(device_class)
        wanted = self.device_class[device_class].ram * pool.share_percent // 100 // (PAGE_BYTES * self.page_scale)
        folio = pool.size // PAGE_BYTES
        return frames - max(frames - wanted, 0) // folio * folio if wanted else 0

    def managed_frames_of(self, device_class: str) -> int:
        """Page frames of the miniature that all may get, those watermarks are about."""
        return self.available_frames_of(device_class) - self.pool_frames_of(device_class)

    @property
    def min_free_pages(self) -> int:
        """The lowest watermark of a miniature."""
        return min_free_pages(self.policy.reclaim.min_free_kib, self.page_scale)

    @property
    def warnings(self) -> list[str]:
        """What can be simulated but is hardly meant; one line each."""
        return found_warnings(self)
