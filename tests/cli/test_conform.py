"""`fleetswap conform`: which scripts it takes, its last line, its document and its exit code."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from fleetswap.cli import main

CORPUS = Path(__file__).parents[1] / "conformance/corpus"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four scripts of the corpus, one of them in a folder below."""
    (tmp_path / "below").mkdir()
    for name, where in (("t01_order0", ""), ("t02_one64k", ""), ("p02_fork_before_out", ""), ("r00_tiny", "below")):
        for suffix in (".ops", ".jsonl.gz"):
            shutil.copy(CORPUS / f"{name}{suffix}", tmp_path / where / f"{name}{suffix}")
    return tmp_path


def _tamper(recording: Path) -> None:
    text = (
        gzip.decompress(recording.read_bytes()).replace(b'"swapped":', b'"swopped":').replace(b"[512,16,", b"[512,15,")
    )
    recording.write_bytes(gzip.compress(text))


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_all_match(folder: Path, capsys: pytest.CaptureFixture[str], jobs: str) -> None:
    assert main(["conform", str(folder), "--jobs", jobs]) == 0
    out, err = capsys.readouterr()
    assert out == "4 of 4 scripts match\n"
    assert err == ""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_some_differ(folder: Path, capsys: pytest.CaptureFixture[str], jobs: str) -> None:
    script = folder / "t02_one64k.ops"
    _tamper(script.with_suffix(".jsonl.gz"))
    assert main(["conform", str(folder), "--jobs", jobs]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"{script}:10: dump 'out' differs",
        "  swap_map, slot 527: expected not recorded, got 1 reference (1)",
        "  dump 'faulted' (line 8) still matched; executed since:",
        "    9: pageout A 0 16",
        "3 of 4 scripts match",
    ]
    assert err == ""


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = folder / "t02_one64k.ops"
    _tamper(script.with_suffix(".jsonl.gz"))
    assert main(["conform", "--json", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == "3 of 4 scripts match"
    document = json.loads(out)
    assert (document["scripts"], document["matching"]) == (4, 3)
    assert [(Path(r["script"]).stem, r["match"], r["dumps"]) for r in document["results"]] == [
        ("r00_tiny", True, 12),
        ("p02_fork_before_out", True, 8),
        ("t01_order0", True, 8),
        ("t02_one64k", False, 7),
    ]
    assert document["results"][3]["mismatches"] == [
        {
            "script": str(script),
            "line": 10,
            "label": "out",
            "where": "swap_map, slot 527",
            "expected": "not recorded",
            "got": "1 reference (1)",
            "matched": "faulted",
            "matched_line": 8,
            "executed": ["9: pageout A 0 16"],
        }
    ]


def test_every_script_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [folder / "t01_order0.ops", folder, folder / "below"]
    assert main(["conform", *map(str, paths)]) == 0
    assert capsys.readouterr().out == "4 of 4 scripts match\n"


def test_plain_dumps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = folder / "t01_order0.jsonl.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert main(["conform", str(folder / "t01_order0.ops")]) == 0
    assert capsys.readouterr().out == "1 of 1 scripts match\n"
