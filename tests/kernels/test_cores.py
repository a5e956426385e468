"""Usable cores: what affinity and quotas leave, of trees of control groups as cgroups(7) describes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleetswap_kernels.backend import cores
from tests.cluster.programs import FLEETSWAP

FOUR = {0, 1, 2, 3}
# Files of a tree, and the cores that they leave of four.
TREES = [
    ({}, 4),
    ({"proc": "0::/\n"}, 4),
    ({"proc": "0::/a/b\n", "a/b/cpu.max": "max 100000\n"}, 4),
    ({"proc": "0::/a/b\n", "a/b/cpu.max": "200000 100000\n"}, 2),
    ({"proc": "0::/a/b\n", "a/b/cpu.max": "max 100000\n", "a/cpu.max": "50000 50000\n"}, 1),
    ({"proc": "0::/a/b\n", "a/b/cpu.max": "300000 100000\n", "a/cpu.max": "200000 100000\n"}, 2),
    ({"proc": "0::/a/b\n", "a/b/cpu.max": "100000 100000\n", "a/cpu.max": "200000 100000\n"}, 1),
    # A part of a core is used by a thread more, and the least part by one.
    ({"proc": "0::/a\n", "a/cpu.max": "150000 100000\n"}, 2),
    ({"proc": "0::/a\n", "a/cpu.max": "1000 100000\n"}, 1),
    ({"proc": "0::/a\n", "a/cpu.max": "6400000 100000\n"}, 4),
    # In a container the path is of the host, whose groups are not there.
    ({"proc": "0::/system.slice/docker-1.scope\n", "cpu.max": "100000 100000\n"}, 1),
    ({"proc": "0::/a\n", "a/cpu.max": "nonsense\n"}, 4),
    (
        {
            "proc": "12:cpuset:/\n4:cpu,cpuacct:/a\n0::/b\n",
            "cpu/a/cpu.cfs_quota_us": "300000\n",
            "cpu/a/cpu.cfs_period_us": "100000\n",
        },
        3,
    ),
    (
        {"proc": "4:cpu:/a/b\n", "cpu/a/cpu.cfs_quota_us": "50000\n", "cpu/a/cpu.cfs_period_us": "50000\n"},
        1,
    ),
    ({"proc": "4:cpu:/a\n", "cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 4),
    ({"proc": "3:cpuset:/a\n", "cpu/a/cpu.cfs_quota_us": "1\n", "cpu/a/cpu.cfs_period_us": "1\n"}, 4),
]


@pytest.mark.parametrize(("files", "expected"), TREES, ids=[str(i) for i in range(len(TREES))])
def test_quotas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: FOUR)
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cores.usable_cores(tmp_path / "proc", tmp_path) == expected


def test_a_process_bound_to_one_core_tells_of_one_everywhere() -> None:
    """However many the machine has: a program that thinks of 64."""
    program = (
        "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); os.cpu_count = lambda: 64\n"
        "from fleetswap.fleet.backend import open_backend\n"
        "from fleetswap_cluster import clusters\n"
        "import distributed; distributed.LocalCluster = lambda **told: told['n_workers']\n"
        "print(open_backend('cpu').backend.threads, clusters._start('local', None, 1))\n"
        "from fleetswap.cli import main\n"
        "sys.exit(main(['doctor']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    first, *doctor = done.stdout.splitlines()
    assert first == "1 1"
    assert "cores        1 usable, by affinity and CPU quota" in doctor
    assert any(line.startswith("backend cpu  yes: 1 thread") for line in doctor)
    assert "64 thread" not in done.stdout


def test_a_plan_is_for_the_cores_that_may_be_used() -> None:
    words = ["plan", "phones", "--devices", "2", "--set", "page_scale=512", "--json"]
    bound = ["/usr/bin/env", "taskset", "-c", "0", *FLEETSWAP, *words]
    done = subprocess.run(bound, capture_output=True, text=True, check=True)
    assert '"threads": 1' in done.stdout
