"""Storage of a run directory: named objects, written whole or not at all, on a disk or in an object store."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fleetswap_kernels.backend.extras import PIP_INSTALL

from ..errors import InputError
from ..staging import flush

# gcsfs logs a traceback of what it raises, and Python prints what no handler takes: a refusal is one line.
logging.getLogger("gcsfs").addHandler(logging.NullHandler())


PARTIAL = f".*.{'[0-9a-f]' * 32}"
"""Names of files that are being written (`_file_beside`)."""


class StorageError(InputError):
    """The storage refuses: full, gone, or not allowed. The message names it and says what to do."""


class FullStorageError(StorageError):
    """No space is left."""


class Storage:
    """Objects below one folder.

    An object appears under its name whole or not at all: on a disk it is written under another name and renamed, in an
    object store a put is atomic. What was written is not trusted all the same: a power cut can lose the end of a file,
    so whoever writes something that matters records its checksum (`ledger`).

    Parameters
    ----------
    url : str
        A path, or what fsspec opens: ``s3://bucket/run``, ``gs://bucket/run``, ``memory://run``. Credentials and
        endpoints come from the environment, as for every program that uses fsspec.

    Raises
    ------
    StorageError
        If no installed package knows the protocol.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        from fsspec.core import url_to_fs

        text = os.fspath(url)
        try:
            # Another machine writes at the same time: no listing may be remembered.
            self._fs, root = url_to_fs(text, use_listings_cache=False)
        except ImportError as error:
            # fsspec tells it in words of its own, and keeps what Python said.
            name = getattr(error.__cause__, "name", None)
            reason = f"the package {name} is not installed: {PIP_INSTALL} {name}" if name else error
            raise StorageError(f"{text}: cannot be opened: {reason}") from None
        except ValueError:
            allowed = "a path, s3://BUCKET/PATH, gs://BUCKET/PATH, or another address that fsspec knows"
            raise StorageError(f"{text}: is not possible; allowed are {allowed}") from None
        self._root = root.rstrip("/")
        self.is_local = "file" in ([self._fs.protocol] if isinstance(self._fs.protocol, str) else self._fs.protocol)
        self.url = self._root if self.is_local else text.rstrip("/")
        self.guard: Callable[[], None] | None = None
        """Called before anything is changed, to refuse it (`lock`)."""

    def __repr__(self) -> str:
        return f"Storage({self.url!r})"

    def put(self, name: str, content: bytes) -> None:
        """Write an object; one of that name is replaced.

        Raises
        ------
        StorageError
        """
        with self.refusals():
            if not self.is_local:
                self._fs.pipe_file(self._at(name), content)
                return
            with _file_beside(self.path(name), content) as new:
                new.replace(self.path(name))

    def create(self, name: str, content: bytes) -> bool:
        """Write an object if there is none of that name; whether there was none. Only one of two who try succeeds.

        Raises
        ------
        StorageError
        """
        with self.refusals():
            try:
                if not self.is_local:
                    self._fs.makedirs(self._at(name).rpartition("/")[0], exist_ok=True)
                    self._fs.pipe_file(self._at(name), content, mode="create")
                    return True
                # Not fsspec's way, which opens the name and then writes: who is killed meanwhile leaves half a file.
                with _file_beside(self.path(name), content) as new:
                    flush(new)
                    _name_first(new, self.path(name))
            except FileExistsError:
                return False
        return True

    def take(self, path: Path, name: str) -> None:
        """Move a whole file from the disk here.

        Raises
        ------
        StorageError
        """
        with self.refusals():
            if self.is_local:
                path.replace(self._at(name))
            else:
                self._fs.put_file(str(path), self._at(name))

    def get(self, name: str) -> bytes | None:
        """Content of an object; None without one.

        Raises
        ------
        StorageError
        """
        with self.refusals("read"):
            try:
                content: bytes = self._fs.cat_file(self._at(name))
            except FileNotFoundError:
                return None
        return content

    def names(self, folder: str) -> list[str]:
        """Names of all objects below a folder, sorted; none if it does not exist.

        Raises
        ------
        StorageError
        """
        with self.refusals("read"):
            try:
                paths = self._fs.find(self._at(folder))
            except FileNotFoundError:  # Of a bucket, some packages tell it so.
                return []
        names = (path.removeprefix(f"{self._root}/") for path in paths)
        return sorted(name for name in names if not name.rpartition("/")[2].startswith("."))

    def is_empty(self, but: str = "") -> bool:
        """Whether nothing is below the folder, or it does not exist.

        Parameters
        ----------
        but : str
            Name directly below that does not count.

        Raises
        ------
        StorageError
        """
        with self.refusals("read"):
            if not self._fs.exists(self._root):
                return True
            names = (str(path).rstrip("/").rpartition("/")[2] for path in self._fs.ls(self._root, detail=False))
            return all(name == but for name in names)

    def remove(self, name: str = "") -> None:
        """Remove an object, or a folder with all that is in it.

        Raises
        ------
        StorageError
        """
        with self.refusals(), contextlib.suppress(FileNotFoundError):
            self._fs.rm(self._at(name), recursive=True)

    def drop_empty(self, folder: str = "") -> None:
        """Remove a folder in which nothing is, or only what a killed driver was writing; buckets stay."""
        if self.is_local:
            for partial in self.path(folder).glob(PARTIAL):
                partial.unlink(missing_ok=True)
        if "/" in self._at(folder).strip("/"):
            with contextlib.suppress(OSError, NotImplementedError):
                self._fs.rmdir(self._at(folder))

    def path(self, name: str) -> Path:
        """Where an object lies; only for storage on a disk."""
        return Path(self._at(name))

    @contextlib.contextmanager
    def refusals(self, action: str = "written") -> Iterator[None]:
        """Tell in one line what the storage does not do.

        Parameters
        ----------
        action : str
            What it cannot be.

        Raises
        ------
        StorageError
            For every OSError, and for whatever an object store's package raises, which has errors of its own; of a
            disk any other error is a bug. FullStorageError if there is no space.
        """
        if self.guard and action == "written":
            self.guard()
        try:
            yield
        except OSError as error:
            raise self.refusal(error, action) from None
        except Exception as error:  # of any class: botocore's, aiohttp's, google.auth's have no base in common
            if self.is_local:
                raise
            raise StorageError(f"{self.url}: cannot be {action}: {error}") from error

    def refusal(self, error: OSError, action: str = "written") -> StorageError:
        """What is told of an error that the operating system or an object store's package gave."""
        kind = FullStorageError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
        # Object stores' errors may hold no more than an address.
        reason = error.strerror or f"{type(error).__name__}: {error}"
        return kind(f"{self.url}: cannot be {action}: {reason}")

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root


@contextlib.contextmanager
def _file_beside(path: Path, content: bytes) -> Iterator[Path]:
    """A file of this content under another name, which is gone at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        new.write_bytes(content)
        yield new
    finally:
        with contextlib.suppress(OSError):
            new.unlink()


def _name_first(new: Path, path: Path) -> None:
    """Give a file a name that no other has.

    Raises
    ------
    FileExistsError
    """
    try:
        os.link(new, path)
    except FileExistsError:
        raise
    except OSError:
        # Some file systems have no links; there the lock of the run directory keeps others out.
        if path.exists():
            raise FileExistsError(path) from None
        new.replace(path)


def as_json(content: Any) -> bytes:
    """A document as this package writes it."""
    import json

    return (json.dumps(content, indent=1) + "\n").encode()
