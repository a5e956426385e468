"""Arguments of a script's lines: numbers, sizes and choices, read as the replayer reads them."""

from __future__ import annotations

from ..scenario.units import parse_size, shown_size
from .patterns import c_number


def read_number(word: str, what: str, least: int = 0, most: int = (1 << 32) - 1) -> int:
    """Value of a number as C's ``strtoul`` with base 0 reads it: 17, 0x11, 021.

    Parameters
    ----------
    word : str
        As it stands in the script.
    what : str
        What the number is, for errors.
    least, most : int
        Smallest and largest number that is allowed.

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

    Parameters
    ----------
    word : str
        As it stands in the script.
    what : str
        What has the size, for errors.
    least, most : int
        Smallest and largest size that is allowed, bytes.

    Raises
    ------
    ValueError
        If it is not a number with an optional suffix K, M, G or T, or lies outside `least` to `most`.
    """
    try:
        value = parse_size(word, c_number)
    except ValueError:
        expected = "a number with an optional K, M, G or T, such as 64M"
        raise ValueError(f"bad {what} {word!r}; expected {expected}") from None
    if not least <= value <= most:
        raise ValueError(f"{what} {word!r} cannot be; allowed are {shown_size(least)} to {shown_size(most)}")
    return value


def read_choice(word: str, what: str, allowed: tuple[str, ...]) -> str:
    """The word itself; ValueError if it is none of the allowed ones."""
    if word not in allowed:
        raise ValueError(f"bad {what} {word!r}; allowed are {', '.join(allowed)}")
    return word
