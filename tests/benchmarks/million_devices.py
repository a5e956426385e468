"""Time and memory of fleets of growing size on this machine: python tests/benchmarks/million_devices.py DEVICES...

    python tests/benchmarks/million_devices.py 2000 8000
    python tests/benchmarks/million_devices.py 1000000 --out runs/scale

Each number of devices is one `fleetswap run --cluster local` with a worker for each core, in a program of its own:
phones of a day, with 26.6 processes on average, of which a page stands for 512 (`page_scale`). Memory is the
proportional set size of the driver and all its children together, looked at four times a second. Last comes the line
through the two largest fleets, at 1,000,000 devices. With --out the run directories are kept, and a second call goes on
with one that is unfinished: what it tells then is of the rest.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

FLEET = ("--set", "page_scale=512")
WORKERS = ("--cluster", "local", "--json")
LOOK_S = 0.25
MILLION = 1_000_000


@dataclass(frozen=True)
class Measured:
    """What a run took."""

    devices: int
    wall_s: float
    cpu_s: float
    peak_bytes: int
    disk_bytes: int
    shards: int


def memory_bytes(root: psutil.Process) -> int:
    """Memory of a process and its children; pages that several of them map are counted once."""
    found = 0
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            found += process.memory_full_info().pss
    return found


def measure(devices: int, folder: Path) -> Measured:
    """Run one fleet, or the rest of it."""
    new = ("phones", "--devices", str(devices), *FLEET, "--out", str(folder))
    words = [
        sys.executable,
        "-m",
        "fleetswap",
        "run",
        *(("--resume", str(folder)) if folder.exists() else new),
        *WORKERS,
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    peak = 0
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as program:
        root = psutil.Process(program.pid)
        while program.poll() is None:
            with contextlib.suppress(psutil.Error):
                peak = max(peak, memory_bytes(root))
            time.sleep(LOOK_S)
    if program.returncode:
        raise SystemExit(program.returncode)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    disk = sum(path.stat().st_size for path in folder.iterdir())
    shards = len(json.loads((folder / "manifest.json").read_text())["shards"])
    return Measured(devices, wall, cpu, peak, disk, shards)


def at_a_million(small: float, large: float, less: int, more: int) -> float:
    """The line through two fleets, at a million devices."""
    return large + (large - small) / (more - less) * (MILLION - more)


def main(fleets: list[int], outer: Path) -> None:
    """Print what each fleet takes."""
    found = []
    for devices in sorted(fleets):
        one = measure(devices, outer / str(devices))
        print(
            f"{one.devices:,} devices in {one.shards} shards: {one.wall_s:,.1f} s, {one.cpu_s:,.1f} CPU seconds, "
            f"{one.peak_bytes / (1 << 20):,.0f} MiB of memory at most, {one.disk_bytes:,} bytes written",
            flush=True,
        )
        found.append(one)
    if len(found) > 1:
        a, b = found[-2:]
        wall, cpu = (at_a_million(getattr(a, k), getattr(b, k), a.devices, b.devices) for k in ("wall_s", "cpu_s"))
        print(f"1,000,000 devices on that line: {wall / 3600:.2f} h, {cpu / 3600:.2f} CPU hours")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("devices", type=int, nargs="+")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(given.devices, given.out or Path(temporary))
