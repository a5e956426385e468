"""CUDA entry points: a thread for each device, running the same device functions as the CPU.

Importing this module imports numba.cuda, and so does what it imports here; nothing else in the project does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from numba import cuda
from numba.core import config
from numba.cuda import types
from numba.cuda.core import config as cuda_config
from numba.cuda.np import numpy_support
from numba.cuda.typing.typeof import typeof

from ..batch_units import BODIES, body_by_type, do_unit
from ...device.engine.interpreter import run_program
from ...device.engine.setup import setup_device
from ...layout.content_model import MODEL
from ...layout.counters import N_COUNTERS
from ...layout.device import HEADER, HEADER_BYTES, Q_COUNTER, SHORT_HEADER
from ..warps import WARP, devices_per_warp
from .target import cached_kernel, compiled_kernel, model_of, record_at

if not config.ENABLE_CUDASIM:
    from numba.cuda.extending import overload

    from ...compile.cuda_linker import adopt_device_functions

    adopt_device_functions()
    overload(do_unit)(body_by_type)

BLOCK_SIZES = (WARP, 64, 128, 256)
"""Threads of a block. Of sizes with equal occupancy the smallest: a block is done when its slowest device is."""


@cuda.jit(device=True)
def note_failed(dev: Any, d: int, failed: Any) -> None:
    """Keep the least number of a device whose error word is set."""
    if dev.error != 0:
        cuda.atomic.min(failed, 0, d)


def init_devices(arena: Any, base: Any, models: Any, ids: Any, failed: Any, header_content: int) -> None:
    """Set up one device of an arena; a kernel body.

    Parameters
    ----------
    arena, base, models : arrays
        Records of all devices, where each starts (and the last one ends), the one content model.
    ids : int64 array of shape (devices,)
        Number of each device in the whole fleet.
    failed : int64 array of shape (1,)
        Lowered to the number of a device whose error word is set.
    header_content : int
        Content of the swap header page (`setup_device`).
    """
    d = cuda.grid(1)
    if d < base.size - 1:
        dev = record_at(arena, base, d)
        setup_device(dev, model_of(models), header_content, ids[d])
        note_failed(dev, d, failed)


def run_devices(
    arena: Any, base: Any, models: Any, failed: Any, program: Any, op_first: int, op_end: int, per_warp: int
) -> None:
    """Run a part of a program on one device of an arena; a kernel body. The first lanes of a warp have a device.

    Parameters
    ----------
    arena, base, models : arrays
        Records of all devices, where each starts (and the last one ends), the one content model.
    failed : int64 array of shape (1,)
        Lowered to the number of a device whose error word is set.
    program : uint32 array of shape (operations, operations.OP_WORDS)
    op_first, op_end : int
        First operation, and the one behind the last.
    per_warp : int
        Devices that share a warp.
    """
    thread = cuda.grid(1)
    lane = thread % WARP
    d = thread // WARP * per_warp + lane
    if lane < per_warp and d < base.size - 1:
        dev = record_at(arena, base, d)
        run_program(dev, model_of(models), program, op_first, op_end)
        note_failed(dev, d, failed)


def gather_counters(quads: Any, base: Any, gathered: Any) -> None:
    """Copy the counters of all devices, which stand far apart, side by side; a kernel body.

    Neighbouring threads copy neighbouring counters. Each goes on a grid further, so that any grid copies all.
    """
    for i in range(cuda.grid(1), gathered.size, cuda.gridsize(1)):
        d = i // N_COUNTERS
        gathered[i] = quads[base[d] * (HEADER_BYTES // 8) + Q_COUNTER + i - d * N_COUNTERS]


def run_units(units: int, copies: int, work: Any) -> None:
    """Do one unit of a batch; a kernel body. The twin of `cpu.units.run_units`.

    Threads that run at the same time share few copies of a result.
    """
    unit = cuda.grid(1)
    if unit < units:
        do_unit(unit, cuda.blockIdx.x % copies, work)


def signatures() -> dict[str, tuple[Callable[..., None], tuple[Any, ...]]]:
    """Bodies of all kernels and the types of their arguments."""
    arena = types.Array(numpy_support.from_dtype(HEADER), 1, "C")
    phones = types.Array(numpy_support.from_dtype(SHORT_HEADER), 1, "C")
    base = types.Array(types.int64, 1, "C")
    models = types.Array(numpy_support.from_dtype(MODEL), 1, "C")
    program = types.Array(types.uint32, 2, "C")
    quads = types.Array(types.uint64, 1, "C")
    operations = (program, types.int64, types.int64, types.int64)
    return {
        "init_devices": (init_devices, (arena, base, models, base, base, types.int64)),
        "init_phones": (init_devices, (phones, base, models, base, base, types.int64)),
        "run_devices": (run_devices, (arena, base, models, base, *operations)),
        "run_phones": (run_devices, (phones, base, models, base, *operations)),
        "gather_counters": (gather_counters, (quads, base, quads)),
        **{batch_kernel(work): (run_units, (types.int64, types.int64, typeof(work()))) for work in BODIES},
    }


def batch_kernel(work: type) -> str:
    """Name of the kernel of a kind of work: that of its body."""
    return str(BODIES[work].__name__)


class Kernel:
    """A kernel for arguments of known types, compiled at its first launch and kept in the cache folder.

    Parameters
    ----------
    name : str
        One of `signatures`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        body, self.signature = signatures()[name]
        self._dispatcher = cached_kernel(cuda.jit(body))

    @cached_property
    def occupancy(self) -> tuple[int, int]:
        """Threads of a block, and how many such blocks the GPU runs at once, as the driver says."""
        kernel = compiled_kernel(self._dispatcher, self.signature)
        fitting = {threads: kernel.max_cooperative_grid_blocks(threads) for threads in BLOCK_SIZES}
        most = max(threads * blocks for threads, blocks in fitting.items())
        threads = min(threads for threads, blocks in fitting.items() if threads * blocks == most)
        return threads, fitting[threads]

    def launch(self, stream: Any, threads: int, *arguments: Any) -> None:
        """Queue one thread for each device, or for whatever the kernel has one for."""
        size, _ = self.occupancy
        self._dispatcher[-(-threads // size), size, stream](*arguments)

    def per_warp(self, devices: int) -> int:
        """How many devices share a warp, of so many that the GPU has at once (`warps`)."""
        size, blocks = self.occupancy
        return devices_per_warp(devices, size // WARP * blocks)

    def launch_spread(self, stream: Any, devices: int, per_warp: int, *arguments: Any) -> None:
        """Queue warps of so many devices, for a kernel whose last argument is how many.

        Parameters
        ----------
        stream : numba stream
        devices, per_warp : int
            Devices in all, and how many of them share a warp.
        *arguments : object
            What the kernel takes before the last argument.
        """
        self.launch(stream, -(-devices // per_warp) * WARP, *arguments, per_warp)

    def launch_once(self, stream: Any, *arguments: Any) -> None:
        """Queue as many threads as the GPU runs at once, for a kernel that loops."""
        size, blocks = self.occupancy
        self._dispatcher[blocks, size, stream](*arguments)


# A fleet has as many blocks as it has; numba-cuda warns of few.
cuda_config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
