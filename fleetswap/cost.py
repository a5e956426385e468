"""Cost profiles: what events cost on a machine, in integer nanoseconds, and the price of a device's counters.

The device counts events; a profile prices them afterwards. Both are integers, so a fleet is simulated once and priced
for any number of machines, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetswap_kernels import counters
from fleetswap_kernels.content_model import CODECS
from fleetswap_kernels.launch_cpu import price_rows
from fleetswap_kernels.price import (
    CAUSES,
    DECOMPRESSED_BYTES,
    N_ORDERS,
    NS_REWRITE,
    PAID_WORDS,
    PERMILLE,
    PRICES,
    STALL_END,
    SWAPOUT_END,
)  # fmt: skip

from .errors import InputError
from .toml_file import read_toml

MAX_NS = 10**9
"""More than a second for one event is a mistake; and sums of what is allowed fit 64 bits."""
BUILT_IN = ("patch-phone", "x86-server")

Events = npt.NDArray[np.int64]
"""Counters of devices, shape (..., counters.N_COUNTERS)."""


@dataclass(frozen=True)
class CodecCost:
    """One codec.

    Parameters
    ----------
    compress_ns, decompress_ns : tuple of 10 int
        One block of each order 0 to 9, over an equal mix of contents.
    compress_permille, decompress_permille : dict of str to int
        Contents of a class against the mix; 1000 for those not named.
    """

    compress_ns: tuple[int, ...]
    decompress_ns: tuple[int, ...]
    compress_permille: dict[str, int] = field(default_factory=dict)
    decompress_permille: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CostProfile:
    """What events cost on one machine, ns.

    Parameters
    ----------
    name, source : str
        Which machine, and where the numbers come from.
    fault_ns : int
        A page fault, whatever it brings.
    map_page_ns : int
        A page that a fault maps: page table, reverse map, memcg, LRU.
    fill_page_ns, copy_page_ns : int
        A page filled with zeros or another word; a page copied (copy on write, the read of a page stored raw).
    object_read_ns, object_write_ns : int
        An object found in zram; a page or block handed to its codec; besides the codec's work.
    alloc_ns : tuple of 10 int
        A folio of each order.
    split_ns : int
        A folio split.
    swapout_folio_ns, swapout_page_ns : int
        A folio, and a page, that swap-out unmaps and gives a slot, besides zram's work.
    codecs : dict of str to CodecCost
    """

    name: str
    source: str
    fault_ns: int
    map_page_ns: int
    fill_page_ns: int
    copy_page_ns: int
    object_read_ns: int
    object_write_ns: int
    alloc_ns: tuple[int, ...]
    split_ns: int
    swapout_folio_ns: int
    swapout_page_ns: int
    codecs: dict[str, CodecCost]


@dataclass(frozen=True)
class Price:
    """What a device's events cost, int64 arrays with one entry a device.

    Parameters
    ----------
    stall_ns : int64 array
        Time that faulting processes wait for their pages.
    swapout_ns : int64 array
        CPU time of swap-out: whoever reclaims pays it. Pages of sparse blocks that are stored again count here.
    background_ns : int64 array
        CPU time of nobody's request: sparse blocks decompressed to be rewritten.
    decompressed_bytes : int64 array
        What the codec put out for faults.
    parts : dict of str to int64 array
        The same time by cause, ns.
    """

    stall_ns: Events
    swapout_ns: Events
    background_ns: Events
    decompressed_bytes: Events
    parts: dict[str, Events]

    @property
    def cpu_ns(self) -> Events:
        """All CPU time; a process that waits for a synchronous swap-in does the work itself."""
        return self.stall_ns + self.swapout_ns + self.background_ns


def price_list(profile: CostProfile, codec: str, block_order: int, classes: tuple[str, ...] = ()) -> Events:
    """What events cost a device, as the kernels read it.

    Parameters
    ----------
    profile : CostProfile
    codec : str
        Of the device's zram.
    block_order : int
        Of the device's zram.
    classes : tuple of str
        Names of the content classes, in the order of the library.

    Returns
    -------
    int64 array of shape (price.PRICE_WORDS,)

    Raises
    ------
    InputError
        If the profile does not know the codec.
    """
    if codec not in profile.codecs:
        known = ", ".join(profile.codecs)
        raise InputError(f"cost profile {profile.name}: has no times of codec {codec!r}; it has {known}")
    cost = profile.codecs[codec]
    each = {
        "fault": profile.fault_ns,
        "map_page": profile.map_page_ns,
        "fill_page": profile.fill_page_ns,
        "copy_page": profile.copy_page_ns,
        "object_read": profile.object_read_ns,
        "object_write": profile.object_write_ns,
        "split": profile.split_ns,
        "swapout_folio": profile.swapout_folio_ns,
        "swapout_page": profile.swapout_page_ns,
        "rewrite_block": cost.decompress_ns[block_order] + profile.object_read_ns,
        "block_order": block_order,
        "compress_page": cost.compress_ns[0],
        "decompress_page": cost.decompress_ns[0],
        "compress_block": cost.compress_ns[block_order],
        "decompress_block": cost.decompress_ns[block_order],
    }
    names = (*classes, *[""] * (counters.N_CLASSES - len(classes)))
    shares = [
        table.get(name, PERMILLE) for table in (cost.compress_permille, cost.decompress_permille) for name in names
    ]
    return np.array([*(each[word] for word in PRICES), *profile.alloc_ns, *shares], dtype=np.int64)


def price(events: Events, profile: CostProfile, codec: str, block_order: int, classes: tuple[str, ...] = ()) -> Price:
    """Price the counters of devices.

    Parameters
    ----------
    events : int64 array of shape (..., counters.N_COUNTERS)
        Counters, or what a step changed in them.
    profile : CostProfile
    codec : str
        Of the devices' zram.
    block_order : int
        Of the devices' zram.
    classes : tuple of str
        Names of the content classes, in the order of the library.

    Raises
    ------
    InputError
        If the profile does not know the codec.
    """
    prices = price_list(profile, codec, block_order, classes)
    shape = events.shape[:-1]
    paid = np.zeros((*shape, PAID_WORDS), dtype=np.int64)
    price_rows(np.ascontiguousarray(events, dtype=np.int64).reshape(-1), prices, paid.reshape(-1))
    return Price(
        stall_ns=paid[..., :STALL_END].sum(-1),
        swapout_ns=paid[..., STALL_END:SWAPOUT_END].sum(-1),
        background_ns=paid[..., NS_REWRITE],
        decompressed_bytes=paid[..., DECOMPRESSED_BYTES],
        parts={cause: paid[..., i] for i, cause in enumerate(CAUSES)},
    )


def load_profile(name: str) -> CostProfile:
    """Read a cost profile.

    Parameters
    ----------
    name : str
        A built-in profile (`BUILT_IN`), or the path of a TOML file, whose key ``inherits`` names a profile that has
        what the file leaves out.

    Raises
    ------
    InputError
        If there is no such profile, or it has a key or value that cannot be.
    """
    path = Path(name)
    if name in BUILT_IN:
        path = Path(str(resources.files("fleetswap") / "data" / "cost" / f"{name}.toml"))
    elif path.suffix != ".toml":
        raise InputError(f"cost profile {name!r}: unknown; allowed are {', '.join(BUILT_IN)}, or a .toml file")
    table = read_toml(path)
    parent = table.pop("inherits", None)
    if parent is not None and parent not in BUILT_IN:
        raise InputError(f"{path}: inherits: unknown profile {parent!r}; allowed are {', '.join(BUILT_IN)}")
    base = load_profile(parent) if parent else None
    return _profile(path, table, base)


def _profile(path: Path, table: dict[str, Any], base: CostProfile | None) -> CostProfile:
    known = {f.name: f.type for f in fields(CostProfile) if f.name != "codecs"}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key == "codec":
            continue
        if key not in known:
            raise InputError(f"{path}: unknown key {key!r}; known are {', '.join([*known, 'codec', 'inherits'])}")
        values[key] = _value(path, key, value, known[key])
    for key in known:
        if key not in values:
            if base is None:
                raise InputError(f"{path}: {key}: is missing; give it, or name a profile with inherits")
            values[key] = getattr(base, key)
    codecs = dict(base.codecs) if base else {}
    given = table.get("codec", {})
    if not isinstance(given, dict):
        raise InputError(f"{path}: codec: cannot be {given!r}; expected tables codec.NAME")
    for name, codec in given.items():
        if name not in CODECS:
            raise InputError(f"{path}: codec.{name}: unknown codec; allowed are {', '.join(CODECS)}")
        codecs[name] = _codec(path, f"codec.{name}", codec, codecs.get(name))
    return CostProfile(**values, codecs=codecs)


def _codec(path: Path, where: str, table: Any, base: CodecCost | None) -> CodecCost:
    if not isinstance(table, dict):
        raise InputError(f"{path}: {where}: cannot be {table!r}; expected a table")
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in ("compress_ns", "decompress_ns"):
            values[key] = _value(path, f"{where}.{key}", value, "tuple[int, ...]")
        elif key in ("compress_permille", "decompress_permille"):
            if not isinstance(value, dict) or not all(_is_count(v) for v in value.values()):
                raise InputError(f"{path}: {where}.{key}: cannot be {value!r}; expected CLASS = permille")
            values[key] = value
        else:
            allowed = "compress_ns, decompress_ns, compress_permille, decompress_permille"
            raise InputError(f"{path}: {where}: unknown key {key!r}; known are {allowed}")
    for key in ("compress_ns", "decompress_ns"):
        if key not in values and base is None:
            raise InputError(
                f"{path}: {where}.{key}: is missing; give {N_ORDERS} numbers, or name a profile with inherits"
            )
    return replace(base, **values) if base else CodecCost(**values)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NS


def _value(path: Path, key: str, value: Any, kind: Any) -> Any:
    if kind == "str":
        good = isinstance(value, str)
        allowed = "a text"
    elif kind == "int":
        good = _is_count(value)
        allowed = f"nanoseconds, 0 to {MAX_NS}"
    else:
        good = isinstance(value, list) and len(value) == N_ORDERS and all(map(_is_count, value))
        allowed = f"{N_ORDERS} numbers of nanoseconds, one an order"
        value = tuple(value) if good else value
    if not good:
        raise InputError(f"{path}: {key}: cannot be {value!r}; expected {allowed}")
    return value
