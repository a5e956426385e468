"""Pages of a user's own memory: a dump, chosen processes or a folder of page files, as runs with page numbers.

A *run* is a piece of memory without gaps. Its page numbers are those of the virtual address space, so that blocks of
pages can be aligned as the kernel aligns them; pages of a file are numbered by their place in it. Every process and
every page file is a *space* of its own, whose pages are neighbours of no other's.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fleetswap_kernels.layout.pages import MIB_PAGES, PAGE_BYTES

from ..errors import InputError

REGION_PAGES = 512
"""Pages of the aligned 2 MiB that are taken or left out as a whole, and that no block extends beyond."""

_PRESENT, _FILE_OR_SHARED = np.uint64(1 << 63), np.uint64(1 << 61)
"""Bits of an entry of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst)."""
_FRAME = np.uint64((1 << 55) - 1)
_KPF_ANON, _KPF_ZERO_PAGE = np.uint64(1 << 12), np.uint64(1 << 24)
"""Bits of an entry of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h)."""
_ENTRY_BYTES = 8
_ENTRIES_AT_ONCE = 1 << 20
"""Entries of pagemap read together: a mapping may be terabytes long and almost empty."""
_FRAMES_AT_ONCE = 1 << 16

ZERO_PAGE_UNKNOWN = (
    "the kernel's zero page could not be told apart (/proc/kpageflags is for root): memory that was read but never "
    "written counts as zero pages, which swap would not take"
)


class Extent(NamedTuple):
    """Place of pages without a gap between them.

    Parameters
    ----------
    space : int
        Number of the process or file.
    first : int
        Number of the first page.
    pages : int
    """

    space: int
    first: int
    pages: int


@dataclass(frozen=True, eq=False)
class Run:
    """Pages that were read, without a gap between them.

    Parameters
    ----------
    space, first : int
        As of the `Extent` they were read from.
    pages : uint8 array of shape (n, 4096)
    """

    space: int
    first: int
    pages: NDArray[np.uint8]


@dataclass(frozen=True)
class PageSource:
    """Places of pages that are not yet read.

    Parameters
    ----------
    kind : str
        "dump", "processes" or "page files".
    spaces : tuple of Path
        Per space what is read: a file, or /proc/PID/mem.
    names : tuple of str
        What a person calls it, without folders: the file, the folder of page files, or the program of every process.
    extents : tuple of Extent
    notes : tuple of str
        What a person should know about these pages.
    """

    kind: str
    spaces: tuple[Path, ...]
    names: tuple[str, ...]
    extents: tuple[Extent, ...]
    notes: tuple[str, ...] = ()


def open_source(dump: Path | None, pids: Sequence[int], folder: Path | None) -> PageSource:
    """Find the pages of the one kind of source that is given.

    Parameters
    ----------
    dump : Path or None
        Raw memory, any number of pages.
    pids : sequence of int
        Processes.
    folder : Path or None
        Folder of page files.

    Raises
    ------
    InputError
        If not exactly one kind is given, or it cannot be used.
    """
    options = {"--dump": dump is not None, "--pid": bool(pids), "--pages": folder is not None}
    given = [option for option, is_given in options.items() if is_given]
    if len(given) != 1:
        said = f"{' and '.join(given)} cannot be combined" if given else "no pages to measure"
        raise InputError(f"{said}; allowed is one of --dump FILE, --pid PID (may be repeated), --pages DIR")
    if dump is not None:
        return PageSource("dump", (dump,), (dump.name,), (Extent(0, 0, _file_pages(dump, f"--dump {dump}")),))
    return _open_folder(folder) if folder is not None else _open_processes(pids)


def _file_pages(path: Path, blamed: str) -> int:
    """Pages of a file of whole pages."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{blamed}: is not a regular file; expected raw pages of {PAGE_BYTES} bytes")
        path.open("rb").close()
    except OSError as error:
        raise InputError(f"{blamed}: cannot be read: {error.strerror}") from None
    if status.st_size == 0 or status.st_size % PAGE_BYTES:
        raise InputError(f"{blamed}: has {status.st_size} bytes; allowed are positive multiples of {PAGE_BYTES}")
    return status.st_size // PAGE_BYTES


