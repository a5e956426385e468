"""A GPU that is not there: memory of the host that is as unkind as that of a real one.

New memory holds garbage, and runs out. What is queued on a stream happens only when someone waits for that stream,
streams know nothing of each other, and the time of an event that has not happened cannot be asked for. An address
outside of what is allocated is an error.

The launch layer sees it through `fake_cupy` in CuPy's place and through `fake_driver` below numba-cuda, which is real.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

GARBAGE = 0xA5
ROUNDED = 512
"""CuPy's pool hands out memory in such pieces."""
MULTIPROCESSORS = 2
THREADS = 1024
"""Of a multiprocessor, at once."""


class CUDARuntimeError(RuntimeError):
    """As of cupy.cuda.runtime."""


class OutOfMemoryError(MemoryError):
    """As of cupy.cuda.memory, with its words."""


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


class FakeGpu:
    """One GPU, or none.

    Parameters
    ----------
    total_bytes : int
    """

    def __init__(self, total_bytes: int = 1 << 30) -> None:
        self.total_bytes = total_bytes
        self.used_bytes = 0
        self.pooled_bytes = 0
        """Freed, kept by CuPy's pool."""
        self.most_bytes = 0
        self.clock = 0
        self.streams: dict[int, Stream] = {}
        self.blocks = {32: 8, 64: 4, 128: 2, 256: 1}
        """Of so many threads, how many fit a multiprocessor at once."""
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        """What CuPy was asked, by the real functions' names."""
        self.launches: list[tuple[str, int, int, int]] = []
        """Kernel, blocks, threads of a block, stream."""
        self.compiled: list[tuple[str, tuple[Any, ...]]] = []
        """Kernel and types of its arguments."""
        self.copied_to_host = 0
        # What may be wrong with it.
        self.devices = 1
        self.no_driver = False
        self.no_answer = ""
        self.no_compiler = False
        self.out_of_memory_at_launch = 0
        """Launches from now until the driver finds no memory for stacks; 0 for never."""
        self._allocated: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def install(self, monkeypatch: pytest.MonkeyPatch, simulator: bool = False) -> None:
        """Let the launch layer find this GPU instead of a real one.

        Parameters
        ----------
        monkeypatch : MonkeyPatch
        simulator : bool
            Whether numba-cuda is its simulator in this process, which needs no driver; else kernels are their CPU
            twins.
        """
        from .fake_cupy import module

        monkeypatch.setitem(sys.modules, "cupy", module(self))
        real = ctypes.CDLL

        def load(name: Any, *args: Any, **kwargs: Any) -> Any:
            if name != "libcuda.so.1":
                return real(name, *args, **kwargs)
            if self.no_driver:
                raise OSError(f"{name}: cannot open shared object file: No such file or directory")
            return object()

        monkeypatch.setattr(ctypes, "CDLL", load)
        if not simulator:
            from .fake_driver import install

            install(self, monkeypatch)

    def note(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Record a call; of arrays only what they were like, for a record must not keep memory alive."""
        self.calls.append((name, tuple(map(_seen, args)), {key: _seen(value) for key, value in kwargs.items()}))

    def new(self, size: int) -> np.ndarray:
        """Allocate, from the pool if it has enough; an exhausted GPU first gets back what the pool holds.

        Raises
        ------
        OutOfMemoryError
        """
        rounded = -(-size // ROUNDED) * ROUNDED
        if rounded <= self.pooled_bytes:
            self.pooled_bytes -= rounded
        elif self.used_bytes + self.pooled_bytes + rounded > self.total_bytes:
            self.pooled_bytes = 0
            if self.used_bytes + rounded > self.total_bytes:
                raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes (allocated so far: ...).")
        self.used_bytes += rounded
        self.most_bytes = max(self.most_bytes, self.used_bytes)
        memory = np.full(size, GARBAGE, dtype=np.uint8)
        self._allocated[memory.ctypes.data] = memory
        weakref.finalize(memory, self._free, rounded)
        return memory

    def _free(self, size: int) -> None:
        self.used_bytes -= size
        self.pooled_bytes += size

    def at(self, address: int, size: int) -> np.ndarray:
        """Allocated bytes at an address.

        Raises
        ------
        CUDARuntimeError
            If they are not, or not any more.
        """
        if size == 0:
            return np.zeros(0, np.uint8)
        for start, memory in list(self._allocated.items()):
            if start <= address and address + size <= start + memory.nbytes:
                return memory[address - start : address - start + size]
        raise CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")


def _seen(value: Any) -> Any:
    size = getattr(value, "nbytes", None)
    return value if size is None else Seen(value.shape, size)


class Seen:
    """What an array in a call was like."""

    def __init__(self, shape: tuple[int, ...], nbytes: int) -> None:
        self.shape, self.nbytes = shape, nbytes
