"""One source, any target: compiled, interpreted and CUDA-simulator runs leave every byte of every device the same.

The interpreted run sees each device through a view of its exact length, so that a wild index, which compiled code
would follow silently, is an IndexError; and it turns an integer overflow into an error.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CORPUS = Path(__file__).parents[1] / "conformance" / "corpus"
PROGRAM = Path(__file__).with_name("run_on_target.py")
MODES = {
    "compiled": {},
    "interpreted": {"NUMBA_DISABLE_JIT": "1"},
    "simulator": {"NUMBA_DISABLE_JIT": "1", "NUMBA_ENABLE_CUDASIM": "1"},
}
GROUPS = {
    "slots and caches": ["t01_order0", "t17_exhaust_order0", "t19_slot_cache"],
    "large folios": ["t02_one64k", "t03_small_mthp", "t07_partial_dontneed", "t08_zero_in_large"],
    "splits": ["t10_split_zero", "t11_partial_pageout", "t13_partially_mapped", "t18_partial_cluster"],
    "random": ["r00_tiny", "r01_tiny", "r02_tiny", "r05_tiny", "r06_tiny", "r07_tiny"],
    "fork and readahead": ["p01_fork_after_out", "p02_fork_before_out", "p03_fork_dontneed", "p06_readahead"],
    "write errors": ["z01_mem_limit"],
}
BLOCKS = """
        cfg cpus 1
        cfg thp 16=always 64=always 128=always
        cfg page_cluster 1
        cfg blocks 4 rewrite fallback
        cfg pool {pool}
        cfg content seed=7 scaled
        cfg zram 12M {codec}
        map A 96 9 hugepage
        write A 0 96 class:game_native
        write A 8 3 class:game_native:1
        write A 32 16 class:media:2
        pageout A 0 96
        dontneed A 1 9
        read A 0 1
        verdict folio 64 0
        read A 40 1
        fork child
        @child write A 64 4 class:gpu_raster:3
        @child read A 70 1
        pageout A 0 96
        @child exit
        thp 128=never
        write A 60 20 class:java_app:4
        pageout A 0 96
        read A 0 96
    """
NAMED = {
    "blocks, packed": BLOCKS.format(pool="packed", codec="zstd"),
    "blocks, exact": BLOCKS.format(pool="exact", codec="lzo-rle"),
    # What the corpus has no script for: verdicts, both halves of a fault, userfaultfd, the v7 rules.
    "additions": """
        cfg cpus 2
        cfg thp 16=always 64=always
        cfg page_cluster 2
        cfg kernel v7
        cfg zram 2M lz4
        map A 64 9 hugepage
        map B 20 1 hugepage
        verdict folio 64 0110
        verdict charge 16 10
        verdict swap 4 0101
        write A 0 64 mix:1
        advise B uffd
        write B 0 20 text:2
        pageout A 0 64
        pageout B 0 20
        fault_begin A 3 write
        cpu 1
        read A 0 8
        zswap
        write A 32 20 zero
        cpu 0
        fault_end
        fork child
        @child read A 0 64
        dontneed A 5 30
        pageout A 0 64
        @child exit
        read A 0 64
    """,
}


def hashes(mode: str, folder: Path, scripts: list[Path]) -> dict[str, str]:
    """Hash of the device memory after each script, in one mode of the kernels."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")} | MODES[mode]
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, str(PROGRAM), mode, str(folder), *map(str, scripts)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, str] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("mode", ["interpreted", "simulator"])
@pytest.mark.parametrize("group", [*GROUPS, *NAMED])
def test_every_byte_is_equal(group: str, mode: str, tmp_path: Path) -> None:
    if mode == "simulator" and importlib.util.find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda, which has the simulator, is not installed")
    scripts = [CORPUS / f"{name}.ops" for name in GROUPS.get(group, [])]
    if group in NAMED:
        scripts = [tmp_path / "script.ops"]
        scripts[0].write_text(NAMED[group])
    expected = hashes("compiled", tmp_path, scripts)
    assert len(set(expected.values())) == len(scripts)
    assert hashes(mode, tmp_path, scripts) == expected
