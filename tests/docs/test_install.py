"""What is told to be installed can be: every extra exists, and nothing is said to come from an index that lacks it."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from fleetswap_kernels.backend import extras

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
TOLD = [
    path
    for room in ("README.md", "CONTRIBUTING.md", "Makefile", "docs", "fleetswap", "kernels", "cluster")
    for path in ([ROOT / room] if (ROOT / room).is_file() else (ROOT / room).rglob("*"))
    if path.suffix in {"", ".md", ".py", ".sh", ".yaml", ".toml", ".j2"} and path.is_file()
]
COMMAND = re.compile(r"(?:pip|PIP\)) install[^`\n|&;]*|\$\(PIP\)[^\n]*")
OWN = re.compile(r"(?<![\w/.-])fleetswap(?![\w/-])")
NAMED = re.compile(r"(?:\.|/source)\[([\w,$()]+)\]|install_command\(.([\w]+).\)")


def commands() -> list[tuple[str, str]]:
    """Where something is told to be installed, and how."""
    return [
        (str(path.relative_to(ROOT)), match[0])
        for path in TOLD
        for match in COMMAND.finditer(path.read_text(encoding="utf-8"))
    ]


def test_nothing_of_ours_comes_from_an_index() -> None:
    found = commands()
    assert {"README.md", "docs/cluster.md", "docs/gpu.md", "cluster/recipes/Dockerfile"} <= {
        where for where, _ in found
    }
    assert [(where, command) for where, command in found if OWN.search(command.partition(" in a clone")[0])] == []


def test_every_extra_exists() -> None:
    named = {
        extra.replace("$(CUDA)", "13")
        for path in TOLD
        for groups in NAMED.findall(path.read_text(encoding="utf-8"))
        for extra in ",".join(groups).split(",")
        if extra
    }
    assert {"calibrate", "cluster", "cuda12", "cuda13"} <= named
    assert named <= EXTRAS.keys()


def test_the_command_is_for_this_interpreter_and_this_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python, *words = shlex.split(extras.install_command("cluster"))
    assert (python, *words) == (sys.executable, "-m", "pip", "install", "-e", f"{ROOT}[cluster]")
    odd = tmp_path / "my [clone]"
    odd.mkdir()
    (odd / "pyproject.toml").touch()
    monkeypatch.setattr(extras, "CLONE", odd)
    assert shlex.split(extras.install_command("cluster"))[-1] == f"{odd}[cluster]"
    # What was installed from a clone does not know where that is.
    monkeypatch.setattr(extras, "CLONE", tmp_path)
    assert extras.install_command("cluster").endswith("-m pip install -e '.[cluster]' in a clone of fleetswap")
