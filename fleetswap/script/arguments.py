"""Arguments of a script's lines: numbers, sizes and choices, read as the replayer reads them."""

from __future__ import annotations

import re

from .patterns import c_number

_UNITS = "KMGT"


def read_number(word: str, what: str, least: int = 0, most: int = (1 << 32) - 1) -> int:
    """Value of a number as C's ``strtoul`` with base 0 reads it: 17, 0x11, 021.

    Raises
    ------
    ValueError
        If it is none, is signed, or lies outside `least` to `most`.
    """
    value = None if word[:1] in "+-" else c_number(word)
    if value is None:
        raise ValueError(f"bad {what} {word!r}; expected a number from {least} to {most}")
    if not least <= value <= most:
        raise ValueError(f"{what} {word} is out of range; allowed are {least} to {most}")
    return value


def read_size(word: str, what: str, least: int, most: int) -> int:
    """Bytes of a size such as ``64M`` or ``1600K``, as the kernel's ``memparse`` reads it.

    Raises
    ------
    ValueError
        If it is not a number with an optional suffix K, M, G or T, or lies outside `least` to `most`.
    """
    match = re.fullmatch(r"([0-9][0-9a-fA-FxX]*)([kKmMgGtT]?)", word)
    value = c_number(match[1]) if match else None
    if match is None or value is None:
        raise ValueError(f"bad {what} {word!r}; expected a number with an optional K, M, G or T, such as 64M")
    value <<= 10 * (_UNITS.find(match[2].upper()) + 1 if match[2] else 0)
    if not least <= value <= most:
        raise ValueError(f"{what} {word!r} cannot be; allowed are {_shown(least)} to {_shown(most)}")
    return value


def read_choice(word: str, what: str, allowed: tuple[str, ...]) -> str:
    """The word itself, if it is one of the allowed ones.

    Raises
    ------
    ValueError
    """
    if word not in allowed:
        raise ValueError(f"bad {what} {word!r}; allowed are {', '.join(allowed)}")
    return word


def _shown(size: int) -> str:
    """A size in the largest unit that divides it."""
    unit = 0
    while size and size % 1024 == 0 and unit < len(_UNITS):
        size //= 1024
        unit += 1
    return f"{size}{('', *_UNITS)[unit]}"
