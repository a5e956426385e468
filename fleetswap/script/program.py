"""Turns a script into a program: operations as numbers, and the device that can run them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.arena import Blueprint
from fleetswap_kernels.device.content.page_patterns import CLASS, FILL, ZERO
from fleetswap_kernels.device.regions import PMD_PAGES
from fleetswap_kernels.layout import operations as ops
from fleetswap_kernels.layout import words as bits
from fleetswap_kernels.layout.codecs import CODECS
from fleetswap_kernels.layout.device import VERDICT_CHARGE, VERDICT_FOLIO, VERDICT_SWAP, Sizes
from fleetswap_kernels.layout.pages import PAGE_BYTES, SIZES_KIB, order_of_kib
from fleetswap_kernels.layout.size_classes import size_classes

from ..scenario.content_library import library_model, load_library
from .config import Config
from .language import Op, Script
from .patterns import Pattern, page_codes, pages_bytes, swap_header_page
from .stored_size import stored_bytes

VPN_BASE = 1 << 32
"""Page number of a process's first region address (16 TiB)."""
REGION_STRIDE_PAGES = 1 << 18
_SIZED_AT_ONCE = 4096
"""Pages whose stored sizes are found together: their contents are bytes."""

_ADVICE = {"hugepage": bits.VMA_HUGEPAGE, "nohugepage": bits.VMA_NOHUGEPAGE, "none": 0}
_EITHER = bits.VMA_HUGEPAGE | bits.VMA_NOHUGEPAGE
_ADVISED = {
    "hugepage": (_EITHER, bits.VMA_HUGEPAGE),
    "nohugepage": (_EITHER, bits.VMA_NOHUGEPAGE),
    "uffd": (0, bits.VMA_UFFD),
    "nouffd": (bits.VMA_UFFD, 0),
}
"""Region flags that an advice clears and sets."""
_OF_PROCESS = {"exit": ops.EXIT, "cpu": ops.CPU, "srand": ops.SRAND, "fault_end": ops.FAULT_END}
"""Operations of which a program has the process and the script's numbers."""
_OF_REGION = {"unmap": ops.UNMAP, "pageout": ops.PAGEOUT, "dontneed": ops.DONTNEED}
"""The same of those that work on a region."""
_VERDICTS = {"folio": VERDICT_FOLIO, "charge": VERDICT_CHARGE, "swap": VERDICT_SWAP}


@dataclass(frozen=True)
class Region:
    """Place of a region in its process's address space and PTE array."""

    name: str
    index: int
    pages: int
    start: int
    pte: int
    pmd: int


@dataclass(frozen=True)
class Step:
    """One operation of a script as part of a program.

    Parameters
    ----------
    op : Op
    first, end : int
        Its operations in the program.
    processes : dict of str to (int, tuple of Region)
        Live processes after it, in the order in which they came to be: their number, and their regions by index.
    """

    op: Op
    first: int
    end: int
    processes: dict[str, tuple[int, tuple[Region, ...]]]


@dataclass(frozen=True)
class Compiled:
    """A script ready to run."""

    script: Script
    steps: tuple[Step, ...]
    program: npt.NDArray[np.uint32]
    blueprint: Blueprint


def thp_masks(settings: dict[int, str]) -> tuple[int, int, int]:
    """Masks of the orders set to always, madvise and inherit."""
    masks = {"always": 0, "madvise": 0, "inherit": 0, "never": 0}
    for size, setting in settings.items():
        masks[setting] |= 1 << order_of_kib(size)
    return masks["always"], masks["madvise"], masks["inherit"]


