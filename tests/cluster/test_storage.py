"""Storage: objects are whole or not there, on a disk as in an object store; refusals are one line."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from fleetswap.cli import main
from fleetswap.job.storage import FullStorageError, Storage, StorageError
from fleetswap_kernels.backend.extras import PIP_INSTALL
from tests.cluster.programs import FLEETSWAP, run_words


@pytest.fixture(params=["disk", "memory", "s3_bucket", "gs_bucket"])
def storage(request, tmp_path):
    if request.param.endswith("_bucket"):
        yield Storage(f"{request.getfixturevalue(request.param)}/tests/run")
        return
    yield Storage(tmp_path / "run" if request.param == "disk" else "memory://tests/run")
    if request.param == "memory":
        Storage("memory://tests").remove()


def test_objects(storage):
    assert storage.is_empty()
    assert storage.names("a") == []
    assert storage.get("a/b") is None
    storage.put("a/b", b"1")
    storage.put("a/b", b"22")
    storage.put("a/c/d", b"3")
    storage.put("ab", b"4")
    assert storage.get("a/b") == b"22"
    assert storage.names("a") == ["a/b", "a/c/d"]
    assert storage.names("") == ["a/b", "a/c/d", "ab"]
    assert not storage.is_empty()
    storage.remove("a/c")
    storage.remove("a/nothing")
    assert storage.names("") == ["a/b", "ab"]
    storage.remove()
    assert storage.is_empty()


def test_only_one_creates(storage):
    assert storage.create("x/lock", b"first")
    assert not storage.create("x/lock", b"second")
    assert storage.get("x/lock") == b"first"


KILLED_IN_A_WRITE = """
import resource, signal, sys
from fleetswap.job.storage import Storage

signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
getattr(Storage(sys.argv[1]), sys.argv[2])("a/b", bytes(2000))
"""
"""The operating system kills who writes more to a file than it may, after that much was written."""


@pytest.mark.parametrize("way", ["put", "create"])
def test_who_is_killed_in_a_write_leaves_nothing_under_the_name(tmp_path, way):
    ran = subprocess.run([sys.executable, "-c", KILLED_IN_A_WRITE, str(tmp_path), way], check=False)
    assert ran.returncode == -signal.SIGXFSZ
    assert [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()] == [1000]
    storage = Storage(tmp_path)
    assert storage.names("") == []
    assert storage.create("a/b", b"whole")
    assert storage.get("a/b") == b"whole"


def test_only_one_creates_where_a_disk_has_no_links(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    test_only_one_creates(Storage(tmp_path))
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["lock"]


def test_a_file_is_taken_over(storage, tmp_path):
    storage.put("old", b"old")
    (tmp_path / "made").write_bytes(b"new")
    storage.take(tmp_path / "made", "old")
    assert storage.get("old") == b"new"


def test_a_write_that_fails_changes_nothing(tmp_path, monkeypatch):
    storage = Storage(tmp_path)
    storage.put("a", b"old")

    def half(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(FullStorageError, match=rf"^{tmp_path}: cannot be written: No space left on device$"):
        storage.put("a", b"new content")
    assert storage.get("a") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_refusals_name_the_place(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"/file: cannot be written: (Not a directory|File exists)$"):
        Storage(tmp_path / "file").put("a", b"")
    with pytest.raises(StorageError, match=r"^what://x: is not possible; allowed are a path, s3://"):
        Storage("what://x")


def test_a_store_whose_package_is_missing_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(StorageError) as refused:
        Storage("s3://bucket/run")
    assert str(refused.value) == (
        f"s3://bucket/run: cannot be opened: the package s3fs is not installed: {PIP_INSTALL} s3fs"
    )


def test_an_object_store_that_refuses_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    """Its package has errors of its own."""
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    # Otherwise fsspec gives back the one that another test opened.
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        assert main(run_words("s3://nobody/run")) == 2
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
    assert capsys.readouterr().err.splitlines()[-1] == (
        "fleetswap: s3://nobody/run: cannot be read: Unable to locate credentials"
    )


def test_a_bucket_that_is_not_there_is_told_in_one_line(gs_bucket, capsys):
    assert main(run_words(gs_bucket.replace("fleets", "nobody"))) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("fleetswap: gs://nobody: cannot be written: FileNotFoundError: ")


def test_what_a_package_logs_stays_out_of_sight(monkeypatch):
    """A program of its own: under pytest what is logged never reaches the terminal."""

    class Refusal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(HTTPStatus.BAD_REQUEST)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        ran = subprocess.run([*FLEETSWAP, *run_words("gs://nobody/run")], capture_output=True, text=True, check=False)
        server.shutdown()
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("fleetswap: gs://nobody/run: cannot be ")


def test_a_bug_on_a_disk_is_no_refusal(tmp_path):
    with pytest.raises(TypeError):
        Storage(tmp_path).put("a", "no bytes")
