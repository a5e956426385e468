"""What can be known to be bad is refused before kernels are compiled or anything is simulated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fleetswap import InputError, api
from fleetswap.cli import main
from fleetswap.job.job import claim
from fleetswap.job.lock import NAME
from fleetswap.job.storage import Storage
from fleetswap_kernels.backend.contract import BackendMissingError
from fleetswap_kernels.backend.cuda import gpu as launch_gpu

TINY = str(Path(__file__).parents[1] / "data" / "tiny-phones.toml")
LONG = (
    "fleetswap.execution.workforce.warm_up",
    "fleetswap.fleet.shard.warm_up",
    "fleetswap.calibrate.measure.measure_sizes",
    "fleetswap_cluster.clusters.open_cluster",
)
"""Where minutes begin: kernels are compiled, a cluster is opened, memory is measured."""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that takes long is reached."""
    for name in LONG:
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("something long began"))


@pytest.fixture
def memory(tmp_path: Path) -> str:
    """Pages that `calibrate` can measure."""
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "some").write_bytes(np.random.default_rng(1).bytes(8 << 20))
    return str(folder)


COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", TINY),
    "run on a cluster": ("run", TINY, "--cluster", "local"),
    "allocator-test": ("run", "allocator-test"),
    "breakeven": ("run", "breakeven"),
    "sweep": ("sweep", TINY, "--over", "policy.large_swapin=off,on"),
    "sweep on a cluster": ("sweep", TINY, "--over", "policy.large_swapin=off,on", "--cluster", "local"),
    "compare": ("compare", TINY, "--set-b", "policy.large_swapin=off"),
    "calibrate": ("calibrate", "mine", "--pages", "MEMORY"),
}


def below_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    return tmp_path / "file" / "run"


def where_nobody_may_write(_: Path) -> Path:
    """Not even root, who may do anything on a disk."""
    return Path("/proc/fleetswap/run")


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("place", [below_a_file, where_nobody_may_write])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_cannot_be_written(
    command: str, place: Callable[[Path], Path], memory: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = place(tmp_path)
    words = (word.replace("MEMORY", memory) for word in COMMANDS[command])
    assert main([*words, "--out", str(folder)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert str(folder) in last
    assert "cannot be written: " in last
    assert {path.name for path in tmp_path.iterdir()} <= {"file", "pages"}


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("cluster", [None, "local"])
def test_a_folder_that_cannot_be_written_from_python(cluster: str | None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/file/run: cannot be written: "):
        api.run(api.Scenario.load(TINY), below_a_file(tmp_path), cluster=cluster)


@pytest.mark.usefixtures("short")
def test_an_object_store_without_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for words in (COMMANDS["run"], COMMANDS["sweep"]):
        s3fs.S3FileSystem.clear_instance_cache()
        assert main([*words, "--out", "s3://nobody/run"]) == 2
        assert "s3://nobody/run: cannot be read: Unable to locate credentials" in capsys.readouterr().err
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--cluster", "ring"], "--cluster ring: "),
        (["--cluster", "local", "--backend", "cuda"], "--backend cuda: is not for --cluster local"),
        (["--workers", "3"], "--workers: needs --cluster"),
        (["--backend", "cuda"], "backend cuda: none here"),
        (["--threads", "0"], "--threads"),
        (["--shards", "0"], "--shards"),
    ],
)
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_options(
    command: str,
    words: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def missing() -> None:
        raise BackendMissingError("none here")

    monkeypatch.setattr(launch_gpu, "open_gpu", missing)
    assert main([*COMMANDS[command], *words, "--out", str(tmp_path / "run")]) == 2
    assert named in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("bad", [{"threads": 0}, {"threads": -1}, {"shards": -1}])
def test_numbers_from_python(bad: dict[str, int], tmp_path: Path) -> None:
    (name, value) = next(iter(bad.items()))
    with pytest.raises(InputError, match=rf"^{name}: {value} is not possible"):
        api.run(TINY, tmp_path / "run", **bad)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_another_version_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import hashlib

    old = tmp_path / "old"
    api.run(TINY, old)
    table = pq.read_table(old / "devices.parquet").drop_columns(["pgmajfault"])
    pq.write_table(table, old / "devices.parquet")
    manifest = json.loads((old / "manifest.json").read_text())
    manifest["files"]["devices.parquet"] = hashlib.sha256((old / "devices.parquet").read_bytes()).hexdigest()
    (old / "manifest.json").write_text(json.dumps(manifest))
    refused(old, tmp_path / "c", capsys)


def test_a_run_whose_policy_lacks_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "old"
    api.run(TINY, old)
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["scenario"]["policy"]["swapin_sizes"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    refused(old, tmp_path / "c", capsys)


def refused(old: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A comparison with a directory of another version ends in one line, before anything long."""
    with pytest.MonkeyPatch.context() as patch:
        for name in LONG:
            patch.setattr(name, lambda *_, **__: pytest.fail("something long began"))
        assert main(["compare", TINY, str(old), "--out", str(out)]) == 2
    assert f"{old}: is a run of another version" in capsys.readouterr().err


# What is left of a run that ends while its kernels are compiled.


def compile_and(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object) -> int:
        raise error

    for name in LONG[:3]:
        monkeypatch.setattr(name, fail)


@pytest.mark.parametrize("command", ["run", "allocator-test", "sweep", "compare"])
def test_nothing_is_left(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compile_and(monkeypatch, KeyboardInterrupt())
    assert main([*COMMANDS[command], "--out", str(tmp_path / "run")]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "fleetswap: interrupted"
    assert list(tmp_path.iterdir()) == []


def test_who_is_killed_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / NAME).parent.mkdir(parents=True)
    (folder / NAME).write_text("somebody:1")
    assert main(["run", TINY, "--out", str(folder)]) == 0
    assert not (folder / NAME).exists()


def test_two_that_want_the_same_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with claim(Storage(tmp_path / "run")):
        assert main(["run", TINY, "--out", str(tmp_path / "run")]) == 2
        assert "is working on this run" in capsys.readouterr().err
    assert not (tmp_path / "run" / "manifest.json").exists()
