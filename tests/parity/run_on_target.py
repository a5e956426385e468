"""Runs scripts in another mode of the kernels and prints a hash of every device's memory; started by the tests.

    run_on_target.py compiled|interpreted|simulator FOLDER SCRIPT.ops ...

The environment chooses how the kernels run: NUMBA_DISABLE_JIT=1, and for the simulator NUMBA_ENABLE_CUDASIM=1 too.
The simulator runs them behind the backend cuda, whose GPU is memory of the host (`tests.launch.fake_gpu`).
The compiled run leaves its programs in the folder, the others take them from there: sizing pages with an interpreted
LZ4 would take most of their time.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
import warnings
from pathlib import Path

import pytest

from fleetswap.script.language import load_script
from fleetswap.script.program import Compiled, compile_script
from fleetswap_kernels.backend.arena import Arena
from fleetswap_kernels.backend.choose import choose
from fleetswap_kernels.backend.contract import Backend
from fleetswap_kernels.backend.cpu.state import CpuBackend
from tests.launch.fake_gpu import FakeGpu


def backend_of(mode: str) -> Backend:
    """What runs devices in a mode."""
    if mode != "simulator":
        return CpuBackend()
    # Simulated kernels see nothing else than the device's memory.
    FakeGpu().install(pytest.MonkeyPatch(), simulator=True)
    backend, _ = choose("cuda")
    return backend


def run(compiled: Compiled, copies: int, backend: Backend) -> Arena:
    """Run a program on some equal devices."""
    arena = Arena([(compiled.blueprint, copies)], backend=backend)
    arena.init()
    arena.run(compiled.program, 0, len(compiled.program) if compiled.steps else 0)
    return arena


def program_of(mode: str, folder: Path, script: str) -> Compiled:
    """Compile a script, or load what the compiled run made of it."""
    stored = folder / f"{Path(script).stem}.pickle"
    if mode == "compiled":
        compiled = compile_script(load_script(script))
        stored.write_bytes(pickle.dumps(compiled))
        return compiled
    loaded: Compiled = pickle.loads(stored.read_bytes())  # noqa: S301 (written by this program)
    return loaded


def main(mode: str, folder: str, paths: list[str]) -> None:
    """Run every script and print its hashes as JSON."""
    # Interpreted integers must not overflow where compiled ones are wide enough.
    warnings.simplefilter("error", RuntimeWarning)
    backend = backend_of(mode)
    hashes = {}
    for path in paths:
        arena = run(program_of(mode, Path(folder), path), 2, backend)
        hashes[path] = hashlib.sha256(arena.memory.tobytes() + arena.counters().tobytes()).hexdigest()
    print(json.dumps(hashes))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
