"""Compiles the CUDA kernels for one compute capability without a GPU; a program the tests start once per capability.

    compile_kernels.py MAJOR.MINOR KERNEL... [--keep FOLDER]

Prints one JSON document: registers, spills and stack of every kernel, as ptxas reports them, and the instructions of
its PTX and of the machine code. With --keep the PTX stays in a folder, as KERNEL.ptx.
"""

from __future__ import annotations

import argparse
import json
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

INSTRUCTION_BYTES = 16
"""Of the machine code of every GPU since Volta."""


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


def ptx_instructions(text: str) -> int:
    """Instructions of a PTX module that a GPU issues: parameters of calls stay in registers."""
    lines = (line.strip() for line in text.splitlines())
    kept = (line.split(None, 1)[1] if line.startswith("@") else line for line in lines)
    # An instruction begins with a small letter; a call goes on over some lines of names.
    issued = re.compile(r"(?!ld\.param|st\.param|cvta)(?:[a-z][a-z0-9]*(?:\.[a-z0-9]+)*\s.*;|ret;|call\.uni.*)$")
    return sum(bool(issued.match(line)) for line in kept)


def machine_instructions(cubin: bytes) -> int:
    """Instructions of an ELF file of ptxas: the length of its code over that of one instruction."""
    table = struct.unpack_from("<Q", cubin, 0x28)[0]
    size, number, names = struct.unpack_from("<HHH", cubin, 0x3A)
    # Name, type, flags, address, offset, length of every section.
    sections = [struct.unpack_from("<IIQQQQ", cubin, table + i * size) for i in range(number)]
    start = sections[names][4]
    code = [s[5] for s in sections if cubin.startswith(b".text", start + s[0])]
    return sum(code) // INSTRUCTION_BYTES


def main(words: list[str]) -> None:
    """Compile, assemble, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("capability")
    parser.add_argument("kernels", nargs="+")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args(words)
    major, minor = (int(part) for part in given.capability.split("."))
    pretend_capability((major, minor))
    from numba import cuda

    from fleetswap_kernels.backend.cuda.entries import signatures

    report: dict[str, Any] = {}
    for name in given.kernels:
        body, signature = signatures()[name]
        ptx, _ = cuda.compile_ptx(body, signature, cc=(major, minor))
        with tempfile.TemporaryDirectory() as folder:
            source, cubin = (given.keep or Path(folder), f"{name}.ptx"), Path(folder, "cubin")
            path = Path(*source)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(ptx)
            command = [str(ptxas()), "-v", f"-arch=sm_{major}{minor}", str(path), "-o", str(cubin)]
            log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
            machine = machine_instructions(cubin.read_bytes())
        report[name] = {
            "registers": max(int(n) for n in re.findall(r"Used (\d+) registers", log)),
            "spill_bytes": sum(int(n) for n in re.findall(r"(\d+) bytes spill", log)),
            "stack_bytes": max(int(n) for n in re.findall(r"(\d+) bytes stack frame", log)),
            "instructions": machine,
            "ptx_instructions": ptx_instructions(ptx),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:])
