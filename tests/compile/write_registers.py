"""Compiles every kernel for every compute capability and writes what came out into the table; a program.

    write_registers.py [MAJOR.MINOR ...]

The table is `fleetswap/data/gpus/registers.json`; `registers.json` beside this program is a link to it. Its ceilings
are edited by hand. Takes about two minutes of CPU time for each capability.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

TABLE = Path(__file__).with_name("registers.json")
PROGRAM = Path(__file__).with_name("compile_kernels.py")


def compiled(capability: str, kernels: list[str], *options: str) -> dict[str, dict[str, int]]:
    """What `compile_kernels.py` reports.

    Raises
    ------
    RuntimeError
        With what it wrote to stderr, if it failed.
    """
    # A process each: device functions keep what they were compiled to for the first capability.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    environment["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    command = [sys.executable, str(PROGRAM), capability, *kernels, *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    report: dict[str, dict[str, int]] = json.loads(done.stdout)
    return report


def main(capabilities: list[str]) -> None:
    """Compile and write."""
    table = json.loads(TABLE.read_text())
    for capability in capabilities or list(table["kernels"]):
        table["kernels"][capability] = compiled(capability, list(table["ceilings"]))
        TABLE.write_text(json.dumps(table, indent=2) + "\n")
        print(capability, table["kernels"][capability])


if __name__ == "__main__":
    main(sys.argv[1:])
