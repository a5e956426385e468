"""The backend cuda: devices in the memory of a GPU, from which only results come back.

CuPy holds memory and streams, Numba launches the kernels (`launch_cuda`). A fleet is run in a few lanes, each a range
of devices with a stream of its own: while the results of one come back, the others compute.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .content_model import MODEL
from .counters import N_COUNTERS
from .gpu_memory import GpuMemory
from .launch import BackendMissingError, DeviceMemoryError, NewFleet, Progress
from .layout import HEADER_BYTES, SHORT_HEADER

DRIVER = "libcuda.so.1"
INSTALL = "pip install 'fleetswap[cuda13]', or [cuda12] for a driver older than 580"
LANES = 4
"""Streams of a fleet: one computes, one copies, and two keep the GPU busy while a lane ends."""
NOBODY = np.iinfo(np.int64).max
"""No device has failed."""


def open_gpu() -> CudaBackend:
    """The GPU of this process: the first that CUDA_VISIBLE_DEVICES names.

    Raises
    ------
    BackendMissingError
        If there is none that can be used; the message says what is missing.
    """
    wanted = {"cupy": "cupy", "numba_cuda": "numba-cuda"}
    missing = [name for module, name in wanted.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise BackendMissingError(f"{' and '.join(missing)} not installed: {INSTALL}")
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        raise BackendMissingError(f"no NVIDIA driver: {DRIVER} cannot be loaded") from None
    import cupy

    runtime = cupy.cuda.runtime
    try:
        devices = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise BackendMissingError(f"the driver shows no device: {error}") from None
    if devices == 0:
        raise BackendMissingError("no device: the driver has no GPU, or CUDA_VISIBLE_DEVICES hides it")
    from .launch_cuda import compiler_missing

    if reason := compiler_missing():
        raise BackendMissingError(f"no CUDA compiler: {reason}: {INSTALL}")
    gpu = CudaBackend(cupy)
    if gpu.memory().room_bytes == 0:
        memory = gpu.memory()
        raise BackendMissingError(
            f"too little memory: {memory.free_bytes:,} of {memory.total_bytes:,} bytes are free, {memory.kept_bytes:,} "
            "are kept for stacks, code and a margin"
        )
    return gpu


class CudaBackend:
    """One GPU (`launch.Backend`).

    Parameters
    ----------
    cupy : module
    """

    name = "cuda"
    threads = 1

    def __init__(self, cupy: Any) -> None:
        from .launch_cuda import Kernel

        self.cupy = cupy
        runtime = cupy.cuda.runtime
        properties = runtime.getDeviceProperties(0)
        self._gpu: str = properties["name"].decode()
        self._capability = f"{properties['major']}.{properties['minor']}"
        self._resident = properties["multiProcessorCount"] * properties["maxThreadsPerMultiProcessor"]
        self._versions = {"driver": runtime.driverGetVersion(), "runtime": runtime.runtimeGetVersion()}
        self.gather = Kernel("gather_counters")
        self._kernels = {
            False: (Kernel("init_devices"), Kernel("run_devices")),
            True: (Kernel("init_phones"), Kernel("run_phones")),
        }
        self.spent = Spent()
        self.refused: list[dict[str, int]] = []
        """Allocations that did not fit: bytes asked for and free, and devices."""

    def memory(self) -> GpuMemory:
        """Memory as it is now; what a pool holds for reuse counts as free."""
        free, total = self.cupy.cuda.runtime.memGetInfo()
        free += self.cupy.get_default_memory_pool().free_bytes()
        return GpuMemory(free, total, self._resident, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))

    def allocate(self, fleet: NewFleet) -> CudaState:
        """Memory of some devices, laid out (`launch.Backend.allocate`)."""
        with self.refusals(fleet):
            return CudaState(self, fleet, *self._kernels[fleet.header is SHORT_HEADER])

    @contextlib.contextmanager
    def refusals(self, fleet: NewFleet) -> Iterator[None]:
        """Turn what CuPy, the runtime and the driver say of exhausted memory into one error, and note it.

        Raises
        ------
        DeviceMemoryError
        """
        try:
            yield
        except DeviceMemoryError:
            raise
        except Exception as error:
            if "outofmemory" not in str(error).lower().replace(" ", "").replace("_", ""):
                raise
            asked, free = int(fleet.base[-1]) * HEADER_BYTES, self.memory().free_bytes
            self.refused.append({"devices": len(fleet.ids), "asked_bytes": asked, "free_bytes": free})
            raise DeviceMemoryError(f"{len(fleet.ids):,} devices of {asked:,} bytes do not fit: {error}") from None

    def at_once(self, device_bytes: int) -> int:
        """As many as fit free memory, with a margin."""
        return self.memory().at_once(device_bytes)

    def facts(self) -> dict[str, Any]:
        """What a manifest tells about it."""
        memory = self.memory()
        return {
            "name": self._gpu,
            "compute_capability": self._capability,
            **{f"cuda_{what}": f"{number // 1000}.{number % 1000 // 10}" for what, number in self._versions.items()},
            "cupy": self.cupy.__version__,
            "numba_cuda": metadata.version("numba-cuda"),
            "total_bytes": memory.total_bytes,
            "free_bytes": memory.free_bytes,
            "kept_bytes": memory.kept_bytes,
            "lanes": LANES,
            "spent": self.spent.told(),
            "out_of_memory": list(self.refused),
        }

    def describe(self) -> str:
        """The same for people."""
        memory = self.memory()
        free, kept, ours = (n / (1 << 30) for n in (memory.free_bytes, memory.kept_bytes, memory.room_bytes))
        return (
            f"{self._gpu}, compute capability {self._capability}, {ours:.1f} GiB for devices: {free:.1f} GiB are free, "
            f"{kept:.1f} GiB of them are kept for stacks, code and a margin"
        )


@dataclass
class Spent:
    """Time and bytes that moved, by events on the GPU.

    Parameters
    ----------
    compute_s : float
        From the start of each launch to the end of the last lane's kernel.
    waited_s : float
        What remained of bringing results back after that: the part of the transfer that nothing hides.
    result_bytes : int
        Results that came back.
    upload_bytes, laid_out_bytes : int
        Images and programs that went to the GPU, and memory that was filled with copies of the images there.
    """

    compute_s: float = 0.0
    waited_s: float = 0.0
    result_bytes: int = 0
    upload_bytes: int = 0
    laid_out_bytes: int = 0

    def told(self) -> dict[str, float]:
        """Ready for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Lane:
    """A range of devices and the stream that runs them.

    Parameters
    ----------
    devices : int
    stream : cupy Stream
    queue : numba stream
        The same for launches.
    base, ids, failed, found : arrays for kernels
        Starts and numbers of its devices; the least number of a failed one, within the lane; its counters.
    on_gpu, on_host : list of arrays
        Results on the GPU and where they come to on the host: counters, failed.
    first : int
        Its first device.
    started, computed, copied : cupy Event
    """

    first: int
    devices: int
    stream: Any
    queue: Any
    base: Any
    ids: Any
    failed: Any
    found: Any
    on_gpu: tuple[Any, Any]
    on_host: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    started: Any
    computed: Any
    copied: Any


