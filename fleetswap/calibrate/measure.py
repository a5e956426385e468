"""Sizes of blocks of pages and times of real codecs, measured in user space.

A *block* is 2^order pages that are all there, aligned in their address space. Blocks of all orders of a 2 MiB region
lie behind one another in one row of *cells*: 512 of order 0, 256 of order 1, and so on to one of order 9.
"""

from __future__ import annotations

import importlib
import itertools
import multiprocessing
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache, partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fleetswap_kernels.backend.extras import install_command
from fleetswap_kernels.layout.pages import PAGE_BYTES

from ..errors import InputError
from .source import REGION_PAGES, Run

MAX_ORDER = 9
ORDERS = range(MAX_ORDER + 1)
CELLS = 2 * REGION_PAGES - 1
"""Names of the codecs, in the order of a content library."""
REPLACEABLE = "lzo-rle"
"""The codec that may be missing."""
ZSTD_LEVEL = 3

ORDINARY, ZERO, SAME_FILLED, ABSENT = 0, 1, 2, 255
"""Kinds of page; same-filled are pages whose 512 words are equal but not 0 (spec 08 §8.1)."""

SAMPLE_BYTES = 8 << 20
"""Blocks of one order that are timed have at most so many bytes."""
REPETITIONS = 6
"""Of every timing; even, so that ascending and descending orders are equally many."""

Region: TypeAlias = tuple[Run, ...]
"""The runs inside one aligned 2 MiB."""


@dataclass(frozen=True)
class Codec:
    """A compression library.

    Parameters
    ----------
    name : str
        One of `CODECS`.
    version : str
        Of the library, in words.
    compress : function of bytes
    decompress : function of bytes, int
        Takes the compressed and the original length.
    """

    name: str
    version: str
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes, int], bytes]


@cache
def load_codecs() -> tuple[Codec, ...]:
    """The codecs that are installed, in the order of `CODECS`.

    They are not the kernel's own: liblz4, for one, makes pages of text 1 to 3 % smaller (spec 08 §8.4).

    Raises
    ------
    InputError
        If lz4 is missing.
    """
    import zstandard

    try:
        # By name: neither package has types, and lzo is optional.
        block = importlib.import_module("lz4.block")
        lz4_version = importlib.import_module("lz4").library_version_string()
    except ImportError:
        raise InputError(
            f"calibrate needs the package lz4, which is not installed: {install_command('calibrate')}"
        ) from None
    codecs = [
        Codec(
            "lz4",
            f"liblz4 {lz4_version} (acceleration 1)",
            partial(block.compress, mode="fast", acceleration=1, store_size=False),
            block.decompress,
        )
    ]
    codecs += _lzo()
    codecs.append(
        Codec(
            "zstd",
            f"libzstd {'.'.join(map(str, zstandard.ZSTD_VERSION))} (level {ZSTD_LEVEL})",
            zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress,  # notes the content's size in the frame
            zstandard.ZstdDecompressor().decompress,
        )
    )
    return tuple(codecs)


def _lzo() -> Iterator[Codec]:
    """The codec of the package python-lzo, if it is installed."""
    try:
        lzo = importlib.import_module("lzo")
        version = lzo.LZO_VERSION_STRING.decode()
    except (ImportError, AttributeError):  # A folder with the name lzo can be imported as well.
        return
    yield Codec(
        "lzo-rle",
        f"liblzo {version} (LZO1X-1, without the run lengths of lzo-rle)",
        lambda data: lzo.compress(data, 1, False),
        lambda data, size: lzo.decompress(data, False, size),
    )


