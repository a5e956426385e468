"""What numba-cuda finds below itself on a `FakeGpu`: a context, a compiler that compiles nothing, a launch.

numba-cuda is the real one down to the call that starts a kernel. What arrives there are addresses and numbers, in the
order of its calling convention; they are read back as arrays of the types that the kernel was compiled for, and its CPU
twin runs on them. The CUDA kernels themselves run on the simulator (tests/parity).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fleetswap_kernels.backend.cpu import entries as launch_cpu
from fleetswap_kernels.backend.cpu import units as launch_batch
from fleetswap_kernels.backend.warps import WARP
from fleetswap_kernels.layout.counters import N_COUNTERS
from fleetswap_kernels.layout.device import HEADER_BYTES, Q_COUNTER

from .fake_gpu import MULTIPROCESSORS, FakeGpu

LEGACY_STREAM = 1
"""Arrays of CuPy name it as theirs."""


def install(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the GPU below numba-cuda."""
    from numba.cuda import dispatcher, types, typing
    from numba.cuda.cudadrv import devices, driver, nvvm
    from numba.cuda.cudadrv.error import NvvmSupportError

    class Context:
        device = SimpleNamespace(id=0, compute_capability=(9, 0), MULTIPROCESSOR_COUNT=MULTIPROCESSORS)

        def create_external_stream(self, ptr: int) -> Any:
            assert ptr == LEGACY_STREAM or ptr in gpu.streams
            return driver.Stream(driver.binding.CUstream(ptr), external=True)

        def get_active_blocks_per_multiprocessor(self, function: Any, threads: int, shared: int) -> int:
            assert (function.name, shared) in [(name, 0) for name, _ in gpu.compiled]
            return gpu.blocks.get(threads, 0)

    context = Context()

    def compile_kernel(self: Any, signature: tuple[Any, ...]) -> Any:
        known = self.overloads.get(signature)
        if known is not None:
            return known
        name = self.py_func.__name__
        gpu.compiled.append((name, signature))
        function = SimpleNamespace(kernel=(name, signature), name=name)
        kernel = dispatcher._Kernel._rebuild(
            cooperative=False,
            name=name,
            signature=typing.signature(types.none, *signature),
            codelibrary=SimpleNamespace(get_cufunc=lambda: function),
            debug=False,
            lineinfo=False,
            call_helper=None,
            extensions=[],
        )
        self.add_overload(kernel, signature)
        return kernel

    def launch(stream: Any, configuration: Any, kernel: tuple[str, tuple[Any, ...]], *words: Any) -> None:
        name, signature = kernel
        grid, block = (int(np.prod(tuple(size))) for size in (configuration.grid, configuration.block))
        if gpu.out_of_memory_at_launch:
            gpu.out_of_memory_at_launch -= 1
            if gpu.out_of_memory_at_launch == 0:
                raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: The API call failed because it was unable to ...")
        handle = int(stream.handle)
        gpu.launches.append((name, grid, block, handle))

        def start() -> None:
            TWINS[name](grid * block, *arguments_of(gpu, signature, words))

        gpu.streams[handle].waiting.append(start)

    def no_compiler() -> None:
        raise NvvmSupportError("libNVVM is not available")

    here = SimpleNamespace(ensure_context=contextlib.nullcontext, get_or_create_context=lambda *_: context)
    monkeypatch.setattr(devices, "_runtime", here)
    monkeypatch.setattr(dispatcher.CUDADispatcher, "compile", compile_kernel)
    monkeypatch.setattr(dispatcher, "launch", launch)
    # A machine may have numba-cuda without the compiler; this GPU's compiles nothing.
    monkeypatch.setattr(nvvm, "NVVM", no_compiler if gpu.no_compiler else object)


def arguments_of(gpu: FakeGpu, signature: tuple[Any, ...], words: Sequence[Any]) -> list[Any]:
    """Arguments of a kernel from the words that it is started with.

    Raises
    ------
    CUDARuntimeError
        If an array is not in allocated memory.
    """
    from numba.cuda import types
    from numba.cuda.np.numpy_support import as_dtype

    rest = list(words)

    def argument(kind: Any) -> Any:
        """An array is eleven words or less, a tuple those of its fields."""
        if isinstance(kind, types.BaseNamedTuple):
            return kind.instance_class(*map(argument, kind))
        if not isinstance(kind, types.Array):
            return rest.pop(0).value
        # Two words for a garbage collector, which device code has not; then size, item, address, shape, strides.
        _, _, size, item, address = (rest.pop(0) for _ in range(5))
        shape = tuple(int(rest.pop(0)) for _ in range(kind.ndim))
        strides = tuple(int(rest.pop(0)) for _ in range(kind.ndim))
        dtype = as_dtype(kind.dtype)
        assert dtype.itemsize == item
        assert size == np.prod(shape)
        assert strides == tuple(item * int(np.prod(shape[i + 1 :])) for i in range(kind.ndim)), "not contiguous"
        return gpu.at(int(address), int(size) * int(item)).view(dtype).reshape(shape)

    found = list(map(argument, signature))
    assert not rest
    return found


def _init(threads: int, arena: Any, base: Any, models: Any, ids: Any, failed: Any, header_content: int) -> None:
    n = min(threads, len(base) - 1)
    launch_cpu.init_devices(arena, base, models, ids, 0, n, header_content)
    _note_failed(arena, base, failed, n)


def _run(
    threads: int, arena: Any, base: Any, models: Any, failed: Any, program: Any, first: int, end: int, per_warp: int
) -> None:
    n = min(threads // WARP * per_warp, len(base) - 1)
    counted = np.zeros((0, n, N_COUNTERS), np.int64)
    launch_cpu.run_devices(arena, base, models, 0, n, program, np.array([first, end]), counted)
    _note_failed(arena, base, failed, n)


def _note_failed(arena: Any, base: Any, failed: Any, n: int) -> None:
    for d in np.flatnonzero(arena["error"][base[:n]]):
        failed[0] = min(failed[0], d)


def _gather(threads: int, quads: Any, base: Any, found: Any) -> None:
    assert threads > 0
    for d, row in enumerate(found.reshape(-1, N_COUNTERS)):
        first = int(base[d]) * HEADER_BYTES // 8 + Q_COUNTER
        row[:] = quads[first : first + N_COUNTERS]


def _units(threads: int, units: int, copies: int, work: Any) -> None:
    assert threads >= units
    for first in range(0, units, WARP):
        launch_batch.run_units(first, min(first + WARP, units), first // WARP % copies, work)


TWINS: dict[str, Callable[..., None]] = {
    "init_devices": _init,
    "run_devices": _run,
    "gather_counters": _gather,
    "run_units": _units,
}
