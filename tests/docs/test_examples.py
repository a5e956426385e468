"""The examples of the documentation run as they are, from any folder, and leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "docs" / "examples").glob("*.py"))


def test_there_are_four() -> None:
    assert [path.name[:2] for path in EXAMPLES] == ["01", "02", "03", "04"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_prose_and_code_in_cells(path: Path) -> None:
    cells = path.read_text(encoding="utf-8").split("# %%")[1:]
    prose = [cell for cell in cells if cell.startswith(" [markdown]\n")]
    assert len(prose) >= 3
    for cell in prose:
        assert all(line.startswith("#") for line in cell.splitlines()[1:] if line)
