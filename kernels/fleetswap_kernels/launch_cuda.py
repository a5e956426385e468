"""CUDA entry points: one thread per device, running the same device functions as the CPU.

Importing this module imports numba.cuda; nothing else in the project does.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from numba import cuda
from numba.core import config

from .content_model import MODEL, exact_model, no_model
from .jit import DEVICE_FUNCTIONS, runs_short, runs_short_by_type
from .layout import HEADER, HEADER_BYTES, SHORT, SHORT_HEADER, exact_view

from .interpreter import run_program  # isort: skip
from .setup import setup_device  # isort: skip

THREADS_PER_BLOCK = 128
OUT_OF_LINE = frozenset(
    {
        *("range_free", "frames_give", "compact", "split_folio"),
        *("store_compressed", "store_run", "count_codec_reads", "block_identity", "draw_rewritten", "swapin_small"),
        *("make_room", "evict_own", "evict_shared", "next_op", "take_gauges", "folio_available", "pool_frames_change"),
        *("count_smaller_swapin", "count_refused_swapout", "note_refault", "note_eviction", "unmap_regions"),
    }
)
"""Large functions with several callers, or not needed by every program: one copy of each, called, keeps the code in
the instruction cache and the registers of its callers few."""

if config.ENABLE_CUDASIM:

    def record_at(arena: Any, base: Any, d: int) -> Any:
        """The device `d`, with aliases of its exact length; the simulator wraps arrays, here one of bytes."""
        return exact_view(arena._ary[int(base[d]) * HEADER_BYTES : int(base[d + 1]) * HEADER_BYTES])

    def records_of(memory: Any, header: Any) -> Any:
        """What kernels take as an arena."""
        return memory

    def model_of(models: Any) -> Any:
        """The content model, with an alias of its exact length."""
        return exact_model(models._ary)

    def models_of(memory: Any) -> Any:
        """What kernels take as content models."""
        return memory

else:
    from numba.cuda import types
    from numba.cuda.extending import overload
    from numba.cuda.dispatcher import CUDADispatcher

    class _DeviceDispatcher(CUDADispatcher):  # type: ignore[misc]
        """A device function compiled once for int64 arguments, whatever literal or bool a caller passes."""

        def get_call_template(self, args: Any, kws: Any) -> Any:
            return super().get_call_template(tuple(_widen(a) for a in args), kws)

        def compile_device(self, args: Any, return_type: Any = None) -> Any:
            known = args in self.overloads
            compiled = super().compile_device(args, return_type)
            if not known and self.py_func.__name__ in OUT_OF_LINE:
                for module in compiled.library.modules:
                    for function in module.functions:
                        if function.name == compiled.fndesc.llvm_func_name:
                            function.attributes.add("noinline")
            return compiled

    def _widen(argument: Any) -> Any:
        plain = types.unliteral(argument)
        return types.int64 if isinstance(plain, types.Boolean | types.Integer) else plain

    def _adopt(dispatcher: Any) -> None:
        """Give numba-cuda our dispatcher for a device function, where it looks for its own."""
        options = {**dispatcher.targetoptions, "device": True, "debug": False, "opt": True}
        dispatcher._CUDATypingContext__dispatcher = _DeviceDispatcher(dispatcher.py_func, options)

    for _function in DEVICE_FUNCTIONS:
        _adopt(_function)

    overload(runs_short)(runs_short_by_type)

    def records_of(memory: Any, header: Any) -> Any:
        """What kernels take as an arena: records over its bytes."""
        return memory.view(header)

    def models_of(memory: Any) -> Any:
        """What kernels take as content models: records over their bytes."""
        return memory.view(MODEL)

    @cuda.jit(device=True)
    def model_of(models: Any) -> Any:
        """The content model."""
        return models[0]

    @cuda.jit(device=True)
    def record_at(arena: Any, base: Any, d: int) -> Any:
        """The device `d` of an arena."""
        return arena[base[d]]


def init_devices(arena: Any, base: Any, models: Any, header_content: int) -> None:
    """Set up one device of an arena; a kernel body."""
    d = cuda.grid(1)
    if d < base.size - 1:
        setup_device(record_at(arena, base, d), model_of(models), header_content)


def run_devices(arena: Any, base: Any, models: Any, program: Any, op_first: int, op_end: int) -> None:
    """Run a part of a program on one device of an arena; a kernel body."""
    d = cuda.grid(1)
    if d < base.size - 1:
        run_program(record_at(arena, base, d), model_of(models), program, op_first, op_end)


init_devices_kernel = cuda.jit(init_devices)
run_devices_kernel = cuda.jit(run_devices)


def blocks(devices: int) -> int:
    """Blocks of threads that a number of devices needs."""
    return -(-devices // THREADS_PER_BLOCK)


def signatures() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Kernel bodies and their argument types, for compiling without a GPU."""
    from numba.cuda.np import numpy_support

    arena = types.Array(numpy_support.from_dtype(HEADER), 1, "C")
    phones = types.Array(numpy_support.from_dtype(SHORT_HEADER), 1, "C")
    base = types.Array(types.int64, 1, "C")
    models = types.Array(numpy_support.from_dtype(MODEL), 1, "C")
    program = types.Array(types.uint32, 2, "C")
    return {
        "init_devices": (init_devices, (arena, base, models, types.int64)),
        "run_devices": (run_devices, (arena, base, models, program, types.int64, types.int64)),
        "run_phones": (run_devices, (phones, base, models, program, types.int64, types.int64)),
    }


class CudaArena:
    """Copy of an arena on the GPU, run there and copied back.

    Parameters
    ----------
    memory : uint8 array
        Memory of an `Arena`.
    base : int64 array of shape (devices + 1,)
    model : uint8 array, optional
        Content model.
    """

    def __init__(self, memory: npt.NDArray[Any], base: npt.NDArray[Any], model: npt.NDArray[Any] | None = None) -> None:
        if memory.nbytes != int(base[-1]) * HEADER_BYTES:
            raise ValueError(f"arena of {memory.nbytes} bytes, but its devices end at {int(base[-1]) * HEADER_BYTES}")
        self.devices = len(base) - 1
        # As bytes: a copy of records would leave out what lies between their fields, which is all the rest.
        self.memory = cuda.to_device(memory)
        short = memory.view(SHORT_HEADER)[SHORT][int(base[0])] != 0
        self.records = records_of(self.memory, SHORT_HEADER if short else HEADER)
        self.base = cuda.to_device(base)
        self.models = models_of(cuda.to_device(no_model() if model is None else model))

    def init(self, header_content: int) -> None:
        """Bring all devices to the state after swapon."""
        init_devices_kernel[blocks(self.devices), THREADS_PER_BLOCK](
            self.records, self.base, self.models, header_content
        )

    def run(self, program: npt.NDArray[Any], first: int, end: int) -> None:
        """Run the operations `first` to `end` - 1 of a program on all devices."""
        grid = blocks(self.devices)
        run_devices_kernel[grid, THREADS_PER_BLOCK](
            self.records, self.base, self.models, cuda.to_device(program), first, end
        )

    def copy_to(self, memory: npt.NDArray[Any]) -> None:
        """Copy the devices back into the memory of an arena."""
        self.memory.copy_to_host(memory)
