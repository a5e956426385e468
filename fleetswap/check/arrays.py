"""The arrays of one device by name, as NumPy views of its memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout import device as layout
from fleetswap_kernels.layout import words as bits
from fleetswap_kernels.layout.pages import PAGE_BYTES

Array = npt.NDArray[Any]

WORD_BYTES = 4
_FIELDS: Any = layout.HEADER.fields
_SCALAR: dict[str, int] = {
    name: _FIELDS[name][1] // WORD_BYTES for name in (*layout.SIZES, *layout.OFFSETS, *layout.SCALARS)
}


class DeviceArrays:
    """Views of everything a device holds; they follow the device as it runs.

    Parameters
    ----------
    view : record view of the device (`Arena.view`)
    """

    def __init__(self, view: Any) -> None:
        self.w: Array = view.w
        self.by: Array = view.by
        self.slots = self.scalar("n_slots")
        self.clusters = self.scalar("n_clusters")
        self.frames = self.scalar("n_frames")
        self.procs = self.scalar("n_procs")
        classes = self.scalar("n_zclasses") if self.scalar("n_zspages") else 0
        self.map_padded = self._bytes("o_map", self.clusters * bits.CLUSTER_SLOTS)
        self.map = self.map_padded[: self.slots]
        self.zeromap = self._bytes("o_zeromap", -(-self.slots // (8 * WORD_BYTES)) * WORD_BYTES)
        self.stored = self._words("o_stored", self.slots)
        self.cache = self._words("o_cache", self.scalar("n_cache"))
        self.cluster = self._words("o_cluster", self.clusters)
        self.cluster_next = self._words("o_cluster_next", self.clusters)
        self.cluster_prev = self._words("o_cluster_prev", self.clusters)
        self.list_head = self.w[layout.W_LIST_HEAD : layout.W_LIST_HEAD + bits.N_LISTS]
        self.list_tail = self.w[layout.W_LIST_TAIL : layout.W_LIST_TAIL + bits.N_LISTS]
        self.frag_nr = self.w[layout.W_FRAG_NR : layout.W_FRAG_NR + bits.N_ORDERS]
        self.pte = self._words("o_pte", self.scalar("n_ptes"))
        self.expect = self._words("o_expect", self.scalar("n_expect"))
        self.pmd = self._bytes("o_pmd", self.scalar("n_pmds"))
        self.frame = self._words("o_frame", self.frames)
        self.content = self._words("o_content", self.frames)
        self.mapcount = self._bytes("o_mapcount", self.frames)
        lists = 2 * (bits.MAX_BLOCK_ORDER + 1)
        self.block_head = self.w[layout.W_BLOCK_HEAD : layout.W_BLOCK_HEAD + lists]
        self.pool_frame = self._words("o_pool_frame", self.scalar("n_pool_frames"))
        self.content_bytes = self._words("o_content_bytes", self.scalar("n_contents"))
        self.zhandle = self._words("o_zhandle", self.scalar("n_zhandles"))
        first = self.scalar("o_stored_bytes")
        self.stored_bytes: Array = view.h[first : first + (self.slots if self.scalar("n_zclasses") else 0)]
        first = self.scalar("o_run")
        self.run: Array = view.q[first : first + self.scalar("n_runs")]
        self.block = self._records("o_block", self.scalar("n_blocks"), layout.BLOCK_WORDS)
        self.zstep = self._bytes("o_zstep", 257 if classes and len(self.block) else 0)
        self.zspage = self._records("o_zspage", self.scalar("n_zspages"), layout.ZSPAGE_WORDS)
        self.zgroup = self._words("o_zgroup", classes * layout.ZGROUPS)
        self.zclass = self._records("o_zclass", classes, layout.ZCLASS_WORDS)[:, layout.ZCLASS_INFO]
        self.zraw = self._bytes("o_zraw", PAGE_BYTES + 1 if classes else 0)
        self.proc = self._records("o_proc", self.procs, layout.PROC_WORDS)
        self.vma = self._records("o_vma", self.procs * self.scalar("n_vmas"), layout.VMA_WORDS)
        self.cpu = self._records("o_cpu", self.scalar("n_cpus"), layout.CPU_WORDS)
        self.counter: Array = view.q[layout.Q_COUNTER : layout.Q_COUNTER + counters.N_COUNTERS].view(np.int64)

    def scalar(self, name: str) -> int:
        """A header field."""
        return int(self.w[_SCALAR[name]])

    def _words(self, offset: str, n: int) -> Array:
        first = self.scalar(offset)
        return self.w[first : first + n]

    def _bytes(self, offset: str, n: int) -> Array:
        first = self.scalar(offset)
        return self.by[first : first + n]

    def _records(self, offset: str, n: int, words: int) -> Array:
        return self._words(offset, n * words).reshape(n, words)
