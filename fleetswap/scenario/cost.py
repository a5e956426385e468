"""Cost profiles: what events cost on a machine, in integer nanoseconds; read and checked."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from fleetswap_kernels.device.figures.price import N_ORDERS
from fleetswap_kernels.layout.codecs import CODECS

from ..errors import InputError
from .toml import read_toml

MAX_NS = 10**9
"""More than a second for one event is a mistake; and sums of what is allowed fit 64 bits."""
BUILT_IN = ("patch-phone", "x86-server")


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
