"""Every command that is given a wrong file says so in one line of its own words, which names the file."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fleetswap.cli import main
from tests.cluster.tiny_fleet import DEVICES, TINY, plain_run

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests/conformance/corpus"
FOREIGN = re.compile(
    r"pickle|numpy|np\.|pydantic|validation|arrow|thrift|zipfile|zip file|zlib|gzip\.|codec can't|json|Errno|line 1 col"
    r"umn 1 \(char|Traceback|Expecting|\bNone\b|object at 0x",
    re.IGNORECASE,
)
"""Words of libraries, which no user asked for; names of files are taken out before."""


def npz(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def npy(array: object) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)  # type: ignore[arg-type]
    return file.getvalue()


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, content in members.items():
            packed.writestr(f"{name}.npy", content)
    return file.getvalue()


def huge() -> bytes:
    """An array whose header promises more than any memory holds."""
    header = b"{'descr': '<u8', 'fortran_order': False, 'shape': (%d,), }" % (1 << 50)
    header = header.ljust(117) + b"\n"
    return archive(pte=b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)


GOOD = npz(pte=np.zeros(64, np.uint64))
MEASURED = (ROOT / "fleetswap/data/content/measured.npz").read_bytes()
WRONG: dict[str, bytes] = {
    "empty": b"",
    "text": b"no such thing\n",
    "binary": bytes(range(256)) * 8,
    "pickle": pickle.dumps({"a": 1}),
    "deep": b"[" * 100_000,
    "array": npy(np.zeros(4)),
    "objects": npz(pte=np.array([{}, None], object), classes=np.array([{}], object)),
    "truncated": GOOD[: len(GOOD) // 2],
    "flipped": MEASURED[:2000] + bytes(64) + MEASURED[2064:],
    "huge": huge(),
    "zip": archive(pte=b"nothing"),
    "gzip": gzip.compress(b"nothing\n", mtime=0),
}


def lines_of(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    line = err.splitlines()[-1]
    assert (code, out) == (2, ""), err
    assert line.startswith("fleetswap: ")
    assert "Traceback" not in err
    return line


def assert_own_words(line: str, path: Path) -> None:
    assert str(path) in line
    # Names of files are the user's.
    rest = re.sub(r"[\w./-]*\.(npz|toml|jsonl(\.gz)?|json|parquet|ops|bin)|\.npz", "", line.replace(str(path), ""))
    assert not FOREIGN.search(rest.replace("no JSON", "")), line


def commands(path: Path) -> list[list[str | Path]]:
    """What takes a file, by how its name ends."""
    return {
        ".npz": [["census", path], ["content", "--library", path], ["run", TINY, "--set", f"content_library={path}"]],
        ".toml": [
            ["run", path],
            ["show", path],
            ["plan", path],
            ["plan", TINY, "--gpu", path],
            ["compare", path, path],
            ["sweep", path, "--over", "policy.large_swapin=off,on"],
            ["run", "allocator-test", "--set", f"cost={path}"],
            ["run", TINY, "--set", f"device_class.phone.cost={path}"],
        ],
        ".ops": [["replay", path], ["conform", path]],
    }[path.suffix]


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize(("suffix", "number"), [(".npz", n) for n in range(3)] + [(".toml", n) for n in range(8)])
def test_wrong_files(suffix: str, number: int, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(WRONG[kind])
    assert_own_words(lines_of(capsys, *commands(path)[number]), path)


@pytest.mark.parametrize("kind", [kind for kind in WRONG if kind != "empty"])
@pytest.mark.parametrize("number", [0, 1])
def test_wrong_scripts(number: int, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.ops"
    path.write_bytes(WRONG[kind])
    line = lines_of(capsys, *commands(path)[number])
    assert str(path) in line
    assert "can't decode" not in line


@pytest.mark.parametrize("suffix", [".npz", ".toml", ".ops"])
def test_what_is_no_file(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, absent, below = tmp_path / f"folder{suffix}", tmp_path / f"absent{suffix}", tmp_path / "file" / f"x{suffix}"
    folder.mkdir()
    (tmp_path / "file").touch()
    for path in (folder, absent, below):
        for words in commands(path):
            if path == folder and words[0] in ("conform", "compare"):
                continue  # They take folders.
            line = lines_of(capsys, *words)
            assert_own_words(line, path)
            assert "cannot be read: " in line


ARRAYS: list[tuple[dict[str, object], str]] = [
    ({}, "pte and slot"),
    ({"pte": np.zeros((2, 2), np.uint64)}, "pte"),
    ({"pte": np.zeros(4)}, "pte"),
    ({"pte": np.array("x")}, "pte"),
    ({"other": np.zeros(4)}, "'other'"),
    ({"slot": np.zeros(4, np.int64), "offsets": np.array([0, 9])}, "offsets"),
]


@pytest.mark.parametrize(("arrays", "named"), ARRAYS, ids=[named for _, named in ARRAYS])
def test_arrays_that_cannot_be(
    arrays: dict[str, object], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(npz(**arrays))
    line = lines_of(capsys, "census", path)
    assert_own_words(line, path)
    assert named in line


VALUES = [None, np.float64(1.5), np.array(["no name!"]), np.zeros(3), np.zeros((2, 2), np.uint16)]


@pytest.mark.parametrize("name", ["classes", "algos", "sizes", "edges", "region_q16"])
@pytest.mark.parametrize(
    "value", [None, np.float64(1.5), np.array(["no name!"]), np.zeros(3), np.zeros((2, 2), np.uint16)]
)
def test_libraries_whose_arrays_cannot_be(
    name: str, value: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(io.BytesIO(MEASURED)) as file:
        arrays = {one: file[one] for one in file.files if one != name}
    path = tmp_path / "mine.npz"
    path.write_bytes(npz(**arrays, **({} if value is None else {name: value})))
    line = lines_of(capsys, "content", "--library", path)
    assert_own_words(line, path)
    assert name in line


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_run(tmp_path_factory.mktemp("finished") / "run", DEVICES)


MANIFESTS: list[bytes] = [
    *WRONG.values(),
    b"{}",
    b"[]",
    b"7",
    b'{"schema_version": 1, "files": []}',
    b'{"files": {"a": 1}}',
]


@pytest.mark.parametrize("command", [["digest"], ["compare"], ["run", "--resume"], ["sweep", "--resume"]], ids=" ".join)
def test_damaged_manifests(
    command: list[str], finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    for content in MANIFESTS:
        (folder / "manifest.json").write_bytes(content)
        if command[-1] == "--resume" and content in (b"{}", *MANIFESTS[-2:]):
            continue  # They look at the kind alone.
        line = lines_of(capsys, *command, *([folder, finished] if command == ["compare"] else [folder]))
        assert_own_words(line, folder)


@pytest.mark.parametrize("name", ["devices.parquet", "series.parquet", "summary.json"])
@pytest.mark.parametrize("checked", [True, False])
def test_damaged_files_of_a_run(
    name: str, checked: bool, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the manifest knows of the damage: then they are not what this version writes."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    good = (folder / name).read_bytes()
    for content in (b"", b"no such thing", good[: len(good) // 2], good[:-10] + bytes(10)):
        (folder / name).write_bytes(content)
        manifest = json.loads((folder / "manifest.json").read_text())
        if not checked:
            manifest["files"].pop(name, None)
            (folder / "manifest.json").write_text(json.dumps(manifest))
        for words in (["digest", folder], ["compare", folder, finished]):
            if not checked and (name, words[0]) in (("series.parquet", "compare"), ("summary.json", "digest")):
                continue  # They do not look into it.
            assert_own_words(lines_of(capsys, *words), folder)


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_wrong_recordings(suffix: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(CORPUS / "t02_one64k.ops", tmp_path / "mine.ops")
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(WRONG[kind])
    assert_own_words(lines_of(capsys, "conform", tmp_path / "mine.ops"), path)


@pytest.mark.parametrize("content", [b"", b"no page", None])
def test_wrong_dumps(content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.bin"
    path.mkdir() if content is None else path.write_bytes(content)
    for words in (["--dump", path], ["--pages", path]):
        assert_own_words(lines_of(capsys, "calibrate", "mine", *words, "--out", tmp_path), path)


def test_without_permission(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the kernel's refusal is made here."""

    def refused(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr(Path, "read_bytes", refused)
    monkeypatch.setattr(Path, "open", refused)
    for suffix in (".npz", ".toml", ".ops"):
        path = tmp_path / f"mine{suffix}"
        path.touch()
        for words in commands(path)[:1]:
            line = lines_of(capsys, *words)
            assert f"{path}: cannot be read: {os.strerror(13)}" in line


def _unfinished(folder: Path, content: bytes) -> None:
    (folder / "unfinished").mkdir(parents=True)
    (folder / "unfinished/plan.json").write_bytes(content)


PLANS = [*MANIFESTS, b'{"installation": {}}', b'{"installation": 1}']


@pytest.mark.parametrize("content", PLANS, ids=[*WRONG, *map(str, range(len(PLANS) - len(WRONG)))])
def test_damaged_plans(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _unfinished(tmp_path / "run", content)
    for command in ("run", "sweep"):
        assert_own_words(lines_of(capsys, command, "--resume", tmp_path / "run"), tmp_path / "run")
