"""Compiles the CUDA kernels for one compute capability without a GPU; a program the tests start once per capability.

    compile_kernels.py MAJOR.MINOR KERNEL...

Prints one JSON document: registers, spills and stack of every kernel, as ptxas reports them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def ptxas() -> Path:
    """The assembler beside NVVM in the wheels; an older one of the system would reject the PTX."""
    import nvidia

    for root in nvidia.__path__:
        found = sorted(Path(root).glob("cu*/bin/ptxas"))
        if found:
            return found[0]
    raise FileNotFoundError("no ptxas in the nvidia wheels")


def pretend_capability(capability: tuple[int, int]) -> None:
    """Device functions ask the driver for the compute capability: answer in its place."""
    from numba.cuda import dispatcher

    class Device:
        compute_capability = capability

    dispatcher.get_current_device = Device


def main(text: str, *kernels: str) -> None:
    """Compile, assemble, report."""
    major, minor = (int(part) for part in text.split("."))
    pretend_capability((major, minor))
    from numba import cuda

    from fleetswap_kernels.launch_cuda import signatures

    report: dict[str, Any] = {}
    for name in kernels:
        body, signature = signatures()[name]
        ptx, _ = cuda.compile_ptx(body, signature, cc=(major, minor))
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "kernel.ptx")
            source.write_text(ptx)
            command = [str(ptxas()), "-v", f"-arch=sm_{major}{minor}", str(source), "-o", str(Path(folder, "cubin"))]
            log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        report[name] = {
            "registers": max(int(n) for n in re.findall(r"Used (\d+) registers", log)),
            "spill_bytes": sum(int(n) for n in re.findall(r"(\d+) bytes spill", log)),
            "stack_bytes": max(int(n) for n in re.findall(r"(\d+) bytes stack frame", log)),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
