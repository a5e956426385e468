"""The kernels' PTX, run here, does what compiled CPU code does; what it was counted to ask is what is on file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleetswap.bench.gpu_model import edges, events, registers
from fleetswap.scenario.experiments import AllocatorTest
from fleetswap.script.language import load_script
from fleetswap.script.program import compile_script
from fleetswap_kernels.backend.arena import Arena
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.warps import WARP
from tests.compile.once import compiled_once, missing

from .count_events import Kernels, count_small
from .memory_trace import EDGES, MemoryTrace
from .workloads import SWITCHES, Case, Runner, addresses, allocator, phone_fleet

CORPUS = Path(__file__).parents[1] / "conformance" / "corpus"
SCRIPTS = ("t01_order0", "t03_small_mthp", "t08_zero_in_large", "t19_slot_cache", "r05_tiny", "p01_fork_after_out",
           "p06_readahead", "z01_mem_limit")  # fmt: skip
SMALL_PHONES = ("page_scale=512", "behaviour.switches_per_day=24")
needs_compiler = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture(scope="module")
def ptx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the kernels' PTX."""
    return compiled_once(tmp_path_factory)[0]


def same_bytes(case: Case, folder: Path) -> None:
    runner = Runner(case, Kernels(folder)[case.kernel], MemoryTrace(*addresses(case)))
    for device in range(len(case.arena)):
        runner.run(device, case.first, case.end)
    assert np.array_equal(runner.memory(), case.after())


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_ptx_leaves_every_byte_as_the_cpu_does(name: str, ptx: Path) -> None:
    script = compile_script(load_script(str(CORPUS / f"{name}.ops")))
    arena = Arena([(script.blueprint, 2)], ONE_THREAD)
    arena.init()
    same_bytes(Case("run_devices", arena, script.program, 0, len(script.program)), ptx)


@pytest.mark.slow
@needs_compiler
def test_phones_too(ptx: Path) -> None:
    case = phone_fleet(SMALL_PHONES, 3)
    assert int(case.program[0, 2]) >= SWITCHES
    same_bytes(case, ptx)


@pytest.mark.slow
@needs_compiler
def test_the_file_is_what_the_program_counts(ptx: Path) -> None:
    found = count_small(ptx)
    stored = {key: events()[key] for key in found}
    # After a change of the kernels: the command stands in the file's "how".
    assert found == stored


@pytest.mark.parametrize("record", [*events()["workloads"].values(), *events()["small"].values(), *events()["kinds"]])
def test_counts_add_up(record: dict[str, Any]) -> None:
    assert edges() == EDGES
    assert sum(record["fetches"]) == record["loads"] + record["stores"]
    assert sum(record["loads_by_distance"]) == record["loads"]
    assert sum(record["writebacks"]) == record["stores"]
    # Loads of what all threads share are in the chain as well.
    assert sum(record["chain"]) <= record["loads"] + record["shared"] + record["local"]
    assert record["alu"] <= record["instructions"]
    assert record["branches"] < record["instructions"]
    assert record["sectors"] <= sum(record["fetches"])
    for widths in [record["divergence"]["together"]] if "divergence" in record else []:
        for width, found in widths.items():
            assert 1 <= found["issue_factor"] <= int(width) <= WARP
            assert 1 <= found["time_factor"] <= int(width)


def test_every_kernel_that_was_counted_was_assembled() -> None:
    for record in events()["workloads"].values():
        for capability, kernels in registers().items():
            assert kernels[record["kernel"]]["registers"] > 0, capability


def test_large_swap_in_reads_more_pages_per_fault_and_asks_less_per_page() -> None:
    on, off = (events()["workloads"][f"allocator-test {policy}"] for policy in ("on", "off"))
    for what in ("instructions", "loads", "alu"):
        assert on[what] / on["page_events"] < off[what] / off["page_events"]


def test_a_warm_device_is_looked_at() -> None:
    case = allocator(AllocatorTest(region_mib=2, zram_mib=3, swapin_mib=1, dontneed_mib=1))
    before = case.arena.memory.copy()
    after = case.after()
    # `after` works on a copy: the case can be run again.
    assert np.array_equal(case.arena.memory, before)
    assert not np.array_equal(after, before)
