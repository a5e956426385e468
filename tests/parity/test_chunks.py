"""A fleet ends up with the same bytes whatever backend runs it and in whatever pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fleetswap.script.language import load_script, parse_script
from fleetswap.script.program import compile_script
from fleetswap_kernels.backend.arena import Arena, Blueprint
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.contract import Backend
from fleetswap_kernels.backend.cpu.state import CpuBackend

CORPUS = Path(__file__).parents[1] / "conformance" / "corpus"
RANDOM = """
cfg thp 16=always 64=always
cfg zram 6M lz4
map A 600 9 hugepage
write A 0 600 mix:1
pageout A 0 600
randdontneed A 16 9 text:1
randwrite A 4 9 rand:2
pageout A 0 600
read A 0 600
"""


def fleet(backend: Backend = ONE_THREAD) -> tuple[Arena, np.ndarray]:
    """Devices of two sizes, each with its own random numbers, ready to run."""
    small = compile_script(parse_script(RANDOM))
    large = compile_script(parse_script(RANDOM.replace("6M", "9M")))
    kinds = [
        (Blueprint(**{**vars(one.blueprint), "policy": {**one.blueprint.policy, "random_philox": 1, "seed_lo": 7}}), n)
        for one, n in ((small, 23), (large, 14))
    ]
    arena = Arena(kinds, first_id=5, backend=backend)
    arena.init()
    return arena, small.program


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    """Memory after one run from the first operation to the last, on one thread."""
    arena, program = fleet()
    arena.run(program, 0, len(program))
    devices = {arena.view(d).by.tobytes() for d in range(len(arena))}
    assert len(devices) == len(arena), "devices with their own random numbers should differ"
    return arena.memory.copy()


def test_backends_change_nothing(expected: np.ndarray, backend: Backend) -> None:
    arena, program = fleet(backend)
    arena.run(program, 0, len(program))
    assert np.array_equal(arena.memory, expected)


@pytest.mark.parametrize("threads", [3, 8])
def test_more_threads_than_cores_change_nothing(expected: np.ndarray, threads: int) -> None:
    arena, program = fleet(CpuBackend(threads))
    arena.run(program, 0, len(program))
    assert np.array_equal(arena.memory, expected)


@pytest.mark.parametrize("pieces", [[3], [1, 2, 5, 6], [4, 4, 7]])
def test_runs_in_pieces_change_nothing(expected: np.ndarray, pieces: list[int], backend: Backend) -> None:
    arena, program = fleet(backend)
    first = 0
    for end in (*pieces, len(program)):
        arena.run(program, first, end)
        first = end
    # The header also says how the last operation of a run went; it is the same one.
    assert np.array_equal(arena.memory, expected)


@pytest.mark.parametrize("name", ["r01_tiny", "c02_cpus_tight", "p05_fork_tree"])
def test_equal_devices_run_alike(name: str, backend: Backend) -> None:
    compiled = compile_script(load_script(CORPUS / f"{name}.ops"))
    alone = Arena([(compiled.blueprint, 1)], ONE_THREAD)
    many = Arena([(compiled.blueprint, 9)], backend=backend)
    for arena in (alone, many):
        arena.init()
        arena.run(compiled.program, 0, len(compiled.program))
    number = alone.records.dtype.fields["device_id"][1]
    for d in range(9):
        memory = many.view(d).by.copy()
        memory[number : number + 4] = 0
        assert np.array_equal(memory, alone.view(0).by)
