"""Bad input ends with exit code 2 and one line that names file and line, never with a traceback."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fleetswap.cli import main

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests/conformance/corpus"
START = "cfg zram 4M lz4\nmap A 16 4 hugepage\n"


def _line(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """What the command line says about bad input."""
    assert main([str(word) for word in words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    (line,) = err.splitlines()
    assert "Traceback" not in line
    return line


# A script, the line to blame, and what the message must name.
SCRIPTS = [
    # operations
    (START + "wirte A 0 1 zero\n", 3, ["unknown operation 'wirte'", "write"]),
    (START + "@1\n", 3, ["@PROCESS OPERATION"]),
    (START + "@ read A 0 1\n", 3, ["@PROCESS OPERATION"]),
    (START + "__class__\n", 3, ["unknown operation"]),
    # missing and surplus arguments
    (START + "write A 0 1\n", 3, ["write REGION PAGE COUNT PATTERN", "write A 0 1"]),
    (START + "read A 0 1 2\n", 3, ["read REGION PAGE COUNT"]),
    (START + "unmap\n", 3, ["unmap REGION"]),
    (START + "fork\n", 3, ["fork PROCESS"]),
    (START + "thp\n", 3, ["thp SIZEKB=SETTING"]),
    (START + "exit now\n", 3, ["`exit`"]),
    (START + "cpu\n", 3, ["cpu NUMBER"]),
    (START + "dump a b\n", 3, ["dump LABEL"]),
    (START + "randwrite A 1 1\n", 3, ["randwrite REGION ALIGN COUNT PATTERN"]),
    # pages and numbers
    (START + "read A 16 1\n", 3, ["page 16 is outside region 'A' of 16 pages"]),
    (START + "read A 8 9\n", 3, ["pages 8 to 16 are outside region 'A' of 16 pages"]),
    (START + "read A 0 4294967295\n", 3, ["outside region"]),
    (START + "read A 17 0\n", 3, ["page 17 is outside"]),
    (START + "read A -1 1\n", 3, ["bad page '-1'"]),
    (START + "read A x 1\n", 3, ["bad page 'x'"]),
    (START + "read A 08 1\n", 3, ["bad page '08'"]),
    (START + "read A 1_0 1\n", 3, ["bad page '1_0'"]),
    (START + "read A 0b1 1\n", 3, ["bad page '0b1'"]),
    (START + "read A \u0663 1\n", 3, ["bad page"]),
    (START + f"read A {'9' * 5000} 1\n", 3, ["page 999", "0 to 4294967295"]),
    (START + "randwrite A 0 1 zero\n", 3, ["step in pages 0", "1 to 16"]),
    (START + "randwrite A 17 1 zero\n", 3, ["step in pages 17", "1 to 16"]),
    (START + "srand 4294967296\n", 3, ["seed 4294967296"]),
    (START + "cpu 1\n", 3, ["CPU 1", "0 to 0"]),
    # patterns
    (START + "write A 0 1 noise:1\n", 3, ["pattern 'noise:1'", "zero, fill:BYTE"]),
    (START + "write A 0 1 rand:x\n", 3, ["'x' is not a number"]),
    (START + "write A 0 1 rand:08\n", 3, ["'08' is not a number"]),
    # regions and processes
    (START + "map A 16 4 hugepage\n", 3, ["region 'A' already"]),
    (START + "read B 0 1\n", 3, ["no region 'B'", "it has A"]),
    (START + "@1 read A 0 1\n", 3, ["process 1 has no region 'A'", "none"]),
    (START + "unmap A\nread A 0 1\n", 4, ["no region 'A'"]),
    (START + "exit\nread A 0 1\n", 4, ["no region 'A'"]),
    (START + "fork 1\nfork 1\n", 4, ["process 1 exists already"]),
    (START + "fork 0\n", 3, ["process 0 exists already"]),
    (START + "fork @1\n", 3, ["'@1'"]),
    (START + "".join(f"fork {i}\n" for i in range(1, 70)), 64, ["too many processes", "62"]),
    (START + "".join(f"map R{i} 1 0 hugepage\n" for i in range(30)), 26, ["24 regions"]),
    (START + "map B 0 4 hugepage\n", 3, ["number of pages 0", "1 to 32768"]),
    (START + "map B 32769 4 hugepage\n", 3, ["number of pages 32769"]),
    (START + "map B 16 99 hugepage\n", 3, ["alignment 99"]),
    (START + "map B 16 4 huge\n", 3, ["advice 'huge'", "hugepage, nohugepage"]),
    (START + "advise A maybe\n", 3, ["advice 'maybe'"]),
    # halted faults
    (START + "fault_end\n", 3, ["process 0 has no halted fault on CPU 0"]),
    (START + "fault_begin A 16 read\n", 3, ["page 16"]),
    (START + "fault_begin A 0 look\n", 3, ["access 'look'", "read, write"]),
    (START + "fault_begin A 0 read\nfault_begin A 1 read\n", 4, ["CPU 0 has a halted fault"]),
    (START + "fault_begin A 0 read\nunmap A\n", 4, ["halted in a fault"]),
    (START + "fault_begin A 0 read\nexit\n", 4, ["halted in a fault"]),
    # verdicts
    (START + "verdict folio 64\n", 3, ["verdict folio|charge|swap SIZEKB BITS"]),
    (START + "verdict page 64 1\n", 3, ["request 'page'", "folio, charge, swap"]),
    (START + "verdict folio 48 1\n", 3, ["folio size 48", "4, 16, 32, 64"]),
    (START + "verdict folio 64 012\n", 3, ["'012'", "0 (refused) or 1 (granted)"]),
    (START + f"verdict folio 64 {'1' * 64}\n", 3, ["63 digits"]),
    # configuration
    ("cfg\n", 1, ["cfg KEY VALUE"]),
    ("cfg zram\n", 1, ["cfg KEY VALUE"]),
    ("cfg colour blue\n", 1, ["cfg key 'colour'", "page_cluster"]),
    (START + "cfg thp 64=always\n", 3, ["before the first operation"]),
    ("cfg cpus 0\n", 1, ["number of CPUs 0", "1 to 64"]),
    ("cfg cpus 2 4\n", 1, ["cfg cpus NUMBER"]),
    ("cfg cpus 2\ncfg cpus 2\n", 2, ["a second `cfg cpus`"]),
    ("cfg thp 48=always\n", 1, ["folio size '48'", "16, 32, 64"]),
    ("cfg thp 64=yes\n", 1, ["'yes'", "always, madvise"]),
    ("cfg thp 64\n", 1, ["64 KiB"]),
    ("cfg thp \u00b2=always\n", 1, ["folio size"]),
    ("cfg page_cluster 32\n", 1, ["page_cluster 32", "0 to 31"]),
    ("cfg swapin medium\n", 1, ["swapin 'medium'", "large, small"]),
    ("cfg kernel 5.4\n", 1, ["kernel '5.4'", "6.12, v7"]),
    ("cfg swapcache_prepare maybe\n", 1, ["'maybe'", "on, off"]),
    # zram
    ("", 1, ["cfg zram SIZE ALGORITHM"]),
    ("# nothing\n\n", 2, ["cfg zram SIZE ALGORITHM"]),
    ("cfg cpus 1\n", 1, ["cfg zram SIZE ALGORITHM"]),
    ("cfg cpus 1\nmap A 16 4 hugepage\n", 2, ["'map'", "cfg zram SIZE ALGORITHM"]),
    ("cfg zram 4M lz4\ncfg zram 4M lz4\n", 2, ["a second `cfg zram`"]),
    ("cfg zram 4M\n", 1, ["cfg zram SIZE ALGORITHM"]),
    ("cfg zram 4M mem_limit=1M\n", 1, ["cfg zram SIZE ALGORITHM"]),
    ("cfg zram 4M lzo\n", 1, ["compression algorithm 'lzo'", "lz4, lzo-rle, zstd"]),
    ("cfg zram 0 lz4\n", 1, ["zram size '0'", "40K to 64G"]),
    ("cfg zram 1K lz4\n", 1, ["zram size '1K'", "40K to 64G"]),
    ("cfg zram 1T lz4\n", 1, ["zram size '1T'", "40K to 64G"]),
    ("cfg zram 999999999999G lz4\n", 1, ["zram size '999999999999G'", "40K to 64G"]),
    ("cfg zram -4M lz4\n", 1, ["bad zram size '-4M'"]),
    ("cfg zram 4.5M lz4\n", 1, ["bad zram size '4.5M'"]),
    ("cfg zram M lz4\n", 1, ["bad zram size 'M'"]),
    ("cfg zram 4MB lz4\n", 1, ["bad zram size '4MB'"]),
    ("cfg zram 08M lz4\n", 1, ["bad zram size '08M'"]),
    ("cfg zram 4M lz4 mem_limit=\n", 1, ["bad mem_limit"]),
    ("cfg zram 4M lz4 mem_limit=99T\n", 1, ["mem_limit '99T'", "0 to 8T"]),
]


@pytest.mark.parametrize(("text", "line", "names"), SCRIPTS, ids=[str(i) for i in range(len(SCRIPTS))])
def test_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, line: int, names: list[str]) -> None:
    script = tmp_path / "bad.ops"
    script.write_text(text, encoding="utf-8")
    said = _line(capsys, "replay", script)
    assert f"{script}:{line}: " in said
    for name in names:
        assert name in said
    assert _line(capsys, "conform", script) == said


def test_lines_are_counted_as_the_replayer_counts_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "bad.ops"
    script.write_bytes("cfg zram 4M lz4 # \x0b \x0c \x85 \u2028 one line\r\nbad\n".encode())
    assert f"{script}:2: unknown operation 'bad'" in _line(capsys, "replay", script)


def test_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "bad.ops"
    script.write_bytes(b"cfg zram 4M lz4\n# caf\xe9\n")
    assert f"{script}:2: byte 0xe9 is not UTF-8" in _line(capsys, "replay", script)


def test_messages_are_one_printable_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "two\nlines.ops"
    script.write_text(START + "\x1b[31m\u2028\x85" + "y" * 5000 + "\n", encoding="utf-8")
    said = _line(capsys, "replay", script)
    assert said.isprintable()
    assert "two\\nlines.ops:3" in said
    assert len(said) < 4100


def test_missing_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("replay", "conform"):
        said = _line(capsys, command, tmp_path / "absent.ops")
        assert f"{tmp_path / 'absent.ops'}: cannot be read: {os.strerror(errno.ENOENT)}" in said


def test_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is a directory" in _line(capsys, "replay", tmp_path).lower()
    assert f"{tmp_path}: the folder contains no scripts" in _line(capsys, "conform", tmp_path)


def test_no_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").touch()
    assert "expected a file NAME.ops" in _line(capsys, "conform", tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    "words",
    [
        ["replay"],
        ["replay", "a.ops", "b.ops"],
        ["conform"],
        ["conform", "a.ops", "--jobs", "0"],
        ["conform", "a.ops", "--jobs", "many"],
        ["conform", "--colour", "a.ops"],
        ["simulate"],
        ["--colour"],
    ],
    ids=" ".join,
)
def test_usage(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert "--help`" in _line(capsys, *words)


# Recorded dumps: what is done to the good file, and the line and words of the message.


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, Path, bytes]:
    """A script, the file of its dumps, and their text."""
    script = tmp_path / "t02_one64k.ops"
    shutil.copy(CORPUS / script.name, script)
    packed = (CORPUS / "t02_one64k.jsonl.gz").read_bytes()
    return script, tmp_path / "t02_one64k.jsonl.gz", gzip.decompress(packed)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--devices", "many"], "--devices: many is not possible; allowed are whole numbers (see"),
        (["run", "--seed", "1.5"], "--seed: 1.5 is not possible; allowed are whole numbers (see"),
        (["run", "--threads", "0"], "--threads: 0 is not possible; allowed are whole numbers from 1 on (see"),
        (["compare", "--shards", "x"], "--shards: x is not possible; allowed are whole numbers from 1 on (see"),
        (["content", "--order", "12"], "--order: 12 is not possible; allowed are whole numbers 0 to 9 (see"),
    ],
)
def test_numbers(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert _line(capsys, *words).startswith(f"fleetswap: {message}")


def test_no_dumps(recorded: tuple[Path, Path, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    script, _, _ = recorded
    said = _line(capsys, "conform", script)
    assert f"{script}: no recorded dumps beside it; expected t02_one64k.jsonl.gz or t02_one64k.jsonl" in said


def test_no_dump_in_the_script(recorded: tuple[Path, Path, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    script, dumps, _ = recorded
    script.write_text(START)
    dumps.write_bytes(gzip.compress(b""))
    assert f"{script}:2: the script ends without a dump" in _line(capsys, "conform", script)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.999])
def test_truncated_dumps(recorded: tuple[Path, Path, bytes], capsys: pytest.CaptureFixture[str], kept: float) -> None:
    script, dumps, text = recorded
    packed = gzip.compress(text)
    dumps.write_bytes(packed[: int(len(packed) * kept)])
    said = _line(capsys, "conform", script)
    assert f"{dumps}:" in said
    assert "truncated" in said


def test_truncated_plain_dumps(recorded: tuple[Path, Path, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    script, dumps, text = recorded
    plain = dumps.with_suffix("")
    plain.write_bytes(text[: text.index(b"\n") + 100])
    assert f"{plain}:2: the file is truncated" in _line(capsys, "conform", script)


def test_empty_dumps(recorded: tuple[Path, Path, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    script, dumps, _ = recorded
    dumps.write_bytes(b"")
    assert f"{dumps}:1: 0 dumps are recorded" in _line(capsys, "conform", script)


@pytest.mark.parametrize("change", ["fewer", "more"])
def test_numbers_of_dumps(recorded: tuple[Path, Path, bytes], capsys: pytest.CaptureFixture[str], change: str) -> None:
    script, dumps, text = recorded
    lines = text.splitlines(keepends=True)
    lines = lines[:-1] if change == "fewer" else [*lines, lines[-1]]
    dumps.write_bytes(gzip.compress(b"".join(lines)))
    said = _line(capsys, "conform", script)
    assert f"{dumps}:{len(lines)}: {len(lines)} dumps are recorded, but {script} makes 7" in said


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"", "no JSON"),
        (b"[]", "an object with `dump` or `summary`"),
        (b"[" * 100_000, "no JSON"),
        (b'{"dump":1}', "line: is missing"),
        (b'{"dump":1,"line":2.5,"label":"x"}', "line: 2.5 is not possible"),
        (b'{"dump":1,"line":10,"label":"out"}', "vmstat: is missing"),
    ],
)
def test_corrupt_lines(
    recorded: tuple[Path, Path, bytes], capsys: pytest.CaptureFixture[str], line: bytes, reason: str
) -> None:
    script, dumps, text = recorded
    lines = text.split(b"\n")
    lines[1] = line
    dumps.write_bytes(gzip.compress(b"\n".join(lines)))
    said = _line(capsys, "conform", script)
    assert f"{dumps}:2: the dump is corrupt" in said
    assert reason in said


def test_corrupt_archives(recorded: tuple[Path, Path, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    script, dumps, text = recorded
    packed = bytearray(gzip.compress(text))
    dumps.write_bytes(text)
    assert f"{dumps}:1: the file is corrupt" in _line(capsys, "conform", script)
    packed[-5] ^= 1  # the checksum
    dumps.write_bytes(packed)
    assert f"{dumps}:8: the file is corrupt" in _line(capsys, "conform", script)
    packed[-5] ^= 1
    packed[len(packed) // 2] ^= 0xFF
    dumps.write_bytes(packed)
    assert "corrupt" in _line(capsys, "conform", script)


def test_a_bad_script_among_good_ones(recorded: tuple[Path, Path, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    script, dumps, text = recorded
    dumps.write_bytes(gzip.compress(text))
    (script.parent / "z.ops").write_text("cfg zram 1T lz4\n")
    for words in (
        ["conform", script.parent],
        ["conform", "--json", script.parent],
        ["conform", "--jobs", "2", script.parent],
    ):
        assert "z.ops:1: " in _line(capsys, *words)


# Standard output and signals need a real process.


# A shell lets its background jobs ignore Ctrl-C, and a test run may be one: the program starts as from a terminal.
_AS_FROM_A_TERMINAL = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('fleetswap', run_name='__main__')"
)


def _start(*words: str | Path, **options: object) -> subprocess.Popen[str]:
    path = os.pathsep.join(str(ROOT / folder) for folder in ("", "kernels", "cluster"))
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-c", _AS_FROM_A_TERMINAL, *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        **options,
    )


def test_full_output(recorded: tuple[Path, Path, bytes]) -> None:
    with Path("/dev/full").open("w") as full, _start("replay", recorded[0], stdout=full) as process:
        _, err = process.communicate()
    assert process.returncode == 2
    assert err == f"fleetswap: standard output: {os.strerror(errno.ENOSPC)}\n"


def test_a_reader_that_leaves(recorded: tuple[Path, Path, bytes]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with _start("replay", recorded[0], stdout=writer) as process:
        os.close(writer)
        _, err = process.communicate()
    assert (process.returncode, err) == (141, "")


def test_interruption(tmp_path: Path) -> None:
    script = tmp_path / "long.ops"
    script.write_text("cfg zram 4M lz4\nmap A 1024 4 hugepage\ndump begin\n" + "read A 0 1024\ndump x\n" * 100_000)
    with _start("replay", script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["label"] == "begin"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, err) == (130, "fleetswap: interrupted\n")
