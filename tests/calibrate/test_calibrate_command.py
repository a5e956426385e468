"""`fleetswap calibrate` as a whole: files, output, bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import lz4.block
import numpy as np
import pytest
import zstandard
from click.testing import CliRunner, Result

from fleetswap.commands.calibrate import calibrate
from fleetswap.errors import InputError

PAGE = 4096


def _content(blocks: int, seed: int = 0) -> bytes:
    """Blocks of 64 KiB: zeros, a repeated word, text and noise in turn."""
    random = np.random.default_rng(seed)
    parts = []
    for i in range(blocks):
        letters = random.integers(97, 97 + 2 + i % 20, 1 << 16, dtype=np.uint8)
        noise = random.integers(0, 256, 1 << 16, dtype=np.uint8)
        parts.append((bytes(1 << 16), b"\x11" * (1 << 16), letters.tobytes(), noise.tobytes())[i % 4])
    return b"".join(parts)


def _call(*words: str | Path) -> Result:
    return CliRunner().invoke(calibrate, [str(word) for word in words])


def _done(*words: str | Path) -> Result:
    result = _call(*words)
    assert (result.exit_code, result.exception) == (0, None), result.stderr
    return result


def _line(*words: str | Path) -> str:
    """What is said about bad input."""
    result = _call(*words)
    assert isinstance(result.exception, (InputError, SystemExit)), result.exception
    assert result.exit_code != 0
    assert result.stdout == ""
    said = str(result.exception) if isinstance(result.exception, InputError) else result.stderr.splitlines()[-1]
    assert len(said.splitlines()) == 1
    return said


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """1.5 regions: 48 blocks of 64 KiB."""
    path = tmp_path / "memory.raw"
    path.write_bytes(_content(48))
    return path


def _load(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        return dict(file)


def test_a_full_run(dump: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    result = _done("mine", "--dump", dump, "--out", out, "--json", "--jobs", "2")
    assert sorted(out.iterdir()) == [out / "mine.npz", out / "mine.toml"]
    assert "note: only 48 full aligned 64 KiB blocks, fewer than 64" in result.stderr
    document = json.loads(result.stdout)
    assert document["files"] == {"class": str(out / "mine.npz"), "profile": str(out / "mine.toml")}
    assert (document["zero_fraction"], document["same_filled_fraction"]) == (0.25, 0.25)

    content = dump.read_bytes()
    compress = {
        "lz4": lambda data: lz4.block.compress(data, mode="fast", acceleration=1, store_size=False),
        "zstd": zstandard.ZstdCompressor(level=3).compress,
    }
    for codec, function in compress.items():
        for order in (0, 4, 9):
            length = PAGE << order
            whole = [content[at : at + length] for at in range(0, len(content) - length + 1, length)]
            raw = sum(min(len(function(block)), length) for block in whole)
            row = document["totals"][codec][order]
            assert (row["blocks"], row["original_bytes"], row["raw_bytes"]) == (len(whole), len(whole) * length, raw)
            assert row["ratio"] == len(whole) * length / raw

    arrays = _load(out / "mine.npz")
    assert arrays["classes"].tolist() == ["mine"]
    assert (np.diff(arrays["sizes"][0, :, 2, 30].astype(int)) >= 0).all()
    provenance = json.loads(str(arrays["provenance"]))
    assert provenance["source"] == {"kind": "dump", "names": ["memory.raw"], "notes": []}
    assert str(tmp_path) not in str(arrays["provenance"])
    profile = tomllib.loads((out / "mine.toml").read_text(encoding="utf-8"))
    assert (profile["name"], profile["inherits"]) == ("mine", "x86-server")
    for codec in ("lz4", "zstd"):
        assert profile["codec"][codec]["compress_ns"] == document["times"][codec]["compress_ns"]
        assert all(ns > 0 for ns in profile["codec"][codec]["decompress_ns"])

    # One process gives the same class as two.
    _done("mine", "--dump", dump, "--out", tmp_path / "one", "--jobs", "1")
    again = _load(tmp_path / "one" / "mine.npz")
    for name in set(arrays) - {"provenance"}:
        assert (arrays[name] == again[name]).all()


def test_a_missing_lzo_is_said(dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fleetswap.calibrate.measure import load_codecs

    monkeypatch.setitem(sys.modules, "lzo", None)
    load_codecs.cache_clear()
    result = _done("mine", "--dump", dump, "--out", tmp_path, "--jobs", "1", "--json")
    load_codecs.cache_clear()
    assert "lzo-rle was not measured" in result.stderr
    provenance = json.loads(str(_load(tmp_path / "mine.npz")["provenance"]))
    assert provenance["codecs"]["lzo-rle"] == "not measured: these are the sizes of lz4"
    assert "lzo-rle" not in tomllib.loads((tmp_path / "mine.toml").read_text(encoding="utf-8"))["codec"]
    assert set(json.loads(result.stdout)["totals"]) == {"lz4", "zstd"}


def test_the_table(dump: Path, tmp_path: Path) -> None:
    result = _done("mine", "--dump", dump, "--out", tmp_path, "--jobs", "1")
    rows = [line.split() for line in result.stdout.splitlines()]
    for codec in ("lz4", "zstd"):
        assert [row[1] for row in rows if row[:1] == [codec]] == ["4K", "16K", "64K"]
    assert "zero pages 25.00%, filled with another word 25.00%" in result.stdout


def test_a_folder_of_page_files(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    for i in range(4):
        (folder / f"{i}.raw").write_bytes(_content(5, i)[: 4 * (1 << 16) + PAGE])
    result = _done("mine", "--pages", folder, "--out", tmp_path, "--jobs", "1", "--json")
    # Blocks do not reach from one file into the next, though 4 * 65 pages would hold another block.
    assert [row["blocks"] for row in json.loads(result.stdout)["totals"]["lz4"]] == [
        260,
        128,
        64,
        32,
        16,
        8,
        4,
        0,
        0,
        0,
    ]
    times = tomllib.loads((tmp_path / "mine.toml").read_text(encoding="utf-8"))["codec"]["zstd"]["compress_ns"]
    assert times[7:] == [2 * times[6], 4 * times[6], 8 * times[6]]


def test_a_process(tmp_path: Path) -> None:
    if not os.access("/proc/self/pagemap", os.R_OK):
        pytest.skip("/proc/self/pagemap is not readable here")
    program = "import sys; a = bytearray(b'some text ' * 400_000); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        result = _done("mine", "--pid", str(process.pid), "--out", tmp_path, "--jobs", "1", "--json")
        process.kill()
    document = json.loads(result.stdout)
    assert document["source"]["kind"] == "processes"
    assert document["totals"]["lz4"][4]["blocks"] >= 4_000_000 // (1 << 16) - 1


def test_force_and_kept_pages(dump: Path, tmp_path: Path) -> None:
    words = ["mine", "--dump", dump, "--out", tmp_path, "--jobs", "1", "--keep-pages", tmp_path / "kept"]
    _done(*words)
    assert (tmp_path / "kept").read_bytes() == dump.read_bytes()
    for name in ("mine.npz", "mine.toml", "kept"):
        for other in ("mine.npz", "mine.toml", "kept"):
            (tmp_path / other).unlink(missing_ok=True)
        (tmp_path / name).write_text("before")
        assert f"{tmp_path / name}: exists already; choose another name, or replace it with --force" in _line(*words)
        assert (tmp_path / name).read_text() == "before"
    _done(*words, "--force")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "memory.raw", "mine.npz", "mine.toml"]
    assert "is what is measured" in _line(*words, "--force", "--keep-pages", dump)


def test_max_mib_takes_whole_regions(tmp_path: Path) -> None:
    dump = tmp_path / "memory.raw"
    dump.write_bytes(_content(96))
    result = _done("mine", "--dump", dump, "--out", tmp_path, "--max-mib", "5", "--jobs", "1", "--json")
    document = json.loads(result.stdout)
    assert (document["pages_found"], document["pages"]) == (1536, 1024)
    assert document["totals"]["lz4"][9]["blocks"] == 2


def test_too_little(tmp_path: Path) -> None:
    dump = tmp_path / "memory.raw"
    dump.write_bytes(_content(8)[:-PAGE])
    said = _line("mine", "--dump", dump, "--out", tmp_path)
    assert "7 full aligned 64 KiB blocks are too few; allowed are 8 and more: measure more memory" in said
    dump.write_bytes(_content(8))
    _done("mine", "--dump", dump, "--out", tmp_path, "--jobs", "1")


def test_bad_input(dump: Path, tmp_path: Path) -> None:
    sources = "allowed is one of --dump FILE, --pid PID (may be repeated), --pages DIR"
    assert _line("mine") == f"no pages to measure; {sources}"
    assert _line("mine", "--dump", dump, "--pid", "1") == f"--dump and --pid cannot be combined; {sources}"
    said = _line("mine", "--dump", dump, "--pid", "1", "--pages", tmp_path)
    assert said == f"--dump and --pid and --pages cannot be combined; {sources}"
    for name in ("", "a/b", "..", "a.b", "-a", "a b", "\u00e4", "n" * 33, "a\n"):
        assert f"NAME {name!r}: is not possible; allowed are 1 to 32 letters" in _line("--dump", dump, "--", name)
    assert "--max-mib" in _line("mine", "--dump", dump, "--max-mib", "1")
    assert "--jobs" in _line("mine", "--dump", dump, "--jobs", "0")
    assert "--pid" in _line("mine", "--pid", "0")
    (tmp_path / "file").touch()
    said = _line("mine", "--dump", dump, "--out", tmp_path / "file", "--jobs", "1")
    assert f"{tmp_path / 'file' / 'mine.npz'}: cannot be written: {tmp_path / 'file'} is no folder" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "memory.raw"]


def test_help() -> None:
    with click.Context(calibrate, info_name="calibrate") as context:
        assert "Only numbers derived from pages are written" in " ".join(calibrate.get_help(context).split())