class CudaState:
    """Devices in the memory of a GPU (`launch.State`).

    Parameters
    ----------
    gpu : CudaBackend
    fleet : NewFleet
    init, run : Kernel
        Those for its type of header.
    """

    def __init__(self, gpu: CudaBackend, fleet: NewFleet, init: Any, run: Any) -> None:
        from .launch_cuda import WARP, array_of, records_of

        cupy = gpu.cupy
        self._gpu = gpu
        self._fleet = fleet
        self._init, self._run = init, run
        n = len(fleet.ids)
        self._uploads = cupy.cuda.Stream(non_blocking=True)
        self._memory = cupy.empty(int(fleet.base[-1]) * HEADER_BYTES, dtype=np.uint8)
        self._base, self._ids = self._upload(fleet.base), self._upload(fleet.ids)
        self._model = self._upload(fleet.model)
        self._records = records_of(self._memory, fleet.header)
        self._quads = array_of(self._memory.view(np.uint64))
        self._models = records_of(self._model, MODEL)
        self._program: tuple[npt.NDArray[np.uint32] | None, Any] = (None, None)
        self._found = cupy.empty(n * N_COUNTERS, dtype=np.uint64)
        self._counters = self._pinned(n * N_COUNTERS, np.uint64)
        lanes = min(LANES, -(-n // WARP))
        self._failed = cupy.empty(lanes, dtype=np.int64)
        self._worst = self._pinned(lanes, np.int64)
        edges = [n * i // lanes for i in range(lanes + 1)]
        self._lanes = [self._lane(i, *ends) for i, ends in enumerate(pairwise(edges))]
        self._lay_out()
        self._forget_failures()
        self._launch(lambda lane: None)

    def _lane(self, number: int, first: int, end: int) -> Lane:
        from .launch_cuda import array_of, stream_of

        cupy = self._gpu.cupy
        stream = cupy.cuda.Stream(non_blocking=True)
        results = slice(first * N_COUNTERS, end * N_COUNTERS)
        mine = slice(number, number + 1)
        return Lane(
            first=first,
            devices=end - first,
            stream=stream,
            queue=stream_of(stream.ptr),
            base=array_of(self._base[first : end + 1]),
            ids=array_of(self._ids[first:end]),
            failed=array_of(self._failed[mine]),
            found=array_of(self._found[results]),
            on_gpu=(self._found[results], self._failed[mine]),
            on_host=(self._counters[results], self._worst[mine]),
            started=cupy.cuda.Event(),
            computed=cupy.cuda.Event(),
            copied=cupy.cuda.Event(),
        )

    def _pinned(self, n: int, dtype: type[np.generic]) -> npt.NDArray[Any]:
        """An array of the host that the GPU can copy to while both go on."""
        return np.frombuffer(self._gpu.cupy.cuda.alloc_pinned_memory(n * np.dtype(dtype).itemsize), dtype, n)

    def _upload(self, array: npt.NDArray[Any]) -> Any:
        copy = self._gpu.cupy.empty(array.shape, dtype=array.dtype)
        self._fill(copy, array)
        return copy

    def _fill(self, to: Any, array: npt.NDArray[Any]) -> None:
        to.set(np.ascontiguousarray(array), stream=self._uploads)
        # The array is the host's again once it has been read.
        self._uploads.synchronize()
        self._gpu.spent.upload_bytes += array.nbytes

    def _lay_out(self) -> None:
        """Upload one device of each kind and copy it, on the GPU, to all others: twice as many with every copy."""
        start = 0
        for kind in self._fleet.kinds:
            image = np.zeros(kind.device_bytes, dtype=np.uint8)
            for at, part in kind.parts:
                image[at : at + len(part)] = part
            end = start + kind.devices * kind.device_bytes
            self._fill(self._memory[start : start + len(image)], image)
            at = start + len(image)
            while at < end:
                size = min(at - start, end - at)
                source = self._memory[start : start + size]
                self._memory[at : at + size].data.copy_from_device_async(source.data, size, self._uploads)
                at += size
            self._uploads.synchronize()
            self._gpu.spent.laid_out_bytes += end - start
            start = end

    def _forget_failures(self) -> None:
        self._fill(self._failed, np.full(len(self._worst), NOBODY, dtype=np.int64))

    def init(self, header_content: int) -> None:
        """Bring all devices to the state after swapon."""
        self._launch(
            lambda lane: self._init.launch(
                lane.queue,
                lane.devices,
                self._records,
                lane.base,
                self._models,
                lane.ids,
                lane.failed,
                header_content,
            )
        )

    def run(self, program: npt.NDArray[np.uint32], first: int, end: int, progress: Progress) -> None:
        """Run the operations `first` to `end` - 1 of a program on all devices."""
        from .launch_cuda import array_of

        known, kept = self._program
        if known is not program:
            kept = self._upload(program)
            self._program = (program, kept)
        operations = array_of(kept)
        self._launch(
            lambda lane: self._run.launch(
                lane.queue,
                lane.devices,
                self._records,
                lane.base,
                self._models,
                lane.failed,
                operations,
                first,
                end,
            ),
            progress,
        )

    def _launch(self, kernel: Callable[[Lane], None], progress: Progress = lambda devices: None) -> None:
        """Queue a kernel on every lane, and behind it what brings the lane's results back; wait for all."""
        with self._gpu.refusals(self._fleet):
            for lane in self._lanes:
                lane.started.record(lane.stream)
                kernel(lane)
                lane.computed.record(lane.stream)
                self._gpu.gather.launch_once(lane.queue, self._quads, lane.base, lane.found)
                for source, to in zip(lane.on_gpu, lane.on_host, strict=True):
                    source.get(stream=lane.stream, out=to, blocking=False)
                lane.copied.record(lane.stream)
            for lane in self._lanes:
                lane.stream.synchronize()
                progress(lane.devices)
        between = self._gpu.cupy.cuda.get_elapsed_time
        begin = self._lanes[0].started
        computed = max(between(begin, lane.computed) for lane in self._lanes)
        self._gpu.spent.compute_s += computed / 1e3
        self._gpu.spent.waited_s += (max(between(begin, lane.copied) for lane in self._lanes) - computed) / 1e3
        self._gpu.spent.result_bytes += self._counters.nbytes + self._worst.nbytes

    def first_failed(self) -> int | None:
        """Number of the first device whose error word is set, or None."""
        for lane, worst in zip(self._lanes, self._worst.tolist(), strict=True):
            if worst != NOBODY:
                return lane.first + int(worst)
        return None

    def counters(self) -> npt.NDArray[np.uint64]:
        """Counters of all devices, as they came back with the last launch."""
        return self._counters.reshape(-1, N_COUNTERS).copy()

    def read(self, first: int, end: int) -> npt.NDArray[np.uint8]:
        """A copy of a part of the memory."""
        copy: npt.NDArray[np.uint8] = self._memory[first:end].get()
        return copy

    def write(self, devices: npt.NDArray[np.uint8]) -> None:
        """Upload all devices."""
        self._fill(self._memory, devices)
        self._forget_failures()
        self._launch(lambda lane: None)

    def release(self) -> None:
        """Give the memory back to CuPy's pools."""
        self._lanes = []
        self._memory = self._found = self._records = self._quads = None
        self._counters = self._worst = np.zeros(0)
