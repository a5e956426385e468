"""Runs devices some of which must fail in another mode of the kernels; prints which one is named, and its error.

    run_errors.py compiled|simulator

The environment chooses how the kernels run (`run_on_target`).
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace

from fleetswap.script.language import parse_script
from fleetswap.script.program import compile_script
from fleetswap_kernels.backend.arena import Arena, DeviceError
from fleetswap_kernels.backend.contract import Backend
from tests.parity.run_on_target import backend_of

SCRIPT = "cfg thp 64=always\ncfg zram 1M lz4\nmap A 32 9 hugepage\nwrite A 0 32 mix:1\n"
DEVICES = 40
BROKEN = ((37, 12), (5,), (39, 33, 32))
"""Devices that have too few frames; they are in both of two lanes, and none of them is the first."""


def memory_of(backend: Backend) -> str:
    """Hash of the memory of devices of which none fails."""
    compiled = compile_script(parse_script(SCRIPT))
    arena = Arena([(compiled.blueprint, DEVICES)], backend=backend)
    arena.init()
    arena.run(compiled.program, 0, len(compiled.program))
    return hashlib.sha256(arena.memory.tobytes()).hexdigest()


def main(mode: str) -> None:
    """Run and tell."""
    compiled = compile_script(parse_script(SCRIPT))
    short = replace(compiled.blueprint, sizes=replace(compiled.blueprint.sizes, frames=20))
    backend = backend_of(mode)
    told = []
    for broken in BROKEN:
        kinds = [(short if d in broken else compiled.blueprint, 1) for d in range(DEVICES)]
        arena = Arena(kinds, backend=backend)
        arena.init()
        try:
            arena.run(compiled.program, 0, len(compiled.program))
        except DeviceError as error:
            told.append((error.device, error.code, str(error)))
    print(json.dumps({"errors": told, "memory": memory_of(backend)}))


if __name__ == "__main__":
    main(sys.argv[1])
