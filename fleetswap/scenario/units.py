"""Values in scenario files: how sizes, shares of RAM and names are written, stored and shown."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic_core import PydanticCustomError, core_schema

from fleetswap_kernels.layout.pages import PAGE_BYTES, SIZES_KIB

from ..errors import InputError
from .device_limits import MAX_LIMIT_BYTES

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

Key = tuple[str, ...]
"""Names of the tables around a key, and its own."""
KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
FOLIO_BYTES = tuple(kb * KIB for kb in SIZES_KIB)
"""Folio sizes of anonymous memory, 16K to 2M."""
SWAPIN_BYTES = FOLIO_BYTES[:-1]
"""Folio sizes that swap-in can bring as a whole: never the 2 MiB of a page table (spec 05 §5.3)."""
BLOCK_BYTES = tuple(PAGE_BYTES << order for order in range(10))
"""Blocks that zram compresses as one."""
MAX_ZRAM_PERCENT = 200
DAY_MINUTES = 24 * 60
MAX_SEED = (1 << 63) - 1
MAX_DEVICES = 10_000_000
"""Of a fleet."""
_UNITS = "KMGT"
_SIZE = re.compile(r"([0-9][0-9A-FX]*)([KMGT]?)", re.ASCII | re.IGNORECASE)
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_PERCENT = re.compile(r"([1-9][0-9]{0,2})[p%]", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)


def read_decimal(digits: str) -> int | None:
    """Value of a decimal number as TOML writes it; None for any other text."""
    return int(digits) if _DECIMAL.fullmatch(digits) else None


def parse_size(value: object, read_digits: Callable[[str], int | None] = read_decimal) -> int:
    """Bytes of a size: 65536, "64K", "8G".

    Parameters
    ----------
    value : object
        A number of bytes, or a text of digits with an optional unit K, M, G or T.
    read_digits : function of str
        Value of the digits, or None; scripts have C's numbers, files TOML's.

    Raises
    ------
    ValueError
        If it is no size.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    number = read_digits(match[1]) if match else None
    if match is None or number is None:
        raise ValueError(f"{shown_value(value)} is no size")
    return number << 10 * (_UNITS.find(match[2].upper()) + 1 if match[2] else 0)


def shown_size(size: int) -> str:
    """A size in the largest unit that divides it, its canonical form."""
    unit = 0
    while size and size % 1024 == 0 and unit < len(_UNITS):
        size //= 1024
        unit += 1
    return f"{size}{('', *_UNITS)[unit]}"


def natural(name: str) -> list[tuple[int, str]]:
    """Key that sorts names as people do: phone-2g before phone-12g."""
    parts = re.split(r"([0-9]+)", name, flags=re.ASCII)
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)]


def refusal(allowed: str) -> PydanticCustomError:
    """The error of a value, which says what is allowed instead."""
    return PydanticCustomError("allowed", "allowed are {allowed}", {"allowed": allowed})


