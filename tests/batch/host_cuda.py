"""CuPy as the tests have it: arrays of NumPy, kernels compiled from the CUDA source for the host by a C++ compiler."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from types import ModuleType, SimpleNamespace

import numpy as np

from fleetswap_kernels.batch.launch_cupy import OPTIONS

SHIM = Path(__file__).with_name("host_cuda.h")
COMPILER = shutil.which("g++") or shutil.which("c++")
MISSING = "" if COMPILER else "no C++ compiler (g++) is installed"
FLAGS = ("-O1", *OPTIONS, "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror")


@cache
def compiled(source: str) -> ctypes.CDLL:
    """A CUDA source as a shared library."""
    with tempfile.TemporaryDirectory() as folder:
        unit, library = Path(folder, "kernels.cpp"), Path(folder, "kernels.so")
        unit.write_text(f'#include "{SHIM}"\n{source}', encoding="utf-8")
        assert COMPILER is not None
        subprocess.run([COMPILER, *FLAGS, str(unit), "-o", str(library)], check=True)
        return ctypes.CDLL(str(library))


class RawModule:
    """`cupy.RawModule` on the host. The threads of a launch run one after the other, in a random order."""

    def __init__(self, code: str, options: tuple[str, ...]) -> None:
        assert options == OPTIONS
        self._library = compiled(code)

    def get_function(self, name: str):
        function = getattr(self._library, name)
        function.restype = None

        def launch(grid, block, arguments):
            # What a kernel gets must be what its signature says: CuPy passes NumPy's scalars and arrays on as they are.
            values = [_argument(one) for one in arguments]
            threads = [(b, t) for b in range(grid[0]) for t in range(block[0])]
            Random(len(threads)).shuffle(threads)  # noqa: S311 (no secrets here)
            for b, t in threads:
                self._library.set_index(b, t, block[0])
                function(*values)

        return launch


def _argument(value):
    if isinstance(value, np.int64):
        return ctypes.c_int64(int(value))
    assert isinstance(value, np.ndarray), f"{type(value)} is no kernel argument"
    assert value.flags.c_contiguous
    return ctypes.c_void_p(value.ctypes.data)


class CUDARuntimeError(RuntimeError):
    """`cupy.cuda.runtime.CUDARuntimeError`."""


def fake_cupy(devices: int = 1, error: str = "") -> ModuleType:
    """A module `cupy` of a machine with so many devices."""

    def count() -> int:
        if error:
            raise CUDARuntimeError(error)
        return devices

    module = ModuleType("cupy")
    module.RawModule = RawModule
    module.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=count, CUDARuntimeError=CUDARuntimeError))
    for name in ("asarray", "ascontiguousarray", "full"):
        setattr(module, name, getattr(np, name))
    module.asnumpy = np.asarray
    return module
