"""Random programs leave the same bytes behind, compiled and interpreted, and on the simulator."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from random import Random

import pytest

from tests.parity.test_targets import hashes
from tests.properties.programs import random_script


def write_scripts(folder: Path, share: int, n: int, operations: int) -> list[Path]:
    paths = [folder / f"random{i}.ops" for i in range(n)]
    for i, path in enumerate(paths):
        path.write_text(random_script(Random(f"parity {share} {i}"), operations))  # noqa: S311 (no secrets here)
    return paths


@pytest.mark.parametrize("share", range(4))
def test_interpreted_equals_compiled(share: int, tmp_path: Path) -> None:
    scripts = write_scripts(tmp_path, share, 10, 14)
    expected = hashes("compiled", tmp_path, scripts)
    assert len(set(expected.values())) == len(scripts)
    assert hashes("interpreted", tmp_path, scripts) == expected


@pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda, the simulator, is not installed"
)
def test_simulator_equals_compiled(tmp_path: Path) -> None:
    scripts = write_scripts(tmp_path, 99, 5, 12)
    expected = hashes("compiled", tmp_path, scripts)
    assert hashes("simulator", tmp_path, scripts) == expected
