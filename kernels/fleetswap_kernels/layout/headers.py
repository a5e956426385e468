"""Headers of blocks of memory: fields of 32 bits, and arrays that alias the block from its start on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

ALIAS_BYTES = 8
"""Declared length of an alias, for which code is compiled: it is indexed beyond that. Fields stand behind it."""


def places(fields: Iterable[str]) -> dict[str, int]:
    """Where fields stand that follow each other, bytes from the start."""
    return {name: ALIAS_BYTES + 4 * i for i, name in enumerate(fields)}


def header_type(fields: Mapping[str, int], aliases: Mapping[str, str], size_bytes: int) -> np.dtype[np.void]:
    """Type of a header.

    Parameters
    ----------
    fields : mapping of str to int
        Where each stands (`places`).
    aliases : mapping of str to str
        Types of the aliases' elements.
    size_bytes : int
        Length of a header.
    """
    lengths: list[Any] = [(code, (ALIAS_BYTES // np.dtype(code).itemsize,)) for code in aliases.values()]
    names, offsets = [*fields, *aliases], [*fields.values(), *[0] * len(aliases)]
    formats = [*["u4"] * len(fields), *lengths]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size_bytes}, align=True)
