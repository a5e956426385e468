"""Staging: a file or folder appears under its name whole, on the disk to stay, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError


@contextlib.contextmanager
def staged_folder(folder: Path, option: str = "") -> Iterator[Path]:
    """An empty folder beside the one that is to be; it gets that name at the end, if nothing was raised.

    Parameters
    ----------
    folder : Path
        What must not exist yet.
    option : str
        What errors put before its name.

    Raises
    ------
    InputError
        If it exists, or nothing can be written there.
    """
    if folder.exists():
        raise InputError(f"{option}{folder}: exists already; name a folder that does not")
    with _staged(folder) as partial:
        partial.mkdir(parents=True)
        yield partial


@contextlib.contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """The name of a file beside the one that is to be, which it replaces at the end, if nothing was raised.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    with _staged(path) as partial:
        yield partial


@contextlib.contextmanager
def _staged(path: Path) -> Iterator[Path]:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        remove(partial)
        yield partial
        flush(partial)
        partial.replace(path)
        _flush_one(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            remove(partial)


def flush(path: Path) -> None:
    """Wait until a file, or a folder with all that is in it, is on the disk.

    Raises
    ------
    OSError
    """
    for inner in path.iterdir() if path.is_dir() else ():
        flush(inner)
    _flush_one(path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there.

    Raises
    ------
    OSError
    """
    if path.is_dir():
        shutil.rmtree(path)
    elif path.is_file():
        path.unlink()


def _flush_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
