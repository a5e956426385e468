"""The backend cuda: a GPU opened, its memory, what it is and what it spent.

CuPy holds memory and streams, Numba launches the kernels (`entries`). A fleet is run in a few lanes, each a range
of devices with a stream of its own (`state`): while the results of one come back, the others compute.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
from collections.abc import Iterator
from importlib import metadata
from typing import Any


from ...layout.device import HEADER_BYTES, SHORT_HEADER
from ..contract import BackendMissingError, Batch, DeviceMemoryError, NewFleet
from ..extras import install_command
from ..memory_plan import GpuMemory
from .batches import CudaBatches
from .lanes import LANES, Spent
from .state import CudaState

DRIVER = "libcuda.so.1"
INSTALL = f"{install_command('cuda13')}, or [cuda12] for a driver older than 580"


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
    from .target import compiler_missing

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
    """One GPU (`contract.Backend`).

    Parameters
    ----------
    cupy : module
    """

    name = "cuda"
    threads = 1

    def __init__(self, cupy: Any) -> None:
        from .entries import Kernel

        self.cupy = cupy
        runtime = cupy.cuda.runtime
        properties = runtime.getDeviceProperties(0)
        self._gpu: str = properties["name"].decode()
        self._capability = f"{properties['major']}.{properties['minor']}"
        self._resident = properties["multiProcessorCount"] * properties["maxThreadsPerMultiProcessor"]
        self._versions = {"driver": runtime.driverGetVersion(), "runtime": runtime.runtimeGetVersion()}
        self.gather, self.fold = Kernel("gather_counters"), Kernel("fold_devices")
        self._kernels = {
            False: (Kernel("init_devices"), Kernel("run_devices")),
            True: (Kernel("init_phones"), Kernel("run_phones")),
        }
        self._batches = CudaBatches(cupy)
        self.spent = Spent()
        self.refused: list[dict[str, int]] = []
        """Allocations that did not fit: bytes asked for and free, and devices."""

    def memory(self) -> GpuMemory:
        """Memory as it is now; what a pool holds for reuse counts as free."""
        free, total = self.cupy.cuda.runtime.memGetInfo()
        free += self.cupy.get_default_memory_pool().free_bytes()
        return GpuMemory(free, total, self._resident, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))

    def allocate(self, fleet: NewFleet) -> CudaState:
        """Memory of some devices, laid out (`contract.Backend.allocate`)."""
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

    def devices_at_once(self, device_bytes: int) -> int:
        """As many as fit free memory, with a margin."""
        return self.memory().devices_at_once(device_bytes)

    def run_batch(self, batch: Batch) -> Any:
        """Do all units of a batch, one thread each (`launch.Backend.run_batch`)."""
        return self._batches.run(batch)

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
            "spent": self.spent.as_dict(),
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
