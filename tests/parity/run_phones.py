"""Runs tiny phones in another mode of the kernels and prints a hash of their memory; started by the tests.

    run_phones.py compiled|interpreted|simulator THREADS KEY=VALUE ...

The environment chooses how the kernels run: NUMBA_DISABLE_JIT=1, and for the simulator NUMBA_ENABLE_CUDASIM=1 too.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings

import numpy as np

from fleetswap import metrics
from fleetswap_kernels.arena import Arena
from tests.properties.phones import ready, tiny

DEVICES = 2


def run(mode: str, threads: int, settings: list[str]) -> tuple[str, dict[str, int]]:
    """Hash of the memory of all devices at the end, and the sums of their counters."""
    # Interpreted integers must not overflow where compiled ones are wide enough.
    warnings.simplefilter("error", RuntimeWarning)
    arena, laid_out = ready(tiny(*settings, devices=DEVICES, seed=3), threads, verify=False)
    program, end = laid_out.program, laid_out.marks[-1]
    if mode == "simulator":
        on_simulator(arena, program, end)
    else:
        arena.run(program, 0, end)
    counted = arena.counters().astype(np.int64).sum(axis=0).tolist()
    sums = {name: counted[index] for name, index in metrics.columns().items()}
    return hashlib.sha256(np.ascontiguousarray(arena.memory).tobytes()).hexdigest(), sums


def on_simulator(arena: Arena, program: np.ndarray, end: int) -> None:
    """The same through the CUDA kernels, a thread per device, on Numba's simulator."""
    from fleetswap_kernels.launch_cuda import CudaArena

    fresh = Arena([(blueprint, 1) for blueprint in arena.blueprints])
    device = CudaArena(fresh.memory, fresh.base, fresh.model)
    device.init(fresh.blueprints[0].header_content)
    device.run(program, 0, end)
    device.copy_to(arena.memory)
    arena.check()


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]), sys.argv[3:])))
