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
from fleetswap_kernels.launch_threads import CpuBackend
from tests.parity.run_on_target import backend_of
from tests.properties.phones import ready, tiny

DEVICES = 2


def run(mode: str, threads: int, settings: list[str]) -> tuple[str, dict[str, int]]:
    """Hash of the memory of all devices at the end, and the sums of their counters."""
    # Interpreted integers must not overflow where compiled ones are wide enough.
    warnings.simplefilter("error", RuntimeWarning)
    backend = backend_of(mode) if threads == 1 else CpuBackend(threads)
    arena, laid_out = ready(tiny(*settings, devices=DEVICES, seed=3), backend, verify=False)
    arena.run(laid_out.program, 0, laid_out.marks[-1])
    counted = arena.counters().astype(np.int64).sum(axis=0).tolist()
    sums = {name: counted[index] for name, index in metrics.columns().items()}
    return hashlib.sha256(arena.memory.tobytes()).hexdigest(), sums


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]), sys.argv[3:])))
