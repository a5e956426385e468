"""The kernels compile for every supported GPU within budgets of registers and spills; no GPU needed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("compile_kernels.py")
CEILINGS = json.loads(Path(__file__).with_name("registers.json").read_text())
CAPABILITIES = [c for c in CEILINGS if c != "how"]


def missing() -> str:
    """What the toolchain lacks here; empty if nothing."""
    for name in ("numba_cuda", "nvidia"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed; `make cuda` installs the CUDA 13 compiler"
    import nvidia

    found = [path for root in nvidia.__path__ for path in Path(root).glob("cu*/bin/ptxas")]
    return "" if found else "no ptxas wheel is installed; `make cuda` installs the CUDA 13 compiler"


@pytest.mark.skipif(bool(missing()), reason=missing())
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_registers_and_spills_are_within_the_ceilings(capability: str) -> None:
    # A process each: device functions keep what they were compiled to for the first capability.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, str(PROGRAM), capability, *CEILINGS[capability]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    print(f"compute capability {capability}: {report}")
    assert set(report) == set(CEILINGS[capability])
    for kernel, ceiling in CEILINGS[capability].items():
        assert report[kernel]["spill_bytes"] <= ceiling["spill_bytes"], kernel
        assert 0 < report[kernel]["registers"] <= ceiling["registers"], kernel
