"""The part of CuPy that the launch layer uses, on a `FakeGpu`. Every call is noted, for `test_cupy_names`."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from .fake_gpu import MULTIPROCESSORS, THREADS, CUDARuntimeError, FakeGpu, Stream


def module(gpu: FakeGpu) -> ModuleType:
    """The package."""
    found: Any = ModuleType("cupy")
    found.__spec__ = ModuleSpec("cupy", None)
    found.__version__ = "14.0.0"

    def noted(name: str, answer: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            gpu.note(name, *args, **kwargs)
            return answer(*args, **kwargs)

        return call

    pool = SimpleNamespace(free_bytes=noted("cuda.MemoryPool.free_bytes", lambda: gpu.pooled_bytes))
    found.empty = noted("empty", lambda shape, dtype: _empty(gpu, shape, dtype))
    found.ascontiguousarray = noted("ascontiguousarray", lambda array: array)
    found.get_default_memory_pool = noted("get_default_memory_pool", lambda: pool)
    runtime = {
        "getDeviceCount": lambda: _count(gpu),
        "getDeviceProperties": _properties,
        # What the host's program has queued elsewhere is not known here.
        "deviceSynchronize": lambda: None,
        "memGetInfo": lambda: (gpu.total_bytes - gpu.used_bytes - gpu.pooled_bytes, gpu.total_bytes),
        "driverGetVersion": lambda: 13010,
        "runtimeGetVersion": lambda: 13000,
    }
    found.cuda = SimpleNamespace(
        runtime=SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            **{name: noted(f"cuda.runtime.{name}", answer) for name, answer in runtime.items()},
        ),
        Stream=noted("cuda.Stream", lambda non_blocking: _stream(gpu, non_blocking)),
        Event=noted("cuda.Event", lambda: Event(gpu)),
        get_elapsed_time=noted("cuda.get_elapsed_time", _elapsed),
        # Pools round up.
        alloc_pinned_memory=noted("cuda.alloc_pinned_memory", lambda size: bytearray(size + 7)),
    )
    package: ModuleType = found
    return package


def _count(gpu: FakeGpu) -> int:
    if gpu.no_answer:
        raise CUDARuntimeError(gpu.no_answer)
    return gpu.devices


def _properties(device: int) -> dict[str, Any]:
    assert device == 0
    processors = {"multiProcessorCount": MULTIPROCESSORS, "maxThreadsPerMultiProcessor": THREADS}
    return {"name": b"Fake GPU", "major": 9, "minor": 0, **processors}


def _stream(gpu: FakeGpu, non_blocking: bool) -> Stream:
    assert non_blocking, "the default stream would wait for it, and it for the default stream"
    return Stream(gpu)


class Event:
    """A moment on a stream."""

    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu = gpu
        self.at: int | None = None

    def record(self, stream: Stream) -> None:
        """Queue it."""
        self.gpu.note("cuda.Event.record", stream)
        self.at = None
        stream.waiting.append(lambda: setattr(self, "at", self.gpu.clock))


def _elapsed(begin: Event, end: Event) -> float:
    if begin.at is None or end.at is None:
        raise CUDARuntimeError("cudaErrorNotReady: device not ready")
    return float(end.at - begin.at)


class ndarray:  # noqa: N801 (CuPy's name)
    """An array on the GPU: contiguous, of plain numbers."""

    def __init__(self, gpu: FakeGpu, host: np.ndarray) -> None:
        assert host.flags.c_contiguous
        assert host.dtype.fields is None, "CuPy has no records"
        self.gpu, self.host = gpu, host
        self.shape, self.dtype, self.nbytes, self.ndim = host.shape, host.dtype, host.nbytes, host.ndim

    @property
    def data(self) -> Pointer:
        return Pointer(self)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        interface = self.host.__array_interface__
        return {"version": 3, **{key: interface[key] for key in ("shape", "typestr", "data")}, "stream": 1}

    def __getitem__(self, part: slice) -> ndarray:
        return ndarray(self.gpu, self.host[part])

    def view(self, dtype: type[np.generic]) -> ndarray:
        self.gpu.note("ndarray.view", dtype)
        return ndarray(self.gpu, self.host.view(dtype))

    def astype(self, dtype: np.dtype[Any], copy: bool) -> ndarray:
        self.gpu.note("ndarray.astype", dtype, copy=copy)
        assert dtype == self.dtype, "another kernel of CuPy's own"
        return self

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


class Pointer:
    """A place in memory: `ndarray.data`."""

    def __init__(self, array: ndarray) -> None:
        self.array = array

    def copy_from_device_async(self, source: Pointer, size: int, stream: Stream) -> None:
        self.array.gpu.note("cuda.MemoryPointer.copy_from_device_async", None, size, stream)
        to, known = self.array.host, source.array.host
        assert size <= min(to.nbytes, known.nbytes)
        assert not np.shares_memory(to, known), "copies of overlapping memory are undefined"
        stream.waiting.append(lambda: np.copyto(to.view(np.uint8)[:size], known.view(np.uint8)[:size]))


def _empty(gpu: FakeGpu, shape: Any, dtype: Any) -> ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return ndarray(gpu, gpu.new(size).view(dtype).reshape(shape))
