"""Traces of zram blocks: scripts on one device, their states at every dump, and sizes looked up by hand."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import fleetswap
from fleetswap.check.arrays import DeviceArrays
from fleetswap.script.language import parse_script
from fleetswap.script.program import compile_script
from fleetswap_kernels.backend.arena import Arena
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.layout.counters import SCALAR_NAMES, codec_index
from fleetswap_kernels.layout.device import BLOCK_BYTES, BLOCK_INFO, BLOCK_LIVE_SHIFT, CPU_RET, CPU_RET_NR
from fleetswap_kernels.layout.words import CONTENT_ZERO

CLASSES_TABLE = Path(__file__).parents[1] / "data/compressibility/zsmalloc_classes.csv"
LIBRARY = Path(fleetswap.__file__).parent / "data/content/measured.npz"
CODECS = ("lz4", "lzo-rle", "zstd")
NAME = "java_app"
"""Few of its pages are filled with one word, and no block is incompressible."""
KIB_64 = 65536
HUGE = 4096
ORDINARY, ZERO_PAGE, SAME_FILLED = range(3)

Words = npt.NDArray[np.int64]


@dataclass(frozen=True)
class State:
    """A device at a dump.

    Parameters
    ----------
    counts : dict of str to int
        Its scalar counters.
    codec : dict of str to int
        Work of the codec for pages of `NAME`.
    stored : int64 array
        What every slot holds, 0 if nothing.
    blocks : dict of int to (int, int)
        Blocks in zram by number: compressed bytes and live slots.
    pages : dict of (str, str) to list
        What every page of a region is, by process and region: "n" none, "z" zero page, "p" present, else its slot.
    faults : tuple of int
        Minor faults, major faults and wrong pages of the operations since the last dump.
    in_cache : int
        Pages in the swap cache.
    parked : tuple of int
        Slots in the return cache of CPU 0.
    """

    counts: dict[str, int]
    codec: dict[str, int]
    stored: Words
    blocks: dict[int, tuple[int, int]]
    pages: dict[tuple[str, str], list[Any]]
    faults: tuple[int, int, int]
    in_cache: int
    parked: tuple[int, ...]

    def __sub__(self, before: State) -> dict[str, int]:
        """Counters that changed, and by how much."""
        return {n: self.counts[n] - before.counts[n] for n in ZRAM if self.counts[n] != before.counts[n]}


ZRAM = (
    "pages_stored", "compr_data_size", "pool_pages", "same_pages", "huge_pages", "huge_pages_since", "failed_writes",
    "blk_decomp", "blk_decomp_bytes", "blk_partial_read", "blk_pages_read", "blk_rewrite", "dead_bytes", "huge_reads",
)  # fmt: skip


def trace(setup: str, steps: str) -> dict[str, State]:
    """States of a device at the dumps of a script, by label; "new" is before the first operation."""
    script = parse_script(f"cfg page_cluster 0\n{setup}\n{steps}")
    compiled = compile_script(script)
    arena = Arena([(compiled.blueprint, 1)], ONE_THREAD)
    arena.init()
    dev = DeviceArrays(arena.view(0))
    faults = [0, 0, 0]
    states = {"new": _state(dev, {}, faults)}
    for step in compiled.steps:
        if step.op.name == "dump":
            states[step.op.text] = _state(dev, step.processes, faults)
            faults = [0, 0, 0]
            continue
        arena.run(compiled.program, step.first, step.end)
        for i, name in enumerate(("op_minflt", "op_majflt", "op_bad")):
            faults[i] += dev.scalar(name)
        assert dev.scalar("op_bad") == 0, f"line {step.op.line}: a page holds what it should not"
    return states


def _state(dev: DeviceArrays, processes: dict[str, Any], faults: list[int]) -> State:
    info = dev.block[:, BLOCK_INFO].astype(np.int64)
    regions = {}
    for name, (number, of_process) in processes.items():
        pte = dev.pte.reshape(dev.procs, -1)[number]
        for region in of_process:
            found = pte[region.pte : region.pte + region.pages].tolist()
            kinds = [("n", "z", "p", word & 0xFFFFFF)[word >> 30] for word in found]
            regions[name, region.name] = kinds
    return State(
        {name: int(dev.counter[i]) for i, name in enumerate(SCALAR_NAMES)},
        {
            work: int(dev.counter[codec_index(work, _class_number(NAME))])
            for work in ("compressed_pages", "decompressed_pages", "compressed_blocks", "decompressed_blocks")
        },
        dev.stored.astype(np.int64),
        {int(b): (int(info[b]) & BLOCK_BYTES, int(info[b]) >> BLOCK_LIVE_SHIFT) for b in info.nonzero()[0]},
        regions,
        (faults[0], faults[1], faults[2]),
        dev.scalar("swap_cache_pages"),
        tuple(dev.cpu[0, CPU_RET : CPU_RET + int(dev.cpu[0, CPU_RET_NR])].tolist()),
    )


@cache
def library() -> dict[str, npt.NDArray[Any]]:
    with np.load(LIBRARY) as file:
        return {name: file[name] for name in ("classes", "sizes", "same")}


def _class_number(name: str) -> int:
    return library()["classes"].tolist().index(name)


def prototype(word: int) -> tuple[int, int, int]:
    """Class, prototype and page of a content word."""
    assert word >> 31 == 1
    return word >> 25 & 31, word >> 4 & 255, word & 15


def page_bytes(word: int, codec: str) -> int:
    """What zram stores for a page alone."""
    if word == CONTENT_ZERO:
        return 0
    c, p, member = prototype(word)
    if library()["same"][c, p, member] != ORDINARY:
        return 0
    size = int(library()["sizes"][c, p, CODECS.index(codec), member])
    return HUGE if size >= 3625 else size


def block_bytes(words: Words, codec: str) -> int:
    """What zram stores for a block that was written as a whole, 2 to 16 pages."""
    n = len(words)
    lead = int((words != CONTENT_ZERO).nonzero()[0][0])
    c, p, member = prototype(int(words[lead]))
    first = member - lead
    assert first % n == 0, "the block is no sub-block of a prototype"
    for i, word in enumerate(words.tolist()):
        zero = library()["same"][c, p, first + i] == ZERO_PAGE
        assert word == CONTENT_ZERO if zero else prototype(word) == (c, p, first + i)
    # 16 pages, 8 blocks of two, 4 of four, 2 of eight, 1 of sixteen.
    before = {2: 16, 4: 24, 8: 28, 16: 30}[n]
    return int(library()["sizes"][c, p, CODECS.index(codec), before + first // n])


@cache
def size_classes(order: int) -> list[tuple[int, int, int]]:
    """Bytes, pages and objects of a zspage of each size class with chain size 8."""
    with CLASSES_TABLE.open() as file:
        rows = [row for row in csv.DictReader(file) if (row["chain"], row["order"]) == ("8", str(order))]
    pages = [int(row["elements_per_zspage"]) * int(row["element_bytes"]) // 4096 for row in rows]
    return [(int(r["class_size"]), p, int(r["objects_per_zspage"])) for r, p in zip(rows, pages, strict=True)]


def pool_pages(objects: list[int], order: int) -> int:
    """Pages of a pool in which nothing was freed.

    An object lies in the smallest class that holds it and its handle of 8 bytes, but the class of 4,096 bytes has one
    object a page and its handle elsewhere: objects up to 4,096 bytes are in the ordinary classes.
    """
    used: Counter[tuple[int, int, int]] = Counter()
    for size in objects:
        need = size if 4088 < size <= 4096 else size + 8
        used[min(c for c in size_classes(order) if c[0] >= need)] += 1
    return sum(-(-n // objects_each) * pages for (_, pages, objects_each), n in used.items())


def header(state: State) -> int:
    """Compressed bytes of the swap header page: it is all that a new device stores."""
    assert state.counts["pages_stored"] == 1
    assert state.stored.nonzero()[0].tolist() == [0]
    return state.counts["compr_data_size"]


def setup(thp: str, codec: str = "zstd", blocks: str = "4", more: str = "") -> str:
    return f"cfg thp {thp}\ncfg zram 64M {codec}\ncfg blocks {blocks}\n{more}"


FOLIO = f"map A 16 9 hugepage\nwrite A 0 16 class:{NAME}\npageout A 0 16\n"
"""A folio of 64 KiB, swapped out to the first slots of cluster 1 (trace T1 of spec 10)."""


# Storing