def _open_folder(folder: Path) -> PageSource:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"--pages {folder}: cannot be read: {error.strerror}") from None
    if not paths:
        raise InputError(f"--pages {folder}: the folder is empty; expected files of raw pages")
    extents = [Extent(space, 0, _file_pages(path, f"--pages {path}")) for space, path in enumerate(paths)]
    return PageSource("page files", tuple(paths), (folder.resolve().name,), tuple(extents))


def _open_processes(pids: Sequence[int]) -> PageSource:
    for i, pid in enumerate(pids):
        if pid in pids[:i]:
            raise InputError(f"--pid {pid}: is given twice; allowed is once per process")
    size = os.sysconf("SC_PAGE_SIZE")
    if size != PAGE_BYTES:
        raise InputError(f"--pid {pids[0]}: pages of this machine have {size} bytes; allowed are {PAGE_BYTES}")
    extents: list[Extent] = []
    names = []
    all_known = True
    for space, pid in enumerate(pids):
        folder = Path(f"/proc/{pid}")
        try:
            numbers, entries = _anonymous_pages(folder)
            names.append(folder.joinpath("comm").read_text(encoding="utf-8", errors="replace").strip())
            os.close(os.open(folder / "mem", os.O_RDONLY))  # Whether it may be read is known before all else is done.
        except OSError as error:
            raise _process_error(folder, pid, error) from None
        swappable, known = _without_zero_page(entries)
        all_known &= known
        process_extents = list(_extents(space, numbers[swappable]))
        if not process_extents:
            raise InputError(f"--pid {pid}: has no private anonymous pages in memory; allowed are processes that do")
        extents += process_extents
    mem = tuple(Path(f"/proc/{pid}/mem") for pid in pids)
    return PageSource("processes", mem, tuple(names), tuple(extents), () if all_known else (ZERO_PAGE_UNKNOWN,))


def _process_error(folder: Path, pid: int, error: OSError) -> InputError:
    """The error of a process that cannot be read."""
    if isinstance(error, PermissionError):
        allowed = "allowed are processes you may trace: your own where kernel.yama.ptrace_scope is 0, all as root"
        return InputError(f"--pid {pid}: its memory may not be read ({error.strerror}); {allowed}")
    if isinstance(error, (FileNotFoundError, ProcessLookupError)) and not folder.is_dir():
        return InputError(f"--pid {pid}: there is no such process; allowed are processes of this machine")
    if isinstance(error, ProcessLookupError):
        return InputError(f"--pid {pid}: has no memory of its own: a thread of the kernel, or it has just ended")
    if isinstance(error, FileNotFoundError):
        return InputError(f"--pid {pid}: this kernel has no {error.filename}; use --dump or --pages")
    return InputError(f"--pid {pid}: {error.filename or folder} cannot be read: {error.strerror}")


def _anonymous_pages(folder: Path) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Numbers and pagemap entries of a process's private anonymous pages in memory, ascending."""
    numbers, entries = [], []
    maps = folder.joinpath("maps").read_text(encoding="utf-8", errors="replace")
    with folder.joinpath("pagemap").open("rb", buffering=0) as pagemap:
        for line in maps.splitlines():
            span, rights = line.split(maxsplit=2)[:2]
            if rights[1] != "w" or rights[3] != "p":
                continue
            first, end = (int(address, 16) // PAGE_BYTES for address in span.split("-"))
            for at in range(first, end, _ENTRIES_AT_ONCE):
                wanted = min(end - at, _ENTRIES_AT_ONCE) * _ENTRY_BYTES
                window = np.frombuffer(os.pread(pagemap.fileno(), wanted, at * _ENTRY_BYTES), dtype=np.uint64)
                there = np.flatnonzero((window & _PRESENT != 0) & (window & _FILE_OR_SHARED == 0))
                numbers.append(there.astype(np.uint64) + np.uint64(at))
                entries.append(window[there])
    empty = np.empty(0, dtype=np.uint64)
    return np.concatenate([empty, *numbers]), np.concatenate([empty, *entries])


def _without_zero_page(entries: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], bool]:
    """Mask of the pages that are not the kernel's zero page, and whether it could be made."""
    frames = entries & _FRAME
    everything = np.ones(len(entries), dtype=np.bool_)
    if not frames.any():  # The kernel hides frames from processes without CAP_SYS_ADMIN.
        return everything, not len(entries)
    flags = np.zeros(len(entries), dtype=np.uint64)
    windows = frames // np.uint64(_FRAMES_AT_ONCE)
    try:
        with Path("/proc/kpageflags").open("rb", buffering=0) as file:
            for window in np.unique(windows):
                at = int(window) * _FRAMES_AT_ONCE
                read = os.pread(file.fileno(), _FRAMES_AT_ONCE * _ENTRY_BYTES, at * _ENTRY_BYTES)
                known = np.zeros(_FRAMES_AT_ONCE, dtype=np.uint64)
                known[: len(read) // _ENTRY_BYTES] = np.frombuffer(read, dtype=np.uint64)
                here = windows == window
                flags[here] = known[(frames[here] - np.uint64(at)).astype(np.int64)]
    except OSError:
        return everything, False
    return (flags & _KPF_ANON != 0) & (flags & _KPF_ZERO_PAGE == 0), True


def _extents(space: int, numbers: NDArray[np.uint64]) -> Iterator[Extent]:
    """Ascending page numbers as extents."""
    if not len(numbers):
        return
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[:1]) != 1)  # The first differs by 0.
    ends = np.append(starts[1:], len(numbers))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield Extent(space, int(numbers[start]), end - start)


