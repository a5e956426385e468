"""The file of a report, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InputError


def write_report(path: Path, html: str) -> None:
    """Write a report; a file of that name is replaced at the end, or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(html.encode("utf-8", "xmlcharrefreplace"))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        # A name that nothing could be written to, such as one below a file, needs no cleaning.
        if partial.is_file():
            partial.unlink()
