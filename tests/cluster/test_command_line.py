"""`fleetswap run --cluster` and `--resume` from the command line, with Dask's own scheduler and worker programs."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack

import pytest

from fleetswap.cli import main
from fleetswap_kernels.backend.extras import PIP_INSTALL
from tests.cluster.programs import (
    FLEETSWAP,
    address,
    done_in,
    free_port,
    program,
    run_words,
    start_cluster,
    wait_for,
)
from tests.cluster.tiny_fleet import DEVICES, TINY, assert_same


def test_an_own_cluster(plain, tmp_path, capfd):
    assert main(run_words(tmp_path / "run", "--cluster", "local", "--workers", "2", "--json")) == 0
    shown = capfd.readouterr()
    assert json.loads(shown.out)["devices"]["all"] == DEVICES
    assert "dashboard: http://127.0.0.1:" in shown.err
    assert "2 shard(s) at a time, 1 thread(s)" in shown.err
    assert "versions equal" in shown.err
    assert "devices/s" in shown.err
    assert "left 0:00:00" in shown.err
    assert_same(tmp_path / "run", plain)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["slots"] == 2


@pytest.mark.parametrize("done_before", [3, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 8, 19, 33))])
def test_a_scheduler_that_is_killed_and_then_another_one(done_before, plain, tmp_path):
    folder, log = tmp_path / "run", tmp_path / "driver.log"
    with ExitStack() as stack:
        doomed, port = start_cluster(stack, tmp_path, workers=1)
        words = [*FLEETSWAP, *run_words(folder, "--cluster", address(port))]
        driver = stack.enter_context(program(*words, "--shards", str(DEVICES), log=log))
        wait_for(lambda: len(done_in(folder)) >= done_before, driver)
        doomed.send_signal(signal.SIGKILL)
        assert driver.wait() == 2
    assert done_before <= len(done_in(folder)) < DEVICES
    last = log.read_text().strip().splitlines()[-1]
    assert last.startswith(f"fleetswap: the scheduler at tcp://127.0.0.1:{port} is gone or does not answer")
    assert last.endswith(f"what is done is kept: go on with --resume {folder}")
    # Another scheduler, whose one worker has two threads.
    with ExitStack() as stack:
        _, other = start_cluster(stack, tmp_path, workers=1, nthreads=2)
        assert main(["run", "--resume", str(folder), "--cluster", address(other)]) == 0
    assert_same(folder, plain)


def test_a_driver_that_is_killed_and_a_second_one_that_has_to_wait(plain, tmp_path, capsys):
    folder = tmp_path / "run"
    words = [*FLEETSWAP, *run_words(folder, "--cluster", "local", "--workers", "1")]
    with program(*words, "--shards", str(DEVICES), log=tmp_path / "driver.log") as driver:
        wait_for(lambda: len(done_in(folder)) >= 2, driver)
        driver.send_signal(signal.SIGSTOP)
        capsys.readouterr()
        assert main(["run", "--resume", str(folder)]) == 2
        assert f":{driver.pid} is working on this run; wait for it, or end it first" in capsys.readouterr().err
        assert main(run_words(folder)) == 2
        assert "exists already" in capsys.readouterr().err
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        assert len(done_in(folder)) < DEVICES
        assert main(["run", "--resume", str(folder)]) == 0
    assert_same(folder, plain)
    assert main(["run", "--resume", str(folder), "--json"]) == 0
    shown = capsys.readouterr()
    assert "is finished already" in shown.err
    assert json.loads(shown.out.splitlines()[-1])["devices"]["all"] == DEVICES


def test_interrupting_a_driver_is_one_line_and_leaves_no_process(tmp_path):
    folder, log = tmp_path / "run", tmp_path / "driver.log"
    # So many that they are not done before the signal comes, however busy this machine is.
    many = run_words(folder, "--cluster", "local", "--workers", "2", "--shards", "4000", devices=4000)
    with program(*FLEETSWAP, *many, log=log) as driver:
        wait_for(lambda: len(done_in(folder)) >= 2, driver)
        # As a terminal does it: to all processes of the group.
        os.killpg(driver.pid, signal.SIGINT)
        assert driver.wait() == 130
        with pytest.raises(ProcessLookupError):
            wait_for(lambda: os.killpg(driver.pid, 0) is not None)
    last = log.read_text().strip().splitlines()[-1]
    assert last == f"fleetswap: interrupted; what is done is kept: go on with --resume {folder}"
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cluster", "ring"], "--cluster ring: is not possible; allowed are local, cuda, slurm, kubernetes, tcp://"),
        (["--workers", "2"], "--workers: needs --cluster; for threads of this process there is --threads"),
        (["--cluster", "cuda"], f"--cluster cuda: dask_cuda is not installed: {PIP_INSTALL} dask-cuda"),
    ],
)
def test_bad_words(words, message, tmp_path, capsys):
    assert main(run_words(tmp_path / "run", *words)) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_no_scheduler(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fleetswap_cluster.clusters.CONNECT_S", 0.5)
    port = free_port()
    assert main(run_words(tmp_path / "run", "--cluster", address(port))) == 2
    assert f"--cluster tcp://127.0.0.1:{port}: no scheduler answers" in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_on_a_cluster(tmp_path, capsys):
    over = ["sweep", TINY, "--devices", "12", "--over", "policy.large_swapin=off,on"]
    assert main([*over, "--out", str(tmp_path / "here")]) == 0
    assert main([*over, "--out", str(tmp_path / "there"), "--cluster", "local", "--workers", "2", "--shards", "5"]) == 0
    here, there = tmp_path / "here", tmp_path / "there"
    assert {path.name for path in there.iterdir()} == {"summary.json", "sweep.parquet", "manifest.json"}
    for name in ("summary.json", "sweep.parquet"):
        assert (here / name).read_bytes() == (there / name).read_bytes()
    capsys.readouterr()
    assert main(["run", "--resume", str(there)]) == 2
    assert "is a sweep; go on with fleetswap sweep --resume" in capsys.readouterr().err
    assert main(["sweep", "--resume", str(there), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["points"] == json.loads((here / "summary.json").read_text())["points"]
