"""Phones under pressure end up with the same bytes compiled, on two threads, interpreted and on the CUDA simulator."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("run_phones.py")
MODES = {
    "compiled": {},
    "interpreted": {"NUMBA_DISABLE_JIT": "1"},
    "simulator": {"NUMBA_DISABLE_JIT": "1", "NUMBA_ENABLE_CUDASIM": "1"},
}
SHORT = ("steps_per_day=2", "behaviour.switches_per_day=8", "app_class.large.share=4")
TIGHT = ("device_class.phone.unavailable_percent=75", "device_class.phone.zram=25p")
PHONES = {
    "full swap, kills": (
        *TIGHT,
        "device_class.phone.cpus=2",
        "policy.defrag=always",
    ),
    "blocks": (
        *TIGHT,
        "device_class.phone.zram=200p",
        "device_class.phone.block=16K",
        "policy.block_rewrite=true",
        "policy.block_fallback=true",
    ),
    "exact pool": (
        "policy.pool=exact",
        "policy.reclaim.min_free_kib=131072",
        "device_class.phone.codec=zstd",
        "policy.zeromap=off",
    ),
    "reserve and margin": (
        "policy.large_pool.share_percent=25",
        "policy.margin_rule=true",
        "system.zygote_cow_percent=60",
    ),
    "madvise and readahead": (
        *TIGHT,
        "policy.thp=madvise",
        "policy.mthp.64K=inherit",
        "policy.mthp.16K=madvise",
        "app_class.large.madvise_hugepage=true",
        "device_class.phone.page_cluster=2",
        "policy.kernel=v7",
    ),
}
HAPPENS = {
    "full swap, kills": ("kills_low_swap", "folio_refused_64kB", "pgsteal_kswapd", "cold_starts", "compacted_apps"),
    "blocks": ("blk_decomp", "blk_rewrite", "pgsteal_kswapd", "workingset_refault_anon"),
    "exact pool": ("pool_pages", "pswpin", "pgsteal_kswapd"),
    "reserve and margin": ("folio_alloc_64kB", "copied_pages", "pgsteal_kswapd"),
    "madvise and readahead": ("swap_ra", "folio_alloc_64kB", "folio_alloc_16kB", "pgsteal_kswapd"),
}
"""What a phone must have met, or it would show nothing."""


@cache
def result(name: str, mode: str, threads: int = 1) -> tuple[str, dict[str, int]]:
    """Hash of the memory of the phones of a name in one mode of the kernels, and their counters."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")} | MODES[mode]
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, str(PROGRAM), mode, str(threads), *SHORT, *PHONES[name]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    memory, sums = json.loads(done.stdout)
    return memory, sums


@pytest.mark.parametrize("name", PHONES)
def test_the_phones_meet_what_they_are_for(name: str) -> None:
    _, sums = result(name, "compiled")
    assert [counter for counter in HAPPENS[name] if sums[counter] == 0] == []


@pytest.mark.parametrize("name", PHONES)
def test_two_threads_change_no_byte(name: str) -> None:
    assert result(name, "compiled", 2) == result(name, "compiled")


@pytest.mark.parametrize("mode", ["interpreted", "simulator"])
@pytest.mark.parametrize("name", PHONES)
def test_every_byte_is_equal(name: str, mode: str) -> None:
    if mode == "simulator" and importlib.util.find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda, which has the simulator, is not installed")
    assert result(name, mode) == result(name, "compiled")
