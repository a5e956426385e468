"""Views of the memory of one device or content model, whose arrays have its true length: a wild index is an error.

Interpreted runs, the simulator and checks read memory through them; compiled code reads the same memory through
records, whose arrays it does not bound. A record of NumPy would do, but finding its fields took most of their time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


class ExactView:
    """Arrays over all of a memory, by the width of their elements.

    Parameters
    ----------
    memory : uint8 array
    """

    __slots__ = ("by", "h", "q", "w")

    def __init__(self, memory: npt.NDArray[np.uint8]) -> None:
        self.by = memory
        self.h = memory.view(np.uint16)
        self.w = memory.view(np.uint32)
        self.q = memory.view(np.uint64)


def view_class(name: str, offsets: Mapping[str, int]) -> type[ExactView]:
    """A view whose uint32 fields have names.

    Parameters
    ----------
    name : str
        Of the class.
    offsets : mapping of str to int
        Where each field stands, bytes from the start.
    """
    fields = {field: _word(offset // 4) for field, offset in offsets.items()}
    return type(name, (ExactView,), {"__slots__": (), **fields})


def _word(index: int) -> property:
    """The word at a place."""

    def read(view: ExactView) -> np.uint32:
        word: np.uint32 = view.w[index]
        return word

    def write(view: ExactView, value: Any) -> None:
        view.w[index] = value

    return property(read, write)