@dataclass(frozen=True)
class PageSizes:
    """Compressed sizes of every block, and kinds of every page.

    Parameters
    ----------
    codecs : tuple of str
        What was measured.
    cells : uint32 array of shape (regions, codecs, 1023)
        Bytes, at most those of the block; 0 where not all pages are there.
    kinds : uint8 array of shape (regions, 512)
        `ORDINARY`, `ZERO`, `SAME_FILLED` or `ABSENT`.
    """

    codecs: tuple[str, ...]
    cells: NDArray[np.uint32]
    kinds: NDArray[np.uint8]

    def level(self, order: int) -> NDArray[np.uint32]:
        """Cells of one order, shape (regions, codecs, 512 / 2^order)."""
        return self.cells[:, :, _cells_of(order)]

    def places(self, order: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Region and number in it of every block of an order, ascending."""
        regions, blocks = np.nonzero(self.level(order)[:, 0])
        return regions, blocks

    def blocks(self, order: int) -> NDArray[np.int64]:
        """Sizes of the blocks of an order, shape (codecs, blocks), in the order of `places`."""
        regions, blocks = self.places(order)
        return self.level(order)[regions, :, blocks].T.astype(np.int64)

    def members(self, order: int, member_order: int = 0) -> NDArray[np.int64]:
        """Sizes of the smaller blocks inside each block of an order, shape (codecs, blocks, members)."""
        regions, blocks = self.places(order)
        level = self.level(member_order)
        inside = level.reshape(*level.shape[:2], -1, 1 << (order - member_order))
        return inside[regions, :, blocks].transpose(1, 0, 2).astype(np.int64)

    def block_kinds(self, order: int) -> NDArray[np.uint8]:
        """Kinds of the pages of each block of an order, shape (blocks, 2^order)."""
        regions, blocks = self.places(order)
        return self.kinds.reshape(len(self.kinds), -1, 1 << order)[regions, blocks]

    def pages(self, *kinds: int) -> int:
        """Number of pages that are there, or of those of some kinds."""
        wanted = np.isin(self.kinds, kinds) if kinds else self.kinds != ABSENT
        return int(np.count_nonzero(wanted))


@dataclass(frozen=True)
class CodecTimes:
    """Times of one block, per order 0..9.

    Parameters
    ----------
    compress_ns, decompress_ns : tuple of int
        None where there is no block of the order.
    """

    compress_ns: tuple[int | None, ...]
    decompress_ns: tuple[int | None, ...]


def _cells_of(order: int) -> slice:
    start = CELLS + 1 - (2 * REGION_PAGES >> order)
    return slice(start, start + (REGION_PAGES >> order))


def regions_of(runs: Sequence[Run]) -> list[Region]:
    """Put runs of ascending page numbers, none beyond its region, together by region."""
    grouped = itertools.groupby(runs, key=lambda run: (run.space, run.first // REGION_PAGES))
    return [tuple(members) for _, members in grouped]


def _layout(region: Region) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The pages of a region in their places, and which of them are there."""
    pages = np.zeros((REGION_PAGES, PAGE_BYTES), dtype=np.uint8)
    there = np.zeros(REGION_PAGES, dtype=np.bool_)
    for run in region:
        at = run.first % REGION_PAGES
        pages[at : at + len(run.pages)] = run.pages
        there[at : at + len(run.pages)] = True
    return pages, there


def _blocks_there(region: Region, order: int) -> list[int]:
    """Numbers, within the region, of the blocks whose pages are all there."""
    there = np.zeros(REGION_PAGES, dtype=np.bool_)
    for run in region:
        at = run.first % REGION_PAGES
        there[at : at + len(run.pages)] = True
    blocks: list[int] = np.flatnonzero(there.reshape(-1, 1 << order).all(axis=1)).tolist()
    return blocks


def count_blocks(regions: Sequence[Region], order: int) -> int:
    """Number of blocks of an order that are there."""
    return sum(len(_blocks_there(region, order)) for region in regions)


def page_kinds(pages: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Kind of every page (spec 08 §8.1)."""
    words = np.ascontiguousarray(pages).view(np.uint64)
    same = (words == words[:, :1]).all(axis=1)
    return np.where(same, np.where(words[:, 0] == 0, ZERO, SAME_FILLED), ORDINARY).astype(np.uint8)


def measure_region(region: Region) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Sizes of all blocks of a region by all codecs, and kinds of its pages.

    Returns
    -------
    uint32 array of shape (codecs, 1023), uint8 array of shape (512,)
        A row of `PageSizes`.
    """
    codecs = load_codecs()
    pages, there = _layout(region)
    cells = np.zeros((len(codecs), CELLS), dtype=np.uint32)
    for order in ORDERS:
        length = PAGE_BYTES << order
        level = cells[:, _cells_of(order)]
        for i in _blocks_there(region, order):
            block = pages[i << order : (i + 1) << order].tobytes()
            for row, codec in zip(level, codecs, strict=True):
                row[i] = min(len(codec.compress(block)), length)
    return cells, np.where(there, page_kinds(pages), ABSENT).astype(np.uint8)


def measure_sizes(regions: Sequence[Region], jobs: int, progress: Callable[[int], None]) -> PageSizes:
    """Measure the sizes of all blocks; the number of processes does not change the result.

    Parameters
    ----------
    regions : sequence of Region
    jobs : int
        Processes to use.
    progress : function of int
        Called with the number of regions measured since the last call.

    Raises
    ------
    InputError
        If a process was killed.
    """
    rows = []
    for row in _measured(regions, min(jobs, len(regions))):
        rows.append(row)
        progress(1)
    names = tuple(codec.name for codec in load_codecs())
    return PageSizes(names, np.stack([cells for cells, _ in rows]), np.stack([kinds for _, kinds in rows]))


def _measured(regions: Sequence[Region], jobs: int) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.uint8]]]:
    if jobs == 1:
        yield from map(measure_region, regions)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        yield from pool.map(measure_region, regions)
    except BrokenProcessPool:
        raise InputError(
            "a process that compressed pages was killed, perhaps for lack of memory; try --jobs 1"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()


def measure_times(
    regions: Sequence[Region], repetitions: int, progress: Callable[[int], None]
) -> dict[str, CodecTimes]:
    """Measure the CPU time of one block of every order, on one thread.

    Parameters
    ----------
    regions : sequence of Region
    repetitions : int
        Their median counts. Orders are ascending and descending in turn; one repetition before is not counted.
    progress : function of int
        Called with the number of repetitions done since the last call.

    Returns
    -------
    dict of str to CodecTimes

    Raises
    ------
    InputError
        If a block is not what it was after compression and decompression.
    """
    samples = [_sample(regions, order) for order in ORDERS]
    times = {}
    for codec in load_codecs():
        block_times: list[list[tuple[float, float]]] = [[] for _ in ORDERS]
        for repetition in range(repetitions + 1):
            for order in ORDERS if repetition % 2 else reversed(ORDERS):
                if samples[order]:
                    block_times[order].append(_time(codec, samples[order]))
            progress(1)
        compress, decompress = (
            tuple(round(statistics.median(pair[way] for pair in pairs[1:])) if pairs else None for pairs in block_times)
            for way in (0, 1)
        )
        times[codec.name] = CodecTimes(compress, decompress)
    return times


def _sample(regions: Sequence[Region], order: int) -> list[bytes]:
    """Blocks of an order, evenly out of all of them."""
    places = [(number, i) for number, region in enumerate(regions) for i in _blocks_there(region, order)]
    n = min(len(places), SAMPLE_BYTES // (PAGE_BYTES << order))
    chosen = [places[(2 * i + 1) * len(places) // (2 * n)] for i in range(n)]
    blocks = []
    for number, members in itertools.groupby(chosen, key=lambda place: place[0]):
        pages, _ = _layout(regions[number])
        blocks += [pages[i << order : (i + 1) << order].tobytes() for _, i in members]
    return blocks


def _time(codec: Codec, blocks: list[bytes]) -> tuple[float, float]:
    """Nanoseconds per block to compress and to decompress."""
    compress, decompress = codec.compress, codec.decompress
    length = len(blocks[0])
    begin = time.thread_time_ns()
    packed = [compress(block) for block in blocks]
    between = time.thread_time_ns()
    for block in packed:
        decompress(block, length)  # Not kept: fresh memory for every block would be most of the time of large ones.
    end = time.thread_time_ns()
    if any(decompress(small, length) != block for small, block in zip(packed, blocks, strict=True)):
        raise InputError(
            f"{codec.name} ({codec.version}): a block of {length} bytes changed by compression and decompression; "
            "install another version"
        )
    return (between - begin) / len(blocks), (end - between) / len(blocks)