def sample_regions(extents: Iterable[Extent], max_mib: int) -> list[Extent]:
    """Choose whole 2 MiB regions by a hash of their number, the same ones every time.

    Parameters
    ----------
    extents : iterable of Extent
        Where pages are.
    max_mib : int
        Chosen pages are at most so many MiB; 2 or more.

    Returns
    -------
    list of Extent
        In the order of spaces and page numbers; none reaches beyond its region.
    """
    regions: dict[tuple[int, int], list[Extent]] = {}
    for space, first, pages in extents:
        end = first + pages
        at = first
        while at < end:
            region = at // REGION_PAGES
            until = min(end, (region + 1) * REGION_PAGES)
            regions.setdefault((space, region), []).append(Extent(space, at, until - at))
            at = until
    left = max_mib * MIB_PAGES
    chosen: list[Extent] = []
    for key in sorted(regions, key=lambda key: hashlib.blake2b(repr(key).encode(), digest_size=8).digest()):
        left -= sum(extent.pages for extent in regions[key])
        if left < 0:
            break
        chosen += regions[key]
    return sorted(chosen)


def read_runs(source: PageSource, extents: Sequence[Extent]) -> list[Run]:
    """Read pages, one run per extent.

    A process goes on while it is read: what it gives up meanwhile is missing, or reads as zeros.

    Parameters
    ----------
    source : PageSource
    extents : sequence of Extent
        Ascending, from `sample_regions`.

    Raises
    ------
    InputError
        If a file has changed, or a process may no longer be read.
    """
    runs: list[Run] = []
    for space, wanted in itertools.groupby(extents, key=lambda extent: extent.space):
        path = source.spaces[space]
        try:
            file = os.open(path, os.O_RDONLY)
            try:
                for extent in wanted:
                    extent_runs = list(_read_extent(file, extent))
                    if source.kind != "processes" and sum(len(run.pages) for run in extent_runs) < extent.pages:
                        raise InputError(f"{path}: became shorter while it was read; expected a file at rest")
                    runs += extent_runs
            finally:
                os.close(file)
        except OSError as error:
            if source.kind == "processes":
                raise _process_error(path.parent, int(path.parent.name), error) from None
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return runs


def _read_extent(file: int, extent: Extent) -> Iterator[Run]:
    """The pages that can be read; each that cannot ends a run."""
    at, end = extent.first, extent.first + extent.pages
    while at < end:
        pages = np.empty((end - at, PAGE_BYTES), dtype=np.uint8)
        try:
            pages_read = os.preadv(file, [pages.data], at * PAGE_BYTES) // PAGE_BYTES
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EFAULT):  # which an unmapped page of a process gives
                raise
            pages_read = 0
        if pages_read:
            yield Run(extent.space, at, pages[:pages_read])
        at += max(pages_read, 1)
