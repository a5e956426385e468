"""What differs between a GPU and its simulator: arrays, streams and records as kernels take them, the compiler."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda
from numba.core import config

from ...compile.kernel_cache import cache_dir, with_cache
from ...layout.content_model import ModelView
from ...layout.device import HEADER_BYTES, DeviceView
from ..warps import WARP

if config.ENABLE_CUDASIM:
    from numba.cuda.simulator.cudadrv import devicearray

    def record_at(arena: Any, base: Any, d: int) -> Any:
        """The device `d`, with aliases of its exact length; the simulator wraps arrays, here one of bytes."""
        return DeviceView(arena._ary[int(base[d]) * HEADER_BYTES : int(base[d + 1]) * HEADER_BYTES])

    def model_of(models: Any) -> Any:
        """The content model, with an alias of its exact length."""
        return ModelView(models._ary)

    class _Shared:
        """Memory of a GPU that is the host's, as that of the simulator is."""

        def __init__(self, owner: Any) -> None:
            self.owner = owner
            self.__array_interface__ = {**owner.__cuda_array_interface__, "version": 3}

    def array_of(memory: Any) -> Any:
        """What kernels take as an array."""
        return devicearray.FakeCUDAArray(np.asarray(_Shared(memory)))

    def records_of(memory: Any, record: Any) -> Any:
        """What kernels take as an array of records: the simulator views each on its own."""
        return array_of(memory)

    def stream_of(handle: int) -> Any:
        """What a launch takes as a stream: the simulator has none."""
        return 0

    class _OneWarp:
        """Occupancy of the simulator, for which a thread is one of the host."""

        def max_cooperative_grid_blocks(self, threads: int) -> int:
            return int(threads == WARP)

    def compiled_kernel(dispatcher: Any, signature: tuple[Any, ...]) -> Any:
        """A kernel for arguments of known types; the simulator runs its Python."""
        return _OneWarp()

    def cached_kernel(dispatcher: Any) -> Any:
        """The kernel itself."""
        return dispatcher

    def compiler_missing() -> str:
        """What the compiler lacks; the simulator needs none."""
        return ""

else:
    from numba.cuda import dispatcher as cuda_dispatcher
    from numba.cuda.core import config as cuda_config
    from numba.cuda.cudadrv import nvvm
    from numba.cuda.cudadrv.error import NvvmSupportError

    def array_of(memory: Any) -> Any:
        """What kernels take as an array: anything with a CUDA array interface."""
        return cuda.as_cuda_array(memory, sync=False)

    def records_of(memory: Any, record: Any) -> Any:
        """What kernels take as an array of records: a view of bytes, for CuPy has no records."""
        return array_of(memory).view(record)

    def stream_of(handle: int) -> Any:
        """What a launch takes as a stream."""
        return cuda.external_stream(handle)

    def compiled_kernel(dispatcher: Any, signature: tuple[Any, ...]) -> Any:
        """A kernel for arguments of known types, compiled or from the cache folder."""
        return dispatcher.compile(signature)

    def cached_kernel(dispatcher: Any) -> Any:
        """A kernel whose machine code is kept in the cache folder."""
        return with_cache(dispatcher, cache_dir(), cuda_dispatcher.CUDACache, cuda_config)

    def compiler_missing() -> str:
        """What the compiler of kernels lacks; empty if nothing."""
        try:
            nvvm.NVVM()
        except NvvmSupportError as error:
            return str(error)
        return ""

    @cuda.jit(device=True)
    def model_of(models: Any) -> Any:
        """The content model."""
        return models[0]

    @cuda.jit(device=True)
    def record_at(arena: Any, base: Any, d: int) -> Any:
        """The device `d` of an arena."""
        return arena[base[d]]
