"""Configuration of a simulated device: what the `cfg` lines of a script set."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleetswap_kernels.layout.codecs import CODECS
from fleetswap_kernels.layout.pages import PAGE_BYTES, SIZES_KIB

from ..scenario.device_limits import KERNELS, MAX_CPUS, MAX_LIMIT_BYTES, MAX_SLOTS, MIN_SLOTS
from .arguments import read_choice, read_number, read_size

SETTINGS = ("always", "madvise", "inherit", "never")
MAX_BLOCK_ORDER = 9
MAX_WORDS = 63

FORMS = {
    "cpus": "NUMBER",
    "thp": "SIZEKB=SETTING ...",
    "page_cluster": "NUMBER",
    "swapin": "large|small",
    "zram": "SIZE ALGORITHM [mem_limit=SIZE]",
    "kernel": "|".join(KERNELS),
    "swapcache_prepare": "on|off",
    "blocks": "ORDER [rewrite] [fallback]",
    "content": "seed=NUMBER|scaled ...",
    "pool": "exact|packed",
}
ZRAM_FORM = f"cfg zram {FORMS['zram']}"
WORDS = {"thp": (1, MAX_WORDS), "zram": (2, 3), "blocks": (1, 3), "content": (1, 2)}
"""Least and most words behind a key; one for those not named."""


@dataclass
class Config:
    """The `cfg` lines of a script."""

    cpus: int = 1
    thp: dict[int, str] = field(default_factory=dict)
    page_cluster: int = 3
    large_swapin: bool = True
    zram_bytes: int = 0
    algorithm: str = "lz4"
    mem_limit_bytes: int = 0
    kernel: str = "6.12"
    swapcache_prepare: bool = True
    block_order: int = 0
    block_rewrite: bool = False
    block_fallback: bool = False
    pool_packed: bool = False
    content_seed: int = 0
    content_scaled: bool = False


def read_thp(words: list[str]) -> dict[int, str]:
    """Settings of folio sizes, as `SIZEKB=SETTING` words; ValueError for a size or setting that does not exist."""
    sizes: dict[int, str] = {}
    for word in words:
        size, _, setting = word.partition("=")
        known = {str(kb): kb for kb in SIZES_KIB}
        if size not in known:
            raise ValueError(f"bad folio size {size!r} in {word!r}; allowed are {', '.join(known)} (KiB)")
        sizes[known[size]] = read_choice(setting, f"setting of {size} KiB folios", SETTINGS)
    return sizes


def set_option(config: Config, key: str, words: list[str]) -> None:
    """Set what one `cfg` line says; `words` are those behind its key, as many as `WORDS` allows.

    Raises
    ------
    ValueError
        If a value cannot be; the message names it and what is allowed.
    """
    value = words[0]
    if key == "cpus":
        config.cpus = read_number(value, "number of CPUs", 1, MAX_CPUS)
    elif key == "thp":
        config.thp = read_thp(words)
    elif key == "page_cluster":
        config.page_cluster = read_number(value, "page_cluster", 0, 31)
    elif key == "swapin":
        config.large_swapin = read_choice(value, "swapin", ("large", "small")) == "large"
    elif key == "kernel":
        config.kernel = read_choice(value, "kernel", KERNELS)
    elif key == "swapcache_prepare":
        config.swapcache_prepare = read_choice(value, "swapcache_prepare", ("on", "off")) == "on"
    elif key == "blocks":
        config.block_order = read_number(value, "block order", 0, MAX_BLOCK_ORDER)
        for word in words[1:]:
            read_choice(word, "option of blocks", ("rewrite", "fallback"))
        config.block_rewrite = "rewrite" in words[1:]
        config.block_fallback = "fallback" in words[1:]
    elif key == "pool":
        config.pool_packed = read_choice(value, "pool", ("exact", "packed")) == "packed"
    elif key == "content":
        for word in words:
            name, _, number = word.partition("=")
            if read_choice(name, "option of content", ("seed", "scaled")) == "seed":
                config.content_seed = read_number(number, "seed")
            elif word == "scaled":
                config.content_scaled = True
            else:
                raise ValueError(f"bad option {word!r}; `scaled` takes no value")
    else:
        _set_zram(config, value, words[1:])


def _set_zram(config: Config, size: str, values: list[str]) -> None:
    config.zram_bytes = read_size(size, "zram size", MIN_SLOTS * PAGE_BYTES, MAX_SLOTS * PAGE_BYTES)
    # As zram does: PAGE_ALIGN(disksize).
    config.zram_bytes = -(-config.zram_bytes // PAGE_BYTES) * PAGE_BYTES
    limits = [value.removeprefix("mem_limit=") for value in values if value.startswith("mem_limit=")]
    names = [value for value in values if not value.startswith("mem_limit=")]
    if len(names) != 1:
        raise ValueError(f"expected `{ZRAM_FORM}`, got {len(names)} algorithms")
    config.algorithm = read_choice(names[0], "compression algorithm", CODECS)
    if limits:
        config.mem_limit_bytes = read_size(limits[0], "mem_limit", 0, MAX_LIMIT_BYTES)
