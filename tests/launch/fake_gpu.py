"""A GPU that is not there: the part of CuPy and of numba.cuda that the launch layer uses, on memory of the host.

It is as unkind as a real one may be. New memory holds garbage, and runs out. What is queued on a stream happens only
when someone waits for that stream, streams know nothing of each other, and the time of an event that has not happened
cannot be asked for. Kernels are their CPU twins; the simulator runs the CUDA ones (tests/parity).

Every call is recorded under the name that the real package gives it, for `test_cupy_names`.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fleetswap_kernels import launch_cpu
from fleetswap_kernels.counters import N_COUNTERS
from fleetswap_kernels.layout import HEADER_BYTES, Q_COUNTER

GARBAGE = 0xA5
ROUNDED = 512
"""CuPy's pool hands out memory in such pieces."""


class CUDARuntimeError(RuntimeError):
    """As of cupy.cuda.runtime."""


class OutOfMemoryError(MemoryError):
    """As of cupy.cuda.memory, with its words."""


class FakeGpu:
    """One GPU, or none.

    Parameters
    ----------
    total_bytes : int
    devices : int
        GPUs that the driver shows.
    blocks : dict of int to int
        Blocks of so many threads that fit a multiprocessor at once.
    """

    def __init__(self, total_bytes: int = 1 << 30, devices: int = 1, blocks: dict[int, int] | None = None) -> None:
        self.total_bytes = total_bytes
        self.devices = devices
        self.blocks = blocks or {32: 8, 64: 4, 128: 2, 256: 1}
        self.used_bytes = 0
        self.pooled_bytes = 0
        self.most_bytes = 0
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.launches: list[tuple[str, int, int, int]] = []
        """Kernel, blocks, threads of a block, stream."""
        self.copied_to_host = 0
        self.streams: dict[int, Stream] = {}
        self.clock = 0
        self.no_driver = False
        self.no_answer = ""
        self.no_compiler = False
        self.out_of_memory_at_launch = 0
        """Launches from now until the driver finds no memory for stacks; 0 for never."""

    def note(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Record a call; of arrays only what they were like, for a record must not keep memory alive."""
        self.calls.append((name, tuple(map(_seen, args)), {key: _seen(value) for key, value in kwargs.items()}))

    def take(self, size: int) -> None:
        """Allocate, from the pool if it has enough; an exhausted GPU first gets back what the pool holds."""
        size = -(-size // ROUNDED) * ROUNDED
        if size <= self.pooled_bytes:
            self.pooled_bytes -= size
        elif self.used_bytes + self.pooled_bytes + size > self.total_bytes:
            self.pooled_bytes = 0
            if self.used_bytes + size > self.total_bytes:
                raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes (allocated so far: ...).")
        self.used_bytes += size
        self.most_bytes = max(self.most_bytes, self.used_bytes)

    def give(self, size: int) -> None:
        """Free to the pool."""
        size = -(-size // ROUNDED) * ROUNDED
        self.used_bytes -= size
        self.pooled_bytes += size

    def install(self, monkeypatch: pytest.MonkeyPatch, twins: bool = True) -> None:
        """Let the launch layer find this GPU instead of a real one.

        Parameters
        ----------
        monkeypatch : MonkeyPatch
        twins : bool
            Whether kernels are their CPU twins; in a process with the CUDA simulator they are that's.
        """
        from fleetswap_kernels import launch_cuda

        monkeypatch.setitem(sys.modules, "cupy", self.cupy())
        real = ctypes.CDLL

        def load(name: str, *args: Any, **kwargs: Any) -> Any:
            if name != "libcuda.so.1":
                return real(name, *args, **kwargs)
            if self.no_driver:
                raise OSError(f"{name}: cannot open shared object file: No such file or directory")
            return object()

        monkeypatch.setattr(ctypes, "CDLL", load)
        if twins:
            monkeypatch.setattr(launch_cuda, "cuda", FakeNumba(self))
        if self.no_compiler:
            monkeypatch.setattr(launch_cuda, "nvvm", SimpleNamespace(NVVM=self._no_compiler))

    def _no_compiler(self) -> None:
        from numba.cuda.cudadrv.error import NvvmSupportError

        raise NvvmSupportError("libNVVM is not available")

    def cupy(self) -> ModuleType:
        """The module."""
        module = ModuleType("cupy")
        module.__spec__ = ModuleSpec("cupy", None)
        gpu = self
        pool = SimpleNamespace(free_bytes=lambda: gpu.note("cuda.MemoryPool.free_bytes") or gpu.pooled_bytes)
        module.empty = lambda shape, dtype: gpu.note("empty", shape, dtype=dtype) or _new(gpu, shape, dtype)  # type: ignore[attr-defined]
        module.get_default_memory_pool = lambda: gpu.note("get_default_memory_pool") or pool  # type: ignore[attr-defined]
        module.cuda = SimpleNamespace(  # type: ignore[attr-defined]
            runtime=SimpleNamespace(
                CUDARuntimeError=CUDARuntimeError,
                getDeviceCount=self._count,
                getDeviceProperties=self._properties,
                memGetInfo=self._memory,
                driverGetVersion=lambda: gpu.note("cuda.runtime.driverGetVersion") or 13010,
                runtimeGetVersion=lambda: gpu.note("cuda.runtime.runtimeGetVersion") or 13000,
            ),
            Stream=lambda **kwargs: gpu.note("cuda.Stream", **kwargs) or Stream(gpu),
            Event=lambda: gpu.note("cuda.Event") or Event(gpu),
            get_elapsed_time=self._elapsed,
            alloc_pinned_memory=lambda size: gpu.note("cuda.alloc_pinned_memory", size) or bytearray(size + 7),
        )
        return module

    def _count(self) -> int:
        self.note("cuda.runtime.getDeviceCount")
        if self.no_answer:
            raise CUDARuntimeError(self.no_answer)
        return self.devices

    def _properties(self, device: int) -> dict[str, Any]:
        self.note("cuda.runtime.getDeviceProperties", device)
        return {
            "name": b"Fake GPU",
            "major": 9,
            "minor": 0,
            "multiProcessorCount": 2,
            "maxThreadsPerMultiProcessor": 1024,
        }

    def _memory(self) -> tuple[int, int]:
        self.note("cuda.runtime.memGetInfo")
        return self.total_bytes - self.used_bytes - self.pooled_bytes, self.total_bytes

    def _elapsed(self, begin: Event, end: Event) -> float:
        self.note("cuda.get_elapsed_time", begin, end)
        if begin.at is None or end.at is None:
            raise CUDARuntimeError("cudaErrorNotReady: device not ready")
        return float(end.at - begin.at)


class Stream:
    """Work that waits until someone waits for it."""

    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu = gpu
        self.ptr = 0x1000 + 16 * len(gpu.streams)
        self.waiting: list[Callable[[], None]] = []
        gpu.streams[self.ptr] = self

    def synchronize(self) -> None:
        """Do all of it."""
        self.gpu.note("cuda.Stream.synchronize")
        while self.waiting:
            self.gpu.clock += 1
            self.waiting.pop(0)()


class Event:
    """A moment on a stream."""

    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu = gpu
        self.at: int | None = None

    def record(self, stream: Stream) -> None:
        """Queue it."""
        self.gpu.note("cuda.Event.record", stream)
        self.at = None

        def happen() -> None:
            self.at = self.gpu.clock

        stream.waiting.append(happen)


def _seen(value: Any) -> Any:
    if isinstance(value, _Pointer):
        return _seen(value.array)
    if isinstance(value, ndarray | np.ndarray):
        return SimpleNamespace(shape=value.shape, nbytes=value.nbytes)
    return value


class _Pointer:
    """A place in memory, as `ndarray.data`."""

    def __init__(self, array: ndarray) -> None:
        self.array = array

    def copy_from_device_async(self, source: _Pointer, size: int, stream: Stream) -> None:
        self.array.gpu.note("cuda.MemoryPointer.copy_from_device_async", source, size, stream)
        to, known = self.array.host, source.array.host
        assert size <= min(to.nbytes, known.nbytes)
        assert not np.shares_memory(to, known), "copies of overlapping memory are undefined"
        stream.waiting.append(lambda: np.copyto(to.view(np.uint8)[:size], known.view(np.uint8)[:size]))


class ndarray:  # noqa: N801 (CuPy's name)
    """An array on the GPU: contiguous, of plain numbers."""

    def __init__(self, gpu: FakeGpu, host: np.ndarray) -> None:
        assert host.flags.c_contiguous
        assert host.dtype.fields is None, "CuPy has no records"
        self.gpu, self.host = gpu, host
        self.shape, self.dtype, self.nbytes = host.shape, host.dtype, host.nbytes

    @property
    def data(self) -> _Pointer:
        return _Pointer(self)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        interface = self.host.__array_interface__
        return {"version": 3, **{key: interface[key] for key in ("shape", "typestr", "data")}, "stream": 1}

    def __getitem__(self, part: slice) -> ndarray:
        return ndarray(self.gpu, self.host[part])

    def view(self, dtype: type[np.generic]) -> ndarray:
        self.gpu.note("ndarray.view", dtype)
        return ndarray(self.gpu, self.host.view(dtype))

    def set(self, array: np.ndarray, stream: Stream) -> None:
        self.gpu.note("ndarray.set", array, stream=stream)
        assert (array.shape, array.dtype) == (self.shape, self.dtype)
        stream.waiting.append(lambda: np.copyto(self.host, array))

    def get(self, **kwargs: Any) -> np.ndarray:
        self.gpu.note("ndarray.get", **kwargs)
        self.gpu.copied_to_host += self.nbytes
        if not kwargs:
            return self.host.copy()
        out, stream = kwargs["out"], kwargs["stream"]
        assert (out.shape, out.dtype) == (self.shape, self.dtype)
        assert kwargs["blocking"] is False
        stream.waiting.append(lambda: np.copyto(out, self.host))
        return out


def _new(gpu: FakeGpu, shape: Any, dtype: Any) -> ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    gpu.take(size)
    memory = np.full(size, GARBAGE, dtype=np.uint8)
    weakref.finalize(memory, gpu.give, size)
    return ndarray(gpu, memory.view(dtype).reshape(shape))


class _Shared:
    """What Numba sees through the CUDA array interface; it keeps the owner alive."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.__array_interface__ = {**owner.__cuda_array_interface__, "version": 3}


class FakeNumba:
    """The part of numba.cuda that the host calls; device code stays the real one's."""

    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu = gpu

    def as_cuda_array(self, array: Any) -> np.ndarray:
        self.gpu.note("numba.as_cuda_array", array)
        return np.asarray(_Shared(array))

    def external_stream(self, ptr: int) -> Stream:
        self.gpu.note("numba.external_stream", ptr)
        return self.gpu.streams[ptr]

    def jit(self, **kwargs: Any) -> Callable[[Any], _Dispatcher]:
        self.gpu.note("numba.jit", **kwargs)
        return lambda body: _Dispatcher(self.gpu, body.__name__)


class _Dispatcher:
    """A kernel: its CPU twin."""

    def __init__(self, gpu: FakeGpu, name: str) -> None:
        self.gpu, self.name = gpu, name
        self.signature: tuple[Any, ...] | None = None

    def compile(self, signature: tuple[Any, ...]) -> Any:
        self.signature = signature
        multiprocessors = 2
        return SimpleNamespace(
            max_cooperative_grid_blocks=lambda threads: self.gpu.blocks.get(threads, 0) * multiprocessors
        )

    def __getitem__(self, configuration: tuple[int, int, Stream]) -> Callable[..., None]:
        grid, block, stream = configuration
        self.gpu.launches.append((self.name, grid, block, stream.ptr))

        def launch(*arguments: Any) -> None:
            if self.gpu.out_of_memory_at_launch:
                self.gpu.out_of_memory_at_launch -= 1
                if self.gpu.out_of_memory_at_launch == 0:
                    raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: The API call failed because it was unable to ...")
            self._check(arguments)
            stream.waiting.append(lambda: TWINS[self.name](grid * block, *arguments))

        return launch

    def _check(self, arguments: tuple[Any, ...]) -> None:
        """The arguments are of the types that the kernel was compiled for: else Numba would compile it once more."""
        from numba.cuda import types
        from numba.cuda.np.numpy_support import from_dtype

        assert self.signature is not None
        found = tuple(
            types.Array(from_dtype(a.dtype), a.ndim, "C") if isinstance(a, np.ndarray) else types.int64
            for a in arguments
        )
        assert found == self.signature, f"{self.name}: {found} is not {self.signature}"


def _init(threads: int, arena: Any, base: Any, models: Any, ids: Any, failed: Any, header_content: int) -> None:
    n = min(threads, len(base) - 1)
    launch_cpu.init_devices(arena, base, models, ids, 0, n, header_content)
    _note_failed(arena, base, failed, n)


def _run(threads: int, arena: Any, base: Any, models: Any, failed: Any, program: Any, first: int, end: int) -> None:
    n = min(threads, len(base) - 1)
    launch_cpu.run_devices(arena, base, models, 0, n, program, first, end)
    _note_failed(arena, base, failed, n)


def _note_failed(arena: Any, base: Any, failed: Any, n: int) -> None:
    for d in np.flatnonzero(arena["error"][base[:n]]):
        failed[0] = min(failed[0], d)


def _gather(threads: int, quads: Any, base: Any, found: Any) -> None:
    assert threads > 0
    for d, row in enumerate(found.reshape(-1, N_COUNTERS)):
        first = int(base[d]) * HEADER_BYTES // 8 + Q_COUNTER
        row[:] = quads[first : first + N_COUNTERS]


TWINS: dict[str, Callable[..., None]] = {"init_devices": _init, "run_devices": _run, "gather_counters": _gather}
