"""Runs tiny phones in another mode of the kernels, prints a hash of memory and tallies; started by the tests.

    run_phones.py compiled|interpreted|simulator THREADS KEY=VALUE ...

The environment chooses how the kernels run: NUMBA_DISABLE_JIT=1, and for the simulator NUMBA_ENABLE_CUDASIM=1 too.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings

import numpy as np

from fleetswap.fleet.shard import folding
from fleetswap.workload import metrics
from fleetswap_kernels.backend.cpu.state import CpuBackend
from tests.parity.run_on_target import backend_of
from tests.properties.phones import ready, tiny

DEVICES = 2


def run(mode: str, threads: int, settings: list[str]) -> tuple[str, dict[str, int]]:
    """Hash of the memory of all devices at the end and of what was folded, and the sums of their counters."""
    # Interpreted integers must not overflow where compiled ones are wide enough.
    warnings.simplefilter("error", RuntimeWarning)
    backend = backend_of(mode) if threads == 1 else CpuBackend(threads)
    scenario = tiny(*settings, devices=DEVICES, seed=3)
    arena, laid_out = ready(scenario, backend, verify=False)
    fold = arena.fold(folding(laid_out, np.zeros(DEVICES, dtype=np.int64)))
    marks = laid_out.marks
    tallies = arena.run_steps(fold, laid_out.program, marks)
    tallies.append(fold.tally_run(len(marks) - 1))
    folded = [array for tally in tallies for array in (tally.bins, tally.facts, tally.totals)]
    folded += [fold.changes(), fold.parts(), fold.state_sums()]
    counted = arena.counters().astype(np.int64).sum(axis=0).tolist()
    sums = {name: counted[index] for name, index in metrics.columns().items()}
    everything = b"".join(array.tobytes() for array in (arena.memory, *folded))
    return hashlib.sha256(everything).hexdigest(), sums


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]), sys.argv[3:])))