def policy(config: Config) -> dict[str, int]:
    """Header fields that a script's `cfg` lines decide."""
    always, madvise, inherit = thp_masks(config.thp)
    v7 = config.kernel == "v7"
    return {
        "thp_always": always,
        "thp_madvise": madvise,
        "thp_inherit": inherit,
        "thp_global": bits.THP_MADVISE,
        "page_cluster": config.page_cluster,
        "zswap_ever": int(not config.large_swapin),
        "zap_single": int(v7),
        "zeromap_check": int(not v7),
        "pin_swapin": int(config.swapcache_prepare),
        "mem_limit_pages": -(-config.mem_limit_bytes // PAGE_BYTES),
        "codec": CODECS.index(config.algorithm),
        "block_order": config.block_order,
        "block_rewrite": int(config.block_rewrite),
        "block_fallback": int(config.block_fallback),
        "huge_bytes": size_classes().huge_threshold_bytes,
        "huge_block_bytes": size_classes(block_order=config.block_order).huge_block_bytes,
        "seed_lo": config.content_seed,
        "scale_by_process": int(config.content_scaled),
    }


class _Contents:
    """The content table of a program: every page pattern it writes, as (pattern, page) to content and size."""

    def __init__(self, library: Path | None) -> None:
        self.library = library
        self.used: dict[Pattern, int] = {}
        self.modelled = False

    def use(self, pattern: Pattern, pages: int) -> None:
        if pattern.kind == CLASS:
            self.modelled = True
            return
        constant = pattern.kind in (ZERO, FILL)
        self.used[pattern] = max(self.used.get(pattern, 0), 1 if constant else pages)

    def build(self, slots: int, algorithm: str) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], int]:
        """Stored sizes by content, contents by map entry, and the content of the swap header page."""
        self.entries: dict[Pattern, tuple[int, int]] = {}
        codes = []
        at = 0
        for pattern, pages in self.used.items():
            self.entries[pattern] = (at, int(pattern.kind not in (ZERO, FILL)))
            codes.append(page_codes(pattern, 0, pages))
            at += pages
        all_codes = np.concatenate([np.zeros(1, np.int64), *codes])
        unique, inverse = np.unique(all_codes, return_inverse=True)
        # Code 0, the zero page, sorts first and becomes content 1.
        sizes = np.zeros(len(unique) + 2, dtype=np.uint32)
        for first in range(0, len(unique), _SIZED_AT_ONCE):
            part = unique[first : first + _SIZED_AT_ONCE]
            sizes[1 + first : 1 + first + len(part)] = stored_bytes(pages_bytes(part), algorithm)
        header = len(unique) + 1
        sizes[header] = stored_bytes(swap_header_page(slots)[None, :], algorithm)[0]
        return sizes, (inverse[1:] + 1).astype(np.uint32), header

    def entry(self, pattern: Pattern) -> tuple[int, int]:
        """Place of a pattern in the content map, and its advance; of a class, its number and version."""
        if pattern.kind == CLASS:
            return load_library(self.library).names.index(pattern.name) | pattern.argument << 5, ops.MODELLED
        return self.entries[pattern]


class _Space:
    """Placement of regions in the PTE array of one process."""

    def __init__(self) -> None:
        self.regions: dict[str, Region] = {}

    def place(self, name: str, pages: int, align: int) -> Region:
        index = next(i for i in range(len(self.regions) + 1) if all(r.index != i for r in self.regions.values()))
        start = index * REGION_STRIDE_PAGES + (0 if align >= bits.MAX_ORDER else 1 << align)
        ranges = (start + pages - 1) // PMD_PAGES - start // PMD_PAGES + 1
        pte = _gap([(r.pte, r.pages) for r in self.regions.values()], pages)
        pmd = _gap([(r.pmd, _ranges(r)) for r in self.regions.values()], ranges)
        self.regions[name] = Region(name, index, pages, start, pte, pmd)
        return self.regions[name]

    def in_order(self) -> tuple[Region, ...]:
        return tuple(sorted(self.regions.values(), key=lambda region: region.index))


def _ranges(region: Region) -> int:
    return (region.start + region.pages - 1) // PMD_PAGES - region.start // PMD_PAGES + 1


