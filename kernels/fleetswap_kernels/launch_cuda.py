"""CUDA entry points: a thread for each device, running the same device functions as the CPU.

Importing this module imports numba.cuda; nothing else in the project does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numba import cuda
from numba.core import config
from numba.cuda import types
from numba.cuda.core import config as cuda_config
from numba.cuda.np import numpy_support
from numba.cuda.typing.typeof import typeof

from .content_model import MODEL, exact_model
from .counters import N_COUNTERS
from .jit import DEVICE_FUNCTIONS, add, cache_dir, keep_greatest, keep_least, runs_short, runs_short_by_type
from .layout import HEADER, HEADER_BYTES, Q_COUNTER, SHORT_HEADER, exact_view

from .device.batch.units import BODIES, body_by_type, do_unit  # isort: skip
from .interpreter import run_program  # isort: skip
from .figures import METRIC_BASE, METRIC_PART, METRIC_WORDS, PARTS, RESUME, fold_device, value_of_metric  # isort: skip
from .log_bin import BINS, LAST_BIN, bin_number  # isort: skip
from .price import PRICE_WORDS  # isort: skip
from .setup import setup_device  # isort: skip
from .tally import (  # isort: skip
    BASE_HIGH, BASE_LOW, DEVICES, GREATEST, HIGH, LEAST, LOW, N_FACTS, TOP_HIGH,
    TOP_LOW,
)  # fmt: skip
from .warps import WARP, devices_per_warp  # isort: skip

BLOCK_SIZES = (WARP, 64, 128, 256)
"""Threads of a block. Of sizes with equal occupancy the smallest: a block is done when its slowest device is."""
OUT_OF_LINE = frozenset(
    {
        *("range_free", "frames_give", "compact", "split_folio"),
        *("store_compressed", "store_run", "count_codec_reads", "block_identity", "draw_rewritten", "swapin_small"),
        *("next_block", "evict_own", "evict_shared", "evict_unmapped", "next_op", "take_gauges"),
        *("folio_available", "pool_frames_change"),
        *("count_smaller_swapin", "count_refused_swapout", "note_refault", "note_eviction", "unmap_regions"),
        *("swap_out", "halt_or_resume_fault", "store_block", "mixed_block_bytes", "free_objects"),
        *("zspage_malloc", "zspage_free", "free_swap_slots"),
    }
)
"""Large functions with several callers, or not needed by every program: one copy of each, called, keeps the code in
the instruction cache and the registers of its callers few."""
INLINED = frozenset(
    {"run_program", "execute", "run_phase", "folio_alloc_swap", "swap_fault", "handle_fault", "fault_and_reclaim"}
)
"""What NVVM would call. The kernel for memory that cannot run short spills nothing if it does not; in the other one,
which is larger, it decides."""

if config.ENABLE_CUDASIM:
    from numba.cuda.simulator.cudadrv import devicearray

    def record_at(arena: Any, base: Any, d: int) -> Any:
        """The device `d`, with aliases of its exact length; the simulator wraps arrays, here one of bytes."""
        return exact_view(arena._ary[int(base[d]) * HEADER_BYTES : int(base[d + 1]) * HEADER_BYTES])

    def model_of(models: Any) -> Any:
        """The content model, with an alias of its exact length."""
        return exact_model(models._ary)

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

    def compiled(dispatcher: Any, signature: tuple[Any, ...]) -> Any:
        """A kernel for arguments of known types; the simulator runs its Python."""
        return _OneWarp()

    def compiler_missing() -> str:
        """What the compiler lacks; the simulator needs none."""
        return ""

else:
    from numba.cuda.cudadrv import nvvm
    from numba.cuda.cudadrv.error import NvvmSupportError
    from numba.cuda.extending import overload
    from numba.cuda import dispatcher as cuda_dispatcher
    from numba.cuda.codegen import CUDACodeLibrary
    from numba.cuda.compiler import compile_cuda
    from numba.cuda.dispatcher import CUDADispatcher

    class _DeviceDispatcher(CUDADispatcher):  # type: ignore[misc]
        """A device function compiled once for int64 arguments, whatever literal or bool a caller passes."""

        def get_call_template(self, args: Any, kws: Any) -> Any:
            return super().get_call_template(tuple(_widen(a) for a in args), kws)

        def compile_device(self, args: Any, return_type: Any = None) -> Any:
            name = self.py_func.__name__
            if args in self.overloads or name not in OUT_OF_LINE | INLINED:
                return super().compile_device(args, return_type)
            # C's calling convention returns values in registers; Numba's own, in memory, needs a stack.
            capability = cuda_dispatcher.get_current_device().compute_capability
            result = compile_cuda(
                self.py_func, return_type, args, nvvm_options={"opt": 3, "fastmath": None}, cc=capability, abi="c"
            )
            if name in OUT_OF_LINE:
                _mark(result, "noinline")
            elif args[0] == numpy_support.from_dtype(HEADER):
                _mark(result, "alwaysinline")
            self.overloads[args] = result
            result.target_context.insert_user_function(result.entry_point, result.fndesc, [result.library])
            return result

    def _mark(result: Any, attribute: str) -> None:
        """Tell NVVM how to call a compiled device function."""
        for module in result.library.modules:
            for function in module.functions:
                if function.name == result.fndesc.llvm_func_name:
                    function.attributes.add(attribute)

    def _widen(argument: Any) -> Any:
        plain = types.unliteral(argument)
        return types.int64 if isinstance(plain, types.Boolean | types.Integer) else plain

    def _adopt(dispatcher: Any) -> None:
        """Give numba-cuda our dispatcher for a device function, where it looks for its own."""
        options = {**dispatcher.targetoptions, "device": True, "debug": False, "opt": True}
        dispatcher._CUDATypingContext__dispatcher = _DeviceDispatcher(dispatcher.py_func, options)

    for _function in DEVICE_FUNCTIONS:
        _adopt(_function)

    def _modules_once(library: Any) -> list[Any]:
        """What NVVM is given for a function: its module and that of each function below it, callers first."""
        finished: dict[Any, None] = {}

        def visit(each: Any) -> None:
            for below in sorted(each._linking_libraries, key=lambda one: one.name):
                if below not in finished:
                    visit(below)
            finished[each] = None

        visit(library)
        return [each._module for each in reversed(finished)]

    # numba-cuda's own gives a function again for every path of calls to it: 92,000 for the 330 functions of
    # run_devices, which doubles the time. NVVM drops a function that no module before it calls.
    CUDACodeLibrary.modules = property(_modules_once)

    overload(runs_short)(runs_short_by_type)
    overload(do_unit)(body_by_type)
    # Lambdas, for Numba compiles functions of Python only.
    overload(add)(lambda array, at, value: lambda array, at, value: cuda.atomic.add(array, at, value))  # noqa: PLW0108
    overload(keep_least)(lambda array, at, value: lambda array, at, value: cuda.atomic.min(array, at, value))  # noqa: PLW0108
    overload(keep_greatest)(lambda array, at, value: lambda array, at, value: cuda.atomic.max(array, at, value))  # noqa: PLW0108

    def array_of(memory: Any) -> Any:
        """What kernels take as an array: anything with a CUDA array interface."""
        return cuda.as_cuda_array(memory, sync=False)

    def records_of(memory: Any, record: Any) -> Any:
        """What kernels take as an array of records: a view of bytes, for CuPy has no records."""
        return array_of(memory).view(record)

    def stream_of(handle: int) -> Any:
        """What a launch takes as a stream."""
        return cuda.external_stream(handle)

    def compiled(dispatcher: Any, signature: tuple[Any, ...]) -> Any:
        """A kernel for arguments of known types, compiled or from the cache folder."""
        return dispatcher.compile(signature)

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


@cuda.jit(device=True)
def note_failed(dev: Any, d: int, failed: Any) -> None:
    """Keep the least number of a device whose error word is set."""
    if dev.error != 0:
        cuda.atomic.min(failed, 0, d)


def init_devices(arena: Any, base: Any, models: Any, ids: Any, failed: Any, header_content: int) -> None:
    """Set up one device of an arena; a kernel body."""
    d = cuda.grid(1)
    if d < base.size - 1:
        dev = record_at(arena, base, d)
        setup_device(dev, model_of(models), header_content, ids[d])
        note_failed(dev, d, failed)


def run_devices(
    arena: Any, base: Any, models: Any, failed: Any, program: Any, op_first: int, op_end: int, per_warp: int
) -> None:
    """Run a part of a program on one device of an arena; a kernel body. The first lanes of a warp have a device."""
    thread = cuda.grid(1)
    lane = thread % WARP
    d = thread // WARP * per_warp + lane
    if lane < per_warp and d < base.size - 1:
        dev = record_at(arena, base, d)
        run_program(dev, model_of(models), program, op_first, op_end)
        note_failed(dev, d, failed)


def gather_counters(quads: Any, base: Any, found: Any) -> None:
    """Copy the counters of all devices, which stand far apart, side by side; a kernel body.

    Neighbouring threads copy neighbouring counters. Each goes on a grid further, so that any grid copies all.
    """
    for i in range(cuda.grid(1), found.size, cuda.gridsize(1)):
        d = i // N_COUNTERS
        found[i] = quads[base[d] * (HEADER_BYTES // 8) + Q_COUNTER + i - d * N_COUNTERS]


def fold_devices(
    quads: Any,
    base: Any,
    groups: Any,
    columns: Any,
    prices: Any,
    metrics: Any,
    since: Any,
    change: Any,
    sums: Any,
    parts: Any,
    bins: Any,
    facts: Any,
    totals: Any,
    mode: int,
    steps: int,
) -> None:
    """Measure one device and add it to a tally; a kernel body. The twin of `launch_cpu.fold_devices`."""
    d = cuda.grid(1)
    if d < base.size - 1:
        group = groups[d]
        at = base[d] * (HEADER_BYTES // 8) + Q_COUNTER
        n_metrics = metrics.size // METRIC_WORDS
        p = group * PRICE_WORDS
        fold_device(quads, at, d, columns, prices, p, metrics, n_metrics, since, change, sums, parts, mode, steps)
        if mode == RESUME:
            return
        for i in range(N_COUNTERS):
            cuda.atomic.add(totals, group * N_COUNTERS + i, change[d * N_COUNTERS + i])
        for m in range(n_metrics):
            row = group * n_metrics + m
            o = row * N_FACTS
            top = parts[d * PARTS + metrics[METRIC_WORDS * m + METRIC_PART]]
            cuda.atomic.add(facts, o + TOP_HIGH, top >> 32)
            cuda.atomic.add(facts, o + TOP_LOW, top & 0xFFFFFFFF)
            base_part = metrics[METRIC_WORDS * m + METRIC_BASE]
            if base_part >= 0:
                bottom = parts[d * PARTS + base_part]
                cuda.atomic.add(facts, o + BASE_HIGH, bottom >> 32)
                cuda.atomic.add(facts, o + BASE_LOW, bottom & 0xFFFFFFFF)
                if bottom <= 0:
                    continue
            value = value_of_metric(metrics, m, parts, d * PARTS)
            cuda.atomic.add(facts, o + DEVICES, 1)
            cuda.atomic.add(facts, o + HIGH, value >> 32)
            cuda.atomic.add(facts, o + LOW, value & 0xFFFFFFFF)
            cuda.atomic.min(facts, o + LEAST, value)
            cuda.atomic.max(facts, o + GREATEST, value)
            cuda.atomic.add(bins, row * BINS + LAST_BIN + bin_number(value), 1)


def run_units(units: int, copies: int, work: Any) -> None:
    """Do one unit of a batch; a kernel body. The twin of `launch_batch.run_units`.

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
        "fold_devices": (fold_devices, (base,) * 13 + (types.int64,) * 2),
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
        # Numba's index of a cache folder does not see edits in callee modules; the folder's name does.
        previous = cuda_config.CACHE_DIR
        cuda_config.CACHE_DIR = str(cache_dir())
        try:
            self._dispatcher = cuda.jit(cache=True)(body)
        finally:
            cuda_config.CACHE_DIR = previous

    @cached_property
    def occupancy(self) -> tuple[int, int]:
        """Threads of a block, and how many such blocks the GPU runs at once, as the driver says."""
        kernel = compiled(self._dispatcher, self.signature)
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
        """Queue warps of so many devices, for a kernel whose last argument is how many."""
        self.launch(stream, -(-devices // per_warp) * WARP, *arguments, per_warp)

    def launch_once(self, stream: Any, *arguments: Any) -> None:
        """Queue as many threads as the GPU runs at once, for a kernel that loops."""
        size, blocks = self.occupancy
        self._dispatcher[blocks, size, stream](*arguments)


# A fleet has as many blocks as it has; numba-cuda warns of few.
cuda_config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
