"""The C reference of the allocator test: built with gcc, run on the memory of an arena.

The kernels are timed against it (`cpu`), and tests check that it leaves every byte of a device as they do.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from enum import IntEnum
from importlib import resources
from pathlib import Path
from types import ModuleType

from fleetswap_kernels.backend.arena import Arena, Program
from fleetswap_kernels.device import regions as region
from fleetswap_kernels.device.memory import buddy as physical
from fleetswap_kernels.device.swap import swap_cache
from fleetswap_kernels.layout import content_model, counters, errors
from fleetswap_kernels.layout import device as layout
from fleetswap_kernels.layout import operations as ops
from fleetswap_kernels.layout import words as bits

SOURCE = Path(str(resources.files("fleetswap") / "data" / "reference" / "allocator_test.c"))
FLAGS = ("-O3", "-march=native", "-std=gnu99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


class ReferenceMissingError(RuntimeError):
    """The reference cannot be had here; the message says why."""


def layout_header() -> str:
    """The memory layout of a device as a C header: the numbers of `fleetswap_kernels`, written nowhere else.

    Returns
    -------
    str
        A ``struct header`` and one ``#define`` for every constant.
    """
    names = [*layout.SIZES, *layout.OFFSETS, *layout.SCALARS]
    lines = ["#include <stdint.h>", "", "struct header {", "\tuint64_t aliases;"]
    lines += [f"\tuint32_t {name};" for name in names]
    lines += ["};", ""]
    defines: dict[str, int] = {}
    parts: list[tuple[str, ModuleType]] = [("", module) for module in (bits, layout, counters, errors)]
    for prefix, module in [*parts, ("OP_", ops)]:
        enumerations = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, IntEnum)]
        members = {member.name: member.value for kind in enumerations for member in kind}
        for name, value in [*vars(module).items(), *members.items()]:
            if name.isupper() and isinstance(value, int) and defines.setdefault(prefix + name, value) != value:
                raise AssertionError(f"two values of {prefix}{name}")
    defines.update(
        OP_WORDS=ops.OP_WORDS,
        MODE_WRITE=ops.WRITE,
        PMD_PAGES=region.PMD_PAGES,
        KIND_AND_PAYLOAD=region.KIND_AND_PAYLOAD,
        RA_HITS_INITIAL=swap_cache.RA_HITS_INITIAL,
        SCALE_ONE=content_model.SCALE_ONE,
        SMALLEST_COUNTED=physical.SMALLEST_COUNTED,
    )
    lines += [f"#define {name} {value}u" for name, value in sorted(defines.items())]
    return "\n".join(lines) + "\n"


class Reference:
    """The compiled reference.

    Raises
    ------
    ReferenceMissingError
        Without the source or without gcc.
    """

    def __init__(self) -> None:
        if not SOURCE.is_file():
            raise ReferenceMissingError("the C reference is part of a source checkout, not of an installed package")
        gcc = shutil.which("gcc")
        if gcc is None:
            raise ReferenceMissingError("gcc is not installed")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "layout.h").write_text(layout_header())
            library = str(Path(folder, "reference.so"))
            build = [gcc, *FLAGS, f"-I{folder}", "-o", library, str(SOURCE)]
            done = subprocess.run(build, capture_output=True, text=True, check=False)  # noqa: S603 (our own source)
            if done.returncode:
                raise ReferenceMissingError(f"gcc cannot compile {SOURCE}:\n{done.stderr}")
            # Once loaded it needs its file no more.
            self._run_devices = ctypes.CDLL(library).run_devices
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self._run_devices.argtypes = [pointer, pointer, number, number, pointer, number, number]
        self._run_devices.restype = None

    def run(self, arena: Arena, program: Program, first: int, end: int) -> None:
        """Run a part of a program on all devices of an arena, on one thread.

        Parameters
        ----------
        arena : Arena
        program : uint32 array of shape (operations, OP_WORDS)
        first, end : int
            The operations are `first` to `end` - 1.

        Raises
        ------
        DeviceError
            If a device has an error afterwards.
        """
        self._run_devices(
            arena.memory.ctypes.data, arena.base.ctypes.data, 0, len(arena), program.ctypes.data, first, end
        )
        arena.check()
