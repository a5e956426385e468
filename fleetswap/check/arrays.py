"""The arrays of one device by name, as NumPy views of its memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout import device as layout
from fleetswap_kernels.layout import words as bits

Array = npt.NDArray[Any]

WORD_BYTES = 4
_FIELDS: Any = layout.HEADER.fields
_RECORD_WORDS = {
    "o_cpu": layout.CPU_WORDS,
    "o_proc": layout.PROC_WORDS,
    "o_vma": layout.VMA_WORDS,
    "o_block": layout.BLOCK_WORDS,
    "o_zspage": layout.ZSPAGE_WORDS,
    "o_zclass": layout.ZCLASS_WORDS,
}
"""Words of an element of those arrays that are made of records."""


class DeviceArrays:
    """Views of everything a device holds; they follow the device as it runs.

    Each array of `layout.arrays` is an attribute of its name there, without the ``o_``; one of records has a row each.

    Parameters
    ----------
    view : record view of the device (`Arena.view`)
    """

    def __init__(self, view: Any) -> None:
        self.w: Array = view.w
        self.by: Array = view.by
        self._by_width: dict[int, Array] = {1: view.by, 2: view.h, 4: view.w, 8: view.q}
        self._lengths = layout.arrays_of({name: self.scalar(name) for name in layout.SIZES})
        self.slots = self.scalar("n_slots")
        self.clusters = self.scalar("n_clusters")
        self.frames = self.scalar("n_frames")
        self.procs = self.scalar("n_procs")
        self.list_head = self.w[layout.W_LIST_HEAD : layout.W_LIST_HEAD + bits.N_LISTS]
        self.list_tail = self.w[layout.W_LIST_TAIL : layout.W_LIST_TAIL + bits.N_LISTS]
        self.frag_nr = self.w[layout.W_FRAG_NR : layout.W_FRAG_NR + bits.N_ORDERS]
        lists = 2 * (bits.MAX_BLOCK_ORDER + 1)
        self.block_head = self.w[layout.W_BLOCK_HEAD : layout.W_BLOCK_HEAD + lists]
        self.counter: Array = view.q[layout.Q_COUNTER : layout.Q_COUNTER + counters.N_COUNTERS].view(np.int64)
        # In memory these go on to a multiple of what is read at once.
        self.map_padded = self._array("o_map")
        self.map = self.map_padded[: self.slots]
        self.stored_bytes = self._array("o_stored_bytes")[: self.slots]
        self.mapcount = self._array("o_mapcount")[: self.frames]

    def scalar(self, name: str) -> int:
        """A header field."""
        return int(self.w[_FIELDS[name][1] // WORD_BYTES])

    def __getattr__(self, name: str) -> Array:
        if f"o_{name}" not in layout.OFFSETS:
            raise AttributeError(name)
        array = self._array(f"o_{name}")
        setattr(self, name, array)
        return array

    def _array(self, field: str) -> Array:
        width, length = self._lengths[field]
        first = self.scalar(field)
        array = self._by_width[width][first : first + length]
        return array.reshape(-1, _RECORD_WORDS[field]) if field in _RECORD_WORDS else array
