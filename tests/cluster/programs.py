"""Programs of a cluster as processes of their own: Dask's scheduler and workers, and fleetswap as their driver."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from distributed import Client

from tests.cluster.tiny_fleet import DEVICES, TINY

DASK = [sys.executable, "-m", "dask"]
FOREVER_S = 10**6
"""For what asks for a number."""
FLEETSWAP = [sys.executable, "-m", "fleetswap"]
LAST_CHARACTERS = 4000
"""Of what a program said, shown where a test failed."""


@contextmanager
def program(*words: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a process group of its own, which is ended with all of it; a test that fails shows what it said."""
    # A test run in the background of a shell ignores Ctrl-C, which programs inherit: they start as from a terminal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("w") as file, subprocess.Popen(words, stdout=file, stderr=file, start_new_session=True) as process:
        signal.signal(signal.SIGINT, before)
        try:
            yield process
        except BaseException:
            print(f"{' '.join(words)}:\n{log.read_text(errors='replace')[-LAST_CHARACTERS:]}")
            raise
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def scheduler(tmp_path: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    words = (*DASK, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    with program(*words, log=tmp_path / f"scheduler-{port}.log") as process:
        yield process


@contextmanager
def worker(tmp_path: Path, port: int, nthreads: int = 1, nworkers: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    words = (*DASK, "worker", address(port), "--nthreads", str(nthreads), "--nworkers", str(nworkers), "--no-dashboard")
    with program(*words, "--local-directory", str(tmp_path), log=tmp_path / f"worker-{port}.log") as process:
        yield process


def address(port: int) -> str:
    return f"tcp://127.0.0.1:{port}"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(what: Callable[[], object], process: subprocess.Popen[bytes] | None = None, poll_s: float = 0.05) -> None:
    """However long it takes, but not longer than the process lives that is to do it."""
    while not what():
        assert process is None or process.poll() is None or what(), f"it ended with {process.returncode}"
        time.sleep(poll_s)


def start_cluster(stack: ExitStack, tmp_path: Path, workers: int, nthreads: int = 1) -> tuple[Any, int]:
    """A scheduler, which is returned, its port, and workers that are there."""
    port = free_port()
    process = stack.enter_context(scheduler(tmp_path, port))
    stack.enter_context(worker(tmp_path, port, nthreads, workers))
    with Client(address(port), timeout=FOREVER_S) as client:
        client.wait_for_workers(workers)
    return process, port


def run_words(folder: Path, *words: str, devices: int = DEVICES) -> list[str]:
    """What begins a run of tiny phones."""
    return ["run", TINY, "--devices", str(devices), "--out", str(folder), *words]


def done_in(folder: Path) -> list[Path]:
    """Records of done shards."""
    return sorted((folder / "unfinished" / "done").rglob("[0-9]*.json"))
