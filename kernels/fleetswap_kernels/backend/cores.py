"""Cores: how many this process may use, by its affinity and by the CPU quotas of its control groups."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Cores that this process can keep busy; a part of one counts as one.

    Parameters
    ----------
    proc : Path
        Which control groups the process is in, as the kernel tells (cgroups(7)).
    cgroups : Path
        Where their file systems are mounted.
    """
    cores = len(os.sched_getaffinity(0))
    for quota, period in _quotas(proc, cgroups):
        if quota > 0 and period > 0:  # no quota is -1
            cores = min(cores, -(-quota // period))
    return cores


def _quotas(proc: Path, cgroups: Path) -> Iterator[tuple[int, int]]:
    """Microseconds of CPU time in each period, of every control group that holds the process, and the period."""
    for line in _text(proc).splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        # A container may see its own group as the root, whatever it is called outside: then only the root is there.
        root = cgroups / "cpu" if controllers else cgroups
        inside = Path(path.lstrip("/"))
        for group in (inside, *inside.parents):
            folder = root / group
            words = (
                [_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
                if controllers
                else _text(folder / "cpu.max").split()
            )
            if len(words) == 2 and words[0].removeprefix("-").isdecimal() and words[1].isdecimal():
                yield int(words[0]), int(words[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
