"""Pages of files and processes: what is found, which regions are taken, what is read."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from fleetswap.calibrate import source as page_source
from fleetswap.calibrate.source import Extent, open_source, read_runs, sample_regions
from fleetswap.errors import InputError

PAGE = 4096


def _numbered(pages: int) -> bytes:
    """Pages that begin with their own number."""
    content = np.zeros((pages, PAGE // 8), dtype=np.uint64)
    content[:, 0] = np.arange(pages)
    return content.tobytes()


def test_dump(tmp_path: Path) -> None:
    dump = tmp_path / "memory.raw"
    dump.write_bytes(_numbered(1030))
    source = open_source(dump, (), None)
    assert (source.kind, source.names) == ("dump", ("memory.raw",))
    assert source.extents == (Extent(0, 0, 1030),)
    runs = read_runs(source, sample_regions(source.extents, 256))
    assert [(run.first, len(run.pages)) for run in runs] == [(0, 512), (512, 512), (1024, 6)]
    assert [run.pages.view(np.uint64)[-1, 0] for run in runs] == [511, 1023, 1029]


def test_files_of_a_folder_are_no_neighbours(tmp_path: Path) -> None:
    for name, pages in (("b", 3), ("a", 2)):
        (tmp_path / name).write_bytes(_numbered(pages))
    source = open_source(None, (), tmp_path)
    assert source.extents == (Extent(0, 0, 2), Extent(1, 0, 3))
    assert source.names == (tmp_path.name,)
    runs = read_runs(source, sample_regions(source.extents, 256))
    assert [(run.space, run.first, len(run.pages)) for run in runs] == [(0, 0, 2), (1, 0, 3)]


def test_regions_are_taken_whole_and_the_same_every_time() -> None:
    extents = [Extent(0, 100, 5000), Extent(1, 7, 300), Extent(1, 400, 2000)]
    taken = {mib: sample_regions(extents, mib) for mib in (2, 8, 16, 256)}
    assert taken[8] == sample_regions(reversed(extents), 8)
    for mib, chosen in taken.items():
        assert sum(extent.pages for extent in chosen) <= mib * 256
        regions = {(e.space, e.first // 512) for e in chosen}
        for extent in taken[256]:  # Everything: 7300 pages are less than 256 MiB.
            assert (extent in chosen) == ((extent.space, extent.first // 512) in regions)
    assert sum(extent.pages for extent in taken[256]) == 7300
    assert set(taken[2]) < set(taken[8]) < set(taken[16]) < set(taken[256])
    assert Extent(1, 7, 300) in taken[256]  # The hole from 307 to 399 parts a region in two.
    assert Extent(1, 400, 112) in taken[256]


def test_a_file_that_becomes_shorter(tmp_path: Path) -> None:
    dump = tmp_path / "memory.raw"
    dump.write_bytes(_numbered(20))
    source = open_source(dump, (), None)
    os.truncate(dump, 19 * PAGE)
    with pytest.raises(InputError, match=r"memory\.raw: became shorter while it was read"):
        read_runs(source, source.extents)


def test_own_memory() -> None:
    if not os.access("/proc/self/pagemap", os.R_OK):
        pytest.skip("/proc/self/pagemap is not readable here")
    pages = 40
    private = mmap.mmap(-1, pages * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    shared = mmap.mmap(-1, pages * PAGE, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        private.madvise(mmap.MADV_NOHUGEPAGE)  # or all of it could get memory at once
    holes = {0, 5, 6}
    read_only = 20
    for page in range(pages):
        shared[page * PAGE] = 1
        if page == read_only:
            assert private[page * PAGE] == 0  # maps the kernel's zero page
        elif page not in holes:
            private[page * PAGE : page * PAGE + 8] = page.to_bytes(8, "little")
    first = ctypes.addressof(ctypes.c_char.from_buffer(private)) // PAGE
    first_shared = ctypes.addressof(ctypes.c_char.from_buffer(shared)) // PAGE

    source = open_source(None, (os.getpid(),), None)
    there = {extent.first + i for extent in source.extents for i in range(extent.pages)}
    expected = set(range(pages)) - holes
    if not source.notes:  # else the zero page cannot be told apart
        expected.remove(read_only)
    assert {page - first for page in there if first <= page < first + pages} == expected
    assert not any(first_shared <= page < first_shared + pages for page in there)

    (inside,) = [e for e in source.extents if e.first <= first + 7 < e.first + e.pages]
    assert inside.first == first + 7
    (run,) = read_runs(source, [Extent(0, inside.first, 10)])
    assert run.first == first + 7
    assert run.pages.view(np.uint64)[:, 0].tolist() == list(range(7, 17))


def test_pages_that_go_away_end_a_run() -> None:
    if not os.access("/proc/self/pagemap", os.R_OK):
        pytest.skip("/proc/self/pagemap is not readable here")
    source = open_source(None, (os.getpid(),), None)
    buffer = mmap.mmap(-1, 4 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    buffer[:] = b"x" * len(buffer)
    view = ctypes.c_char.from_buffer(buffer)
    address = ctypes.addressof(view)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(address + PAGE), PAGE, 0) == 0  # 0 is PROT_NONE: it cannot be read
    try:
        runs = read_runs(source, [Extent(0, address // PAGE, 4)])
    finally:
        libc.mprotect(ctypes.c_void_p(address + PAGE), PAGE, 3)
    found = {run.first + i - address // PAGE for run in runs for i in range(len(run.pages))}
    assert found in ({0, 2, 3}, {0, 1, 2, 3})  # ptrace may read what the process itself may not
    assert all((run.pages == ord("x")).all() for run in runs)


def test_the_zero_page_needs_frames() -> None:
    hidden = np.full(3, 1 << 63, dtype=np.uint64)  # what pagemap gives without CAP_SYS_ADMIN: no frame
    kept, told = page_source._without_zero_page(hidden)
    assert (kept.all(), told) == (True, False)


BAD_FILES = [(b"", "has 0 bytes"), (b"x" * 4095, "has 4095 bytes"), (b"x" * 8193, "has 8193 bytes")]


@pytest.mark.parametrize(("content", "said"), BAD_FILES)
def test_bad_files(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    for option, source in (("--dump", (path, (), None)), ("--pages", (None, (), tmp_path))):
        with pytest.raises(InputError) as caught:
            open_source(*source)
        assert str(caught.value) == f"{option} {path}: {said}; allowed are positive multiples of 4096"


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    absent = tmp_path / "absent"
    for source, said in (
        ((absent, (), None), f"--dump {absent}: cannot be read: {os.strerror(errno.ENOENT)}"),
        ((tmp_path, (), None), f"--dump {tmp_path}: is not a regular file"),
        ((tmp_path / "pipe", (), None), "pipe: is not a regular file"),
        ((None, (), absent), f"--pages {absent}: cannot be read: {os.strerror(errno.ENOENT)}"),
        ((None, (), tmp_path / "empty"), "empty: the folder is empty"),
        ((None, (), tmp_path), f"--pages {tmp_path / 'empty'}: is not a regular file"),
    ):
        with pytest.raises(InputError) as caught:
            open_source(*source)
        assert said in str(caught.value)


def test_bad_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = 2**31 - 1  # beyond the largest possible pid_max, 2^22
    with pytest.raises(InputError, match=f"--pid {absent}: there is no such process"):
        open_source(None, (absent,), None)
    with pytest.raises(InputError, match="--pid 7: is given twice"):
        open_source(None, (7, 8, 7), None)

    def without_memory(_folder: Path) -> None:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), "/proc/1/pagemap")

    monkeypatch.setattr(page_source, "_anonymous_pages", without_memory)  # as for a thread of the kernel
    with pytest.raises(InputError, match="--pid 1: has no memory of its own"):
        open_source(None, (1,), None)

    def refuse(_folder: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/proc/1/pagemap")

    monkeypatch.setattr(page_source, "_anonymous_pages", refuse)
    with pytest.raises(InputError, match=r"--pid 1: its memory may not be read \(.*\); allowed are processes you may"):
        open_source(None, (1,), None)
    monkeypatch.setattr(page_source.os, "sysconf", lambda _name: 16384)
    with pytest.raises(InputError, match="--pid 1: pages of this machine have 16384 bytes; allowed are 4096"):
        open_source(None, (1,), None)
