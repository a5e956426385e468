"""Cost profiles: what events cost on a machine, in integer nanoseconds; read and checked."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from fleetswap_kernels.layout.codecs import CODECS
from fleetswap_kernels.layout.words import N_ORDERS

from ..errors import InputError
from .problems import validate_table
from .toml import read_toml
from .units import listed_rule, number

MAX_NS = 10**9
"""More than a second for one event is a mistake; and sums of what is allowed fit 64 bits."""
BUILT_IN = ("patch-phone", "x86-server")

Count = Annotated[int, Field(ge=0, le=MAX_NS)]
Times = Annotated[tuple[Count, ...], Field(min_length=N_ORDERS, max_length=N_ORDERS, strict=False)]
"""Nanoseconds of each order; not strict, since TOML has lists."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _cost(text: str) -> Any:
    return number(..., 0, MAX_NS, text)


class CodecCost(_Table):
    """The costs of one codec."""

    compress_ns: Times = Field(description="One block of each order, over an equal mix of contents")
    decompress_ns: Times = Field(description="The same")
    compress_permille: dict[str, Count] = Field({}, description="Contents of a class against the mix; else 1000")
    decompress_permille: dict[str, Count] = Field({}, description="The same")


class CostProfile(_Table):
    """The costs of events on one machine, ns."""

    name: str = Field(description="The machine")
    source: str = Field(description="Where the numbers come from")
    fault_ns: int = _cost("A page fault, whatever it brings")
    map_page_ns: int = _cost("A page that a fault maps: page table, reverse map, memcg, LRU")
    fill_page_ns: int = _cost("A page filled with zeros or another word")
    copy_page_ns: int = _cost("A page copied: copy on write, the read of a page stored raw")
    object_read_ns: int = _cost("An object found in zram, besides the codec's work")
    object_write_ns: int = _cost("A page or block handed to its codec, besides the codec's work")
    alloc_ns: Times = Field(description="A folio of each order")
    split_ns: int = _cost("A folio split")
    swapout_folio_ns: int = _cost("A folio that swap-out unmaps and gives slots, besides zram's work")
    swapout_page_ns: int = _cost("A page of such a folio")
    codecs: dict[Annotated[str, listed_rule(CODECS)], CodecCost] = Field(alias="codec", description="Costs by codec")


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
    path, table = _read_table(name)
    return validate_table(CostProfile, table, path, ("inherits",))


def _read_table(name: str) -> tuple[Path, dict[str, Any]]:
    """A profile's file, and its keys over those that it inherits."""
    path = Path(name)
    if name in BUILT_IN:
        path = Path(str(resources.files("fleetswap") / "data" / "cost" / f"{name}.toml"))
    elif path.suffix != ".toml":
        raise InputError(f"cost profile {name!r}: unknown; allowed are {', '.join(BUILT_IN)}, or a .toml file")
    table = read_toml(path)
    parent = table.pop("inherits", None)
    if parent is None:
        return path, {"codec": {}, **table}
    if parent not in BUILT_IN:
        raise InputError(f"{path}: inherits: unknown profile {parent!r}; allowed are {', '.join(BUILT_IN)}")
    _, inherited = _read_table(parent)
    codecs = table.get("codec", {})
    if isinstance(codecs, dict):
        merged = dict(inherited["codec"])
        for codec, costs in codecs.items():
            merged[codec] = {**merged.get(codec, {}), **costs} if isinstance(costs, dict) else costs
        codecs = merged
    return path, {**inherited, **table, "codec": codecs}
