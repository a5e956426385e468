"""A report is written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fleetswap.errors import InputError
from fleetswap.report.file import write_report


def test_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    write_report(path, "caf\u00e9 \ud800")
    assert path.read_text(encoding="utf-8") == "caf\u00e9 &#55296;"
    write_report(path, "second")
    assert path.read_text(encoding="utf-8") == "second"
    assert list(tmp_path.iterdir()) == [path]

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"report\.html: cannot be written: No space left on device"):
        write_report(path, "third")
    assert path.read_text(encoding="utf-8") == "second"
    with pytest.raises(InputError):
        write_report(tmp_path / "new.html", "third")
    assert list(tmp_path.iterdir()) == [path]

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path / "new.html", "third")
    assert list(tmp_path.iterdir()) == [path]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing" / "r.html", tmp_path / "file" / "r.html", tmp_path / "folder"):
        with pytest.raises(InputError, match="cannot be written: "):
            write_report(path, "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
