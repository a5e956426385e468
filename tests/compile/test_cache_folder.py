"""Compiled kernels are kept where it is possible, read where they are, and missed by nobody where nothing can be kept.

Programs of their own compile a small kernel: what they tell is where it is, and whether it was compiled or loaded.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fleetswap_kernels.compile import kernel_cache
from tests.cluster.programs import FLEETSWAP, run_words

KERNEL = """
import sys
from fleetswap_kernels.compile.decorators import cache_dir, entry
@entry
def doubled(x): return 2 * x
assert doubled(int(sys.argv[1])) == 2 * int(sys.argv[1])
print(cache_dir(), sum(doubled.stats.cache_misses.values()), sum(doubled.stats.cache_hits.values()))
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user can read, unlike pytest's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def call(place: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program; its temporary folder and its home are in a place, unless told otherwise."""
    kept = {k: v for k, v in os.environ.items() if k not in ("FLEETSWAP_CACHE_DIR", "XDG_CACHE_HOME", "HOME")}
    own = {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path), "TMPDIR": str(place / "tmp")}
    (place / "tmp").mkdir(exist_ok=True)
    (place / "file").touch()
    return subprocess.run(
        words,
        env={**kept, **own, "HOME": str(place / "home"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def compiled(
    place: Path, limit: str = "", before: tuple[str, ...] = (), **environment: str
) -> tuple[Path, tuple[int, int], list[str]]:
    """Where a kernel is, how often it was compiled and loaded, and the lines on stderr."""
    (place / "kernel.py").write_text(KERNEL)
    program = f"import runpy, resource, os\n{limit}\nrunpy.run_path({str(place / 'kernel.py')!r}, run_name='__main__')"
    done = call(place, *before, sys.executable, "-c", program, "21", **environment)
    assert done.returncode == 0, done.stderr
    folder, *counts = done.stdout.split()
    return Path(folder), (int(counts[0]), int(counts[1])), done.stderr.splitlines()


def test_the_home_of_the_user(place: Path) -> None:
    folder, counts, told = compiled(place)
    assert (folder.parent, counts, told) == (place / "home/.cache/fleetswap", (1, 0), [])
    assert compiled(place) == (folder, (0, 1), [])


@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": "/dev/null/home"},
        {"FLEETSWAP_CACHE_DIR": "/dev/null/cache"},
        {"FLEETSWAP_CACHE_DIR": "{place}/file"},
        {"FLEETSWAP_CACHE_DIR": "{place}/file/below"},
        {"FLEETSWAP_CACHE_DIR": "/proc/cache"},
    ],
    ids=str,
)
def test_a_folder_that_cannot_be_written_is_replaced(place: Path, environment: dict[str, str]) -> None:
    environment = {name: value.format(place=place) for name, value in environment.items()}
    folder, counts, told = compiled(place, **environment)
    assert folder.parent == place / f"tmp/fleetswap-{os.getuid()}"
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert counts == (1, 0)
    (line,) = told
    assert line.startswith("fleetswap: ")
    assert str(folder.parent) in line
    assert "FLEETSWAP_CACHE_DIR" in line
    assert next(iter(environment.values())) in line
    # The next program finds what this one compiled, and again says where.
    assert compiled(place, **environment) == (folder, (0, 1), told)


WAITING = """
import fcntl, os, sys
from fleetswap_kernels.compile.decorators import cache_dir
cache_dir().mkdir(parents=True, exist_ok=True)
held = (cache_dir() / "doubled.compiling").open("w")
fcntl.flock(held, fcntl.LOCK_EX)
print(os.fstat(held.fileno()).st_ino, flush=True)
sys.stdin.readline()
"""


def test_processes_that_start_together_compile_once(place: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: compiled(place), range(3)))
    assert sorted(counts for _, counts, _ in found) == [(0, 1), (0, 1), (1, 0)]


def wait_for_waiter(inode: int, waiting: Future[Any]) -> None:
    """Until a process waits for the lock of a file; who waits stands behind an arrow."""

    def waits() -> bool:
        return any("->" in line and f":{inode} " in line for line in Path("/proc/locks").read_text().splitlines())

    while not waits() and not waiting.done():
        time.sleep(0.02)
    assert not waiting.done()


def test_who_waits_to_compile_goes_on_when_the_other_ends(place: Path) -> None:
    environment = {"HOME": str(place / "home"), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        inode = int(other.stdout.readline())
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(compiled, place)
            wait_for_waiter(inode, waiting)
            other.kill()
            assert waiting.result()[1] == (1, 0)


def test_who_waited_loads_what_the_other_compiled(place: Path) -> None:
    folder, counts, _ = compiled(place)
    assert counts == (1, 0)
    kept = {path: path.read_bytes() for path in folder.rglob("*.nb?")}
    for path in kept:
        path.unlink()
    with (folder / "doubled.compiling").open("w") as held, ThreadPoolExecutor(1) as pool:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = pool.submit(compiled, place)
        wait_for_waiter(os.fstat(held.fileno()).st_ino, waiting)
        for path, content in kept.items():
            path.write_bytes(content)
        fcntl.flock(held, fcntl.LOCK_UN)
        assert waiting.result()[1] == (0, 1)


def test_threads_of_a_process_take_turns(tmp_path: Path) -> None:
    turn, inside, most = kernel_cache.Turn(tmp_path / "turn"), [], []

    def compile_something(_: int) -> None:
        with turn.over():
            turn.take()
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(compile_something, range(8)))
    assert max(most) == 1