@dataclass(frozen=True)
class Rule:
    """The rule of one kind of value, in the metadata of its type.

    Parameters
    ----------
    read : callable
        Gives what is stored of a value of a file; ValueError if it cannot be.
    allowed : str
        What it may be, as errors say it: "sizes 64M to 256G".
    schema : mapping
        The same as JSON schema.
    show : callable
        Gives the canonical form of what is stored.
    """

    read: Callable[[object], Any]
    allowed: str
    schema: Mapping[str, Any]
    show: Callable[[Any], str]

    def _validate(self, value: object) -> Any:
        try:
            return self.read(value)
        except ValueError:
            raise refusal(self.allowed) from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """The schema by which pydantic reads and writes such a value."""
        return core_schema.no_info_plain_validator_function(
            self._validate, serialization=core_schema.plain_serializer_function_ser_schema(self.show)
        )

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The JSON schema of such a value."""
        return {**self.schema, "x-allowed": self.allowed}


def number(default: Any, least: int, most: int, text: str) -> Any:
    """A field for a whole number.

    Parameters
    ----------
    default : int, or `...` for one that must be given
    least, most : int
    text : str
        Its meaning and unit.
    """
    return Field(default, ge=least, le=most, description=text)


_SIZE_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+[KMGTkmgt]?$"}]}
_KEY_SCHEMA = {"type": "string", "pattern": "^[0-9]+[KMkm]?$"}


def size_rule(least: int, most: int, or_none: bool = False) -> Rule:
    """Sizes of whole pages between two bounds; 0 as well, if it stands for none."""

    def read(value: object) -> int:
        size = parse_size(value)
        if not (least <= size <= most and size % PAGE_BYTES == 0) and not (or_none and size == 0):
            raise ValueError(value)
        return size

    allowed = f"{'0 for none, or ' if or_none else ''}sizes {shown_size(least)} to {shown_size(most)}, in steps of 4K"
    return Rule(read, allowed, _SIZE_SCHEMA, shown_size)


def choice_rule(sizes: tuple[int, ...], schema: Mapping[str, Any] = _SIZE_SCHEMA) -> Rule:
    """One of some sizes; as keys of a table they have another schema."""

    def read(value: object) -> int:
        size = parse_size(value)
        if size not in sizes:
            raise ValueError(value)
        return size

    return Rule(read, ", ".join(map(shown_size, sizes)), schema, shown_size)


def listed_rule(values: tuple[int, ...] | tuple[str, ...]) -> Rule:
    """One of some numbers or names."""

    def read(value: object) -> object:
        if type(value) is not type(values[0]) or value not in values:
            raise ValueError(value)
        return value

    return Rule(read, ", ".join(map(str, values)), {"enum": list(values)}, str)


def _read_zram(value: object) -> str:
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return shown_size(ZRAM_SIZE.read(value))
    if int(match[1]) > MAX_ZRAM_PERCENT:
        raise ValueError(value)
    return f"{match[1]}p"


def _read_swapin(value: object) -> str:
    return str(value) if value in ("off", "on") else shown_size(_SWAPIN_SIZE.read(value))


def _read_name(value: object) -> str:
    if not (isinstance(value, str) and _NAME.fullmatch(value)):
        raise ValueError(value)
    return value


ZRAM_SIZE = size_rule(MIB, 256 * GIB)
_SWAPIN_SIZE = choice_rule(SWAPIN_BYTES)
RAM = size_rule(64 * MIB, 256 * GIB)
BLOCK = choice_rule(BLOCK_BYTES)
FOLIO = choice_rule(FOLIO_BYTES)
MEM_LIMIT = size_rule(MIB, MAX_LIMIT_BYTES, or_none=True)
FOLIO_KEY = choice_rule(FOLIO_BYTES, _KEY_SCHEMA)
SWAPIN_KEY = choice_rule(SWAPIN_BYTES, _KEY_SCHEMA)
ZRAM = Rule(
    _read_zram,
    f"{ZRAM_SIZE.allowed}, or 1p to {MAX_ZRAM_PERCENT}p of RAM",
    {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+[KMGTkmgtp%]?$"}]},
    str,
)
LARGE_SWAPIN = Rule(
    _read_swapin,
    f"off, on, or up to one of {_SWAPIN_SIZE.allowed}",
    {"anyOf": [{"enum": ["off", "on"]}, *_SIZE_SCHEMA["anyOf"]]},
    str,
)
CLASS_NAME = Rule(
    _read_name,
    "1 to 32 of a-z, 0-9, _ and -, the first a letter or digit",
    {"type": "string", "pattern": f"^{_NAME.pattern}$"},
    str,
)


def zram_bytes(zram: str, ram: int) -> int:
    """Size of a zram device, rounded up to pages as zram does it.

    Parameters
    ----------
    zram : str
        In canonical form: "50p" of RAM, or "4G".
    ram : int
        Bytes.
    """
    size = ram * int(zram[:-1]) // 100 if zram.endswith("p") else parse_size(zram)
    return -(-size // PAGE_BYTES) * PAGE_BYTES


def not_possible(value: object, allowed: str) -> str:
    """The text of every error of a value."""
    return f"{shown_value(value)} is not possible; allowed {verb(allowed)}"


def verb(allowed: str) -> str:
    """A text of allowed values with its verb."""
    return f"{'is' if allowed.startswith(('a ', 'one ')) else 'are'} {allowed}"


def shown_value(value: object) -> str:
    """A value of a file, shortened."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, dict):
        return f"a table of {len(value)}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:40]}...{text[-10:]}"


def toml_value(value: Any) -> str:
    """A value as TOML writes it, on one line."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_toml_key(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    # JSON's texts are TOML's but for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def setting_word(value: Any) -> str:
    """A value as settings of the command line have it: a text as it is, anything else as TOML writes it."""
    return value if isinstance(value, str) else toml_value(value)


def _toml_key(key: object) -> str:
    if not isinstance(key, str):
        raise InputError(f"{key!r} is not possible as the key of a table; allowed are texts")
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


def near(name: str, known: tuple[str, ...]) -> str:
    """The known name that is meant, or all of them."""
    matches = difflib.get_close_matches(name, known, 1)
    return f"did you mean {matches[0]}?" if matches else f"known are {', '.join(known)}"
