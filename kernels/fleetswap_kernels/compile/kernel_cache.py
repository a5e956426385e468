"""Cache of compiled kernels: which folder it is, and why; compiling goes on where nothing can be written.

Numba's cache index does not see edits in callee modules, so the folder carries a hash of all kernel sources in its
name. This leans on Numba's internals: its own caches give up where they cannot write, even if all is there to read.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import numba
from platformdirs import user_cache_path

VARIABLE = "FLEETSWAP_CACHE_DIR"
"""The environment variable that names the folder."""


PATIENCE_S = 60.0
"""Seconds that a process waits for another one to compile before it says so."""


@dataclass(frozen=True)
class CacheFolder:
    """Where compiled kernels are kept.

    Parameters
    ----------
    path : Path
        Of exactly these kernel sources.
    why : str
        What chose it.
    """

    path: Path
    why: str


def cache_dir() -> Path:
    """Folder of the compiled entry points of exactly these kernel sources."""
    return cache_folder().path


@cache
def cache_folder() -> CacheFolder:
    """The folder that `VARIABLE` names, else the user's; a temporary one if it can neither be written nor has kernels.

    Processes that this one starts find the same one.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    package = Path(__file__).parents[1]
    for source in sorted(package.rglob("*.py")):
        digest.update(str(source.relative_to(package)).encode() + b"\0" + source.read_bytes())
    name = f"kernels-{digest.hexdigest()[:16]}"
    root = os.environ.get(VARIABLE)
    wanted = (Path(root) if root else user_cache_path("fleetswap")) / name
    why = VARIABLE if root else f"the user's cache folder; {VARIABLE} names another"
    refusal = _refusal(wanted)
    if not refusal:
        return CacheFolder(wanted, why)
    if has_kernels(wanted):
        return CacheFolder(wanted, f"{why}; it cannot be written: {refusal}")
    problem = f"{wanted.parent} cannot be written: {refusal}"
    try:
        temporary = _temporary_folder()
    except OSError:
        return CacheFolder(wanted, f"{why}; neither it nor a temporary folder can be written: {refusal}")
    _tell(f"{problem}; compiled kernels go to {temporary}; {VARIABLE} names another folder")
    os.environ[VARIABLE] = str(temporary)
    return CacheFolder(temporary / name, f"temporary; {problem}")


def has_kernels(folder: Path) -> bool:
    """Whether a folder holds compiled kernels that can be read."""
    try:
        return any(os.access(path, os.R_OK) for path in folder.rglob("*.nbc"))
    except OSError:
        return False


def _refusal(folder: Path) -> str:
    """Why a file in a folder cannot be written; empty if it can be."""
    if not folder.is_absolute() and folder.parts[0] == "~":
        return "there is no home folder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))  # A full disk still makes empty files.
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _temporary_folder() -> Path:
    """A folder for this user alone: others must not hand it code to run."""
    folder = Path(tempfile.gettempdir()) / f"fleetswap-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o022:
        folder = Path(tempfile.mkdtemp(prefix="fleetswap-"))
    refusal = _refusal(folder)
    if refusal:
        raise OSError(refusal)
    return folder


@cache
def _tell(line: str) -> None:
    """Print a line on stderr, once."""
    print(f"fleetswap: {line}", file=sys.stderr)  # noqa: T201 (who runs kernels may have no command line)


class Turn:
    """The right to compile a kernel: one process of a machine has it, the others wait and load what it compiled.

    Parameters
    ----------
    path : Path
        The file that is locked meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.RLock()
        self._file: IO[str] | None = None
        self._depth = 0

    @contextlib.contextmanager
    def over(self) -> Iterator[None]:
        """What was taken inside is given back; other threads of this process wait outside."""
        with self._threads:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0 and self._file is not None:
                    # A process that was forked meanwhile has the file open too.
                    fcntl.flock(self._file, fcntl.LOCK_UN)
                    self._file.close()
                    self._file = None

    def take(self) -> None:
        """Wait for it; where no file can be written, each process compiles for itself."""
        if self._file is None:
            with contextlib.suppress(OSError):
                file = self._path.open("w")
                line = f"another process compiles {self._path.stem}, this one waits for it; {self._path} is locked"
                notice = threading.Timer(PATIENCE_S, _tell, [line])
                notice.daemon = True
                notice.start()
                try:
                    fcntl.flock(file, fcntl.LOCK_EX)
                finally:
                    notice.cancel()
                self._file = file


def with_cache(dispatcher: Any, folder: Path, caching: Any, config: Any) -> Any:
    """A dispatcher of Numba's, for the CPU or CUDA, that reads from a folder what it can and writes if it can.

    Parameters
    ----------
    dispatcher : Dispatcher or function
        A function stays as it is: nothing is compiled.
    folder : Path
    caching : type
        The class of its cache.
    config : module
        Its settings.
    """
    if not hasattr(dispatcher, "_cache"):
        return dispatcher
    implementation, compile_now = caching._impl_class, dispatcher.compile
    turn = Turn(folder / f"{dispatcher.py_func.__qualname__}.compiling")
    locator = type("_Locator", (implementation._locator_classes[0],), {"ensure_cache_path": _make})

    class Forgiving(caching):  # type: ignore[misc]
        _impl_class = type("_Implementation", (implementation,), {"_locator_classes": [locator]})

        def load_overload(self, *arguments: Any) -> Any:
            with contextlib.suppress(OSError):
                found = super().load_overload(*arguments)
                if found is None:
                    turn.take()
                    found = super().load_overload(*arguments)
                return found

        def save_overload(self, *arguments: Any) -> None:
            try:
                super().save_overload(*arguments)
            except OSError as error:
                _tell(f"{folder}: compiled kernels cannot be kept: {error.strerror or error}; {VARIABLE} names another")

    def compile_in_turn(signature: Any) -> Any:
        with turn.over():
            return compile_now(signature)

    dispatcher.compile = compile_in_turn
    previous = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        dispatcher._cache = Forgiving(dispatcher.py_func)
    finally:
        config.CACHE_DIR = previous
    return dispatcher


def _make(locator: Any) -> None:
    """Make the folder of a cache, if possible: else reading finds nothing, and writing tells why."""
    with contextlib.suppress(OSError):
        Path(locator.get_cache_path()).mkdir(parents=True, exist_ok=True)
