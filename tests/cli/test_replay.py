"""`fleetswap replay` prints what the real kernel's replayer wrote, and starts as a module."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fleetswap
from fleetswap.cli import COMMANDS, main
from fleetswap.conformance.difference import NOT_COMPARABLE
from fleetswap.script.language import parse_script
from fleetswap.script.program import compile_script

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests/conformance/corpus"


def _comparable(line: str, forked: bool) -> str:
    """A dump as text, its keys in their order, without what cannot be compared."""
    dump: dict[str, Any] = json.loads(line)
    for name in NOT_COMPARABLE:
        dump["vmstat"].pop(name, None)
    if forked:
        dump["ops"] = [[line, error, *rest] for line, error, _, *rest in dump["ops"]]
    return json.dumps(dump, separators=(",", ":"))


def _recorded(name: str) -> list[str]:
    return gzip.decompress((CORPUS / f"{name}.jsonl.gz").read_bytes()).decode().splitlines()


def _module(*words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(ROOT / folder) for folder in ("", "kernels", "cluster"))
    command = [sys.executable, "-m", "fleetswap", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})


@pytest.mark.parametrize(
    "name", ["t02_one64k", "t25_unmap", "p04_interleave", "p05_fork_tree", "c01_cpus", "r00_tiny", "z01_mem_limit"]
)
def test_dumps_are_the_recorded_ones(capsys: pytest.CaptureFixture[str], name: str) -> None:
    script = CORPUS / f"{name}.ops"
    assert main(["replay", str(script)]) == 0
    out, err = capsys.readouterr()
    forked = "fork " in script.read_text()
    assert [_comparable(line, forked) for line in out.splitlines()] == [_comparable(x, forked) for x in _recorded(name)]
    assert err == ""


def test_regions_stand_in_the_order_of_their_addresses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A region that is mapped later takes the lowest free address, as the replayer's does.
    script = tmp_path / "order.ops"
    script.write_text(
        "cfg zram 4M lz4\nmap A 4 4 hugepage\nmap B 4 4 hugepage\nunmap A\nmap C 4 4 hugepage\nfork 1\ndump x\n"
    )
    assert main(["replay", str(script)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    processes = json.loads(line)["procs"]
    assert {name: list(process["regions"]) for name, process in processes.items()} == {"0": ["C", "B"], "1": ["C", "B"]}
    assert processes["0"]["regions"]["C"]["vpn"] == (1 << 32) + 16


def test_numbers_are_read_as_in_c(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "numbers.ops"
    script.write_text("cfg zram 0x400K lz4\nmap A 020 4 hugepage\nwrite A 0xa 1 fill:0x11\ndump x\nread A 012 1\n")
    assert main(["replay", str(script)]) == 0
    dump = json.loads(capsys.readouterr().out)
    assert dump["procs"]["0"]["regions"]["A"]["runs"] == [["n", 0, 10], ["p", 10, 1, 0, 0, "x"], ["n", 11, 5]]
    assert dump["kernel"]["max"] == 256


def test_module() -> None:
    done = _module("replay", str(CORPUS / "t02_one64k.ops"))
    assert (done.returncode, done.stderr) == (0, "")
    recorded = [json.loads(line) for line in _recorded("t02_one64k")]
    assert [json.loads(line) for line in done.stdout.splitlines()] == recorded


def test_help() -> None:
    for words in ([], ["--help"]):
        done = _module(*words)
        assert done.returncode == 0
        assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert _module("--version").stdout.split()[-1] == fleetswap.__version__


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main([name, "--help"]) == 0
    assert f"Usage: fleetswap {name}" in capsys.readouterr().out


def test_a_process_may_end_with_its_first_operation() -> None:
    # Its record must exist although no operation after it needs one: with one too few, `exit` wrote past the array.
    compiled = compile_script(parse_script("cfg zram 4M lz4\nmap A 184 8 hugepage\n@1 exit\ndump end\n"))
    assert compiled.blueprint.sizes.procs == 2