def test_a_forked_process_does_not_keep_the_turn(tmp_path: Path) -> None:
    turn = kernel_cache.Turn(tmp_path / "turn")
    with turn.over():
        turn.take()
        copy = os.dup(turn._file.fileno())  # as a fork has it
    try:
        with (tmp_path / "turn").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(copy)


BROKEN = """
from numba.core.errors import TypingError
from fleetswap_kernels.compile.decorators import cache_dir, entry
@entry
def broken(x): return x.nothing
for _ in range(2):
    try: broken(1)
    except TypingError: pass
import fcntl
with (cache_dir() / "broken.compiling").open("w") as file: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("free")
"""


def test_nobody_waits_for_what_could_not_be_compiled(place: Path) -> None:
    (place / "broken.py").write_text(BROKEN)
    done = call(place, sys.executable, str(place / "broken.py"))
    assert (done.stdout, done.stderr) == ("free\n", "")


def test_nothing_can_be_written_at_all(place: Path) -> None:
    """As in a container whose file system is read-only: every start compiles, and says so once."""
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    for _ in range(2):
        _, counts, told = compiled(place, limit)
        assert counts == (1, 0)
        (line,) = told
        assert "kept" in line
        assert os.strerror(errno.EFBIG) in line


def test_a_disk_that_is_full_in_the_middle(place: Path) -> None:
    """An empty file and a small one can still be made."""
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    folder, counts, told = compiled(place, limit)
    assert (folder.parent, counts) == (place / "home/.cache/fleetswap", (1, 0))
    (line,) = told
    assert f"{folder}: compiled kernels cannot be kept: {os.strerror(errno.EFBIG)}" in line


def test_a_full_disk_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLEETSWAP_CACHE_DIR", str(tmp_path / "no-space"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make = tempfile.TemporaryFile

    def full(**words: Path) -> object:
        if "no-space" in str(words["dir"]):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return make(**words)

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    folder = kernel_cache.cache_folder.__wrapped__()
    assert folder.path.parent == tmp_path / f"fleetswap-{os.getuid()}"
    assert os.strerror(errno.ENOSPC) in folder.why
    assert os.strerror(errno.ENOSPC) in capsys.readouterr().err


def test_a_cache_that_can_only_be_read_is_used(place: Path) -> None:
    environment = {"FLEETSWAP_CACHE_DIR": str(place / "cache")}
    folder, _, _ = compiled(place, **environment)
    for path in [*(place / "cache").rglob("*"), place / "cache"]:
        path.chmod(path.stat().st_mode & 0o555 | (0o555 if path.is_dir() else 0o444))
    # Root may write everywhere, unless it gives that up.
    before = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.getuid() == 0 else ()
    assert compiled(place, before=before, **environment) == (folder, (0, 1), [])


def test_a_temporary_folder_of_another_is_not_trusted(place: Path) -> None:
    theirs = place / f"tmp/fleetswap-{os.getuid()}"
    theirs.mkdir(parents=True)
    theirs.chmod(0o777)
    folder, counts, _ = compiled(place, FLEETSWAP_CACHE_DIR="/dev/null/cache")
    assert counts == (1, 0)
    assert folder.parent != theirs
    assert folder.parent.parent == place / "tmp"
    assert list(theirs.iterdir()) == []


def test_a_run_and_its_workers_share_a_temporary_cache(place: Path) -> None:
    """One line in all, of the driver; its doctor says where, and why."""
    ours = kernel_cache.cache_dir()
    shutil.copytree(ours, place / f"tmp/fleetswap-{os.getuid()}" / ours.name)
    (place / f"tmp/fleetswap-{os.getuid()}").chmod(0o700)
    environment = {"HOME": "/dev/null/home"}
    for cluster in ([], ["--cluster", "local", "--workers", "2"]):
        done = call(place, *FLEETSWAP, *run_words(place / f"run{len(cluster)}", *cluster), **environment)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("compiled kernels go to") == 1
        # Of all lines one is about the home that cannot be written; no library tells of it too.
        assert done.stderr.count("/dev/null/home") == 1
        assert "atplotlib" not in done.stderr
        assert "Traceback" not in done.stderr
    told = call(place, *FLEETSWAP, "doctor", **environment)
    assert f"{place / 'tmp'}/fleetswap-{os.getuid()}/{ours.name} (compiled)" in told.stdout
    assert "temporary; /dev/null/home/.cache/fleetswap cannot be written: Not a directory" in told.stdout
