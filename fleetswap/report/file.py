"""The file of a report, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from ..staging import staged_file


def write_report(path: Path, html: str) -> None:
    """Write a report; a file of that name is replaced at the end, or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    with staged_file(path) as partial:
        partial.write_bytes(html.encode("utf-8", "xmlcharrefreplace"))