def _gap(taken: list[tuple[int, int]], length: int) -> int:
    """Lowest multiple of 16 where `length` entries fit between the taken (start, length) pieces."""
    at = 0
    for start, n in sorted(taken):
        if at + length <= start:
            break
        at = max(at, -(-(start + n) // 16) * 16)
    return at


@dataclass
class _Peak:
    """The most that a script has at once: what its device is sized by.

    Parameters
    ----------
    procs, vmas, ptes, pmds : int
        Length of each of the device's tables.
    pages : int
        Pages mapped in all processes.
    orders : set of int
        Folio orders that are ever enabled.
    """

    procs: int = 1
    vmas: int = 1
    ptes: int = 16
    pmds: int = 1
    pages: int = 1
    orders: set[int] = field(default_factory=set)

    def raise_to(self, numbers: dict[str, int], spaces: dict[str, _Space]) -> None:
        """Take in the processes that live now, by their numbers and regions."""
        regions = [region for space in spaces.values() for region in space.regions.values()]
        self.procs = max([self.procs, *(number + 1 for number in numbers.values())])
        self.vmas = max([self.vmas, *(r.index + 1 for r in regions)])
        self.ptes = max([self.ptes, *(-(-(r.pte + r.pages) // 16) * 16 for r in regions)])
        self.pmds = max([self.pmds, *(r.pmd + _ranges(r) for r in regions)])
        self.pages = max(self.pages, sum(r.pages for r in regions))

    def enable(self, settings: dict[int, str]) -> None:
        """Take in the settings of folio sizes, KiB."""
        self.orders |= {order_of_kib(size) for size, setting in settings.items() if setting != "never"}


def compile_script(script: Script, library: Path | None = None) -> Compiled:
    """Compile a script and lay out its device.

    Parameters
    ----------
    script : Script
    library : Path, optional
        Content library of the classes it names; the built-in one by default.
    """
    contents = _Contents(library)
    regions: dict[tuple[str, str], int] = {}
    for op in script.ops:
        _note_contents(op, regions, contents)
    slots = script.config.zram_bytes // PAGE_BYTES
    content_bytes, content_map, header = contents.build(slots, script.config.algorithm)
    peak = _Peak()
    peak.enable(script.config.thp)
    rows, steps = _lay_out_steps(script, contents, peak)
    program = np.zeros((max(1, len(rows)), ops.OP_WORDS), dtype=np.uint32)
    for i, row in enumerate(rows):
        program[i, : len(row)] = row
    compressible = bool((content_bytes > 0).any()) or contents.modelled
    blueprint = Blueprint(
        _size_device(script.config, peak, (len(content_bytes), len(content_map)), compressible),
        policy(script.config),
        content_bytes,
        content_map,
        size_classes(block_order=script.config.block_order),
        header,
        library_model(library) if contents.modelled else None,
    )
    return Compiled(script, tuple(steps), program, blueprint)


def _lay_out_steps(script: Script, contents: _Contents, peak: _Peak) -> tuple[list[tuple[int, ...]], list[Step]]:
    """The program's rows and the script's steps; `peak` takes in every state between two of them."""
    rows: list[tuple[int, ...]] = []
    steps: list[Step] = []
    spaces: dict[str, _Space] = {}
    numbers: dict[str, int] = {}
    for op in script.ops:
        first = len(rows)
        if op.name not in ("dump", "summary", "thp", "zswap", "verdict") and op.process not in numbers:
            numbers[op.process] = _free_number(numbers)
            spaces[op.process] = _Space()
            rows.append((ops.PROC, numbers[op.process]))
            # Here as well: a process may end with its first operation.
            peak.raise_to(numbers, spaces)
        peak.enable(op.thp)
        if op.name not in ("dump", "summary"):
            rows.append(_row(op, spaces, numbers, contents))
        peak.raise_to(numbers, spaces)
        alive = {name: (number, spaces[name].in_order()) for name, number in numbers.items()}
        steps.append(Step(op, first, len(rows), alive))
    return rows, steps


def _size_device(config: Config, peak: _Peak, contents: tuple[int, int], compressible: bool) -> Sizes:
    """Sizes of the device; `contents` are the lengths of its tables of contents and of their map."""
    slots = config.zram_bytes // PAGE_BYTES
    return Sizes(
        slots=slots,
        ptes=peak.ptes,
        pmds=peak.pmds,
        # One live folio of every order per block and process, swap-cache leftovers, and room for compaction; at most
        # what a PTE can name.
        frames=min(peak.pages * (1 + len(peak.orders)) + slots + 1024, bits.FRAME_NIL),
        procs=peak.procs,
        vmas=peak.vmas,
        cpus=config.cpus,
        contents=contents[0],
        content_map=max(1, contents[1]),
        zspages=slots + 2 if compressible and not config.pool_packed else 0,
        zclasses=len(size_classes(block_order=config.block_order).class_bytes) if compressible else 0,
        block_order=config.block_order if compressible else 0,
    )


def _note_contents(op: Op, regions: dict[tuple[str, str], int], contents: _Contents) -> None:
    """Collect which pages of which pattern an operation may write."""
    key = (op.process, op.region)
    if op.name == "map":
        regions[key] = op.numbers[0]
    elif op.name == "fork":
        regions.update({(op.text, name): pages for (p, name), pages in list(regions.items()) if p == op.process})
    elif op.pattern is not None:
        contents.use(op.pattern, sum(op.numbers) if op.name == "write" else regions[key])


def _free_number(numbers: dict[str, int]) -> int:
    return next(i for i in range(len(numbers) + 1) if i not in numbers.values())


def _row(op: Op, spaces: dict[str, _Space], numbers: dict[str, int], contents: _Contents) -> tuple[int, ...]:
    """The program row of an operation; keeps the processes and their regions up to date."""
    p = numbers.get(op.process, 0)
    n = op.numbers
    if op.name == "thp":
        return (ops.THP, 0, *thp_masks(op.thp), bits.THP_MADVISE)
    if op.name == "zswap":
        return (ops.ZSWAP, 0)
    if op.name == "verdict":
        index = 10 * _VERDICTS[op.text] + (order_of_kib(n[0]) if n[0] in SIZES_KIB else 0)
        return (ops.VERDICT, 0, index, n[1], n[2] & 0xFFFFFFFF, n[2] >> 32)
    space = spaces[op.process]
    if op.name == "map":
        r = space.place(op.region, *n)
        return (ops.MAP, p, r.index, r.pages, r.start, _ADVICE[op.text], r.pte, r.pmd)
    if op.name == "fork":
        numbers[op.text] = _free_number(numbers)
        spaces[op.text] = _Space()
        spaces[op.text].regions = dict(space.regions)
        return (ops.FORK, p, numbers[op.text])
    if op.name == "exit":
        del numbers[op.process], spaces[op.process]
    if op.name in _OF_PROCESS:
        return (_OF_PROCESS[op.name], p, *n)
    v = space.regions[op.region].index
    if op.name == "unmap":
        del space.regions[op.region]
    if op.name in _OF_REGION:
        return (_OF_REGION[op.name], p, v, *n)
    if op.name == "advise":
        return (ops.ADVISE, p, v, *_ADVISED[op.text])
    if op.name == "fault_begin":
        return (ops.FAULT_BEGIN, p, v, n[0], int(op.text == "write"))
    if op.name in ("read", "poke"):
        return (ops.TOUCH, p, v, *n, ops.READ if op.name == "read" else ops.POKE)
    if op.pattern is None:
        raise AssertionError(f"operation {op.name} is not compiled")
    entry = contents.entry(op.pattern)
    if op.name == "write":
        return (ops.TOUCH, p, v, *n, ops.WRITE, *entry)
    return (ops.RANDOM, p, v, *n, int(op.name == "randdontneed"), *entry)
