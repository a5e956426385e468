"""What the launch layer asks of CuPy exists there and takes the arguments that it gets; no GPU needed.

A fleet is run on the stand-in, which records every call; each is then bound to the signature of the real function.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fleetswap.fleet.pieces import cut
from fleetswap.workload.lay_out import lay_out
from fleetswap_kernels.backend.arena import Arena
from fleetswap_kernels.backend.batch_units import BODIES
from fleetswap_kernels.backend.choose import choose
from fleetswap_kernels.backend.contract import Backend
from fleetswap_kernels.backend.cuda import batches as gpu_batch
from fleetswap_kernels.backend.cuda import fold as gpu_fold
from fleetswap_kernels.backend.cuda import gpu as launch_gpu
from fleetswap_kernels.backend.cuda import lanes
from fleetswap_kernels.backend.cuda import state as gpu_state
from fleetswap_kernels.backend.cuda.entries import batch_kernel, signatures
from fleetswap_kernels.batch.census import Census, census
from tests.batch import samples
from tests.fleet.shards import run_shards
from tests.launch.fake_gpu import FakeGpu
from tests.properties.phones import tiny

NAMES = {
    "empty", "ascontiguousarray", "get_default_memory_pool",
    "ndarray.set", "ndarray.get", "ndarray.view", "ndarray.astype",
    "cuda.MemoryPool.free_bytes", "cuda.MemoryPointer.copy_from_device_async",
    "cuda.Stream", "cuda.Stream.synchronize", "cuda.Event", "cuda.Event.record", "cuda.get_elapsed_time",
    "cuda.alloc_pinned_memory",
    "cuda.runtime.getDeviceCount", "cuda.runtime.getDeviceProperties", "cuda.runtime.memGetInfo",
    "cuda.runtime.driverGetVersion", "cuda.runtime.runtimeGetVersion", "cuda.runtime.deviceSynchronize",
}  # fmt: skip
"""All functions of CuPy that the backend uses."""
ATTRIBUTES = {"ndarray.data", "ndarray.shape", "ndarray.dtype", "ndarray.nbytes", "ndarray.__getitem__"}
ATTRIBUTES |= {"__version__", "ndarray.__cuda_array_interface__", "cuda.Stream.ptr", "cuda.runtime.CUDARuntimeError"}
"""And what it reads."""

Call = tuple[str, tuple[Any, ...], dict[str, Any]]


@pytest.fixture
def calls(fake_gpu: FakeGpu) -> list[Call]:
    """Everything that is asked while fleets and batches run, devices are read and written, a manifest is made."""
    scenario = tiny("steps_per_day=2", devices=40)
    laid_out = lay_out(scenario)
    backend, _ = choose("cuda")
    list(run_shards(laid_out, cut(40, 2), backend, check=True))
    arena = Arena([(laid_out.blueprints[0], 40)], backend=backend)
    arena.init()
    arena.memory = arena.memory.copy()
    arena.release()
    assert backend.facts()
    samples.found_by(backend)
    census_of_words_that_are_there(backend)
    return fake_gpu.calls


def census_of_words_that_are_there(backend: Backend) -> Census:
    """A census of page tables whose words are an array of CuPy."""
    cupy = sys.modules["cupy"]
    tables = samples.page_tables()
    words = cupy.empty(tables.pte.shape, dtype=tables.pte.dtype)
    words.host[:] = tables.pte
    return census(backend, replace(tables, pte=words), samples.swap_areas())


def signature_of(function: Any) -> inspect.Signature:
    """Signature of a function; that of one written in Cython stands in the first line of its docstring."""
    try:
        return inspect.signature(function)
    except ValueError:
        return signature_in((function.__doc__ or "").strip().splitlines()[0])


def signature_in(line: str) -> inspect.Signature:
    """Signature as Cython writes it, types before names."""
    words = line[line.index("(") + 1 : line.rindex(")")].split(",")
    names = [word.split("=")[0].split()[-1] for word in words if word.strip()]
    # `size_t size` is one parameter, `stream=None` an optional one; anything else would not be a signature.
    assert all(name.isidentifier() for name in names), line
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD
    optional = [None if "=" in word else inspect.Parameter.empty for word in words if word.strip()]
    return inspect.Signature(
        [inspect.Parameter(name, kinds, default=default) for name, default in zip(names, optional, strict=True)]
    )


def attribute(module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    return found


def test_a_signature_is_read_from_a_docstring() -> None:
    found = signature_in("MemoryPointer.copy_from_host_async(self, mem, size_t size, stream=None) -> None")
    assert list(found.parameters) == ["self", "mem", "size", "stream"]
    found.bind(None, 1, 2)
    found.bind(None, 1, 2, stream=3)
    for wrong in ((None, 1), (None, 1, 2, 3, 4)):
        with pytest.raises(TypeError):
            found.bind(*wrong)


def test_the_functions_used_are_the_named_ones(calls: list[Call]) -> None:
    assert {name for name, _, _ in calls} == NAMES
    # Nothing else of CuPy is spelled in the source, executed or not.
    modules = (launch_gpu, gpu_state, gpu_fold, lanes, gpu_batch)
    tree = ast.parse("\n".join(Path(one.__file__).read_text() for one in modules))
    spelled = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    prefixes = ("cupy.", "self._gpu.cupy.", "self._cupy.", "self.cupy.", "runtime.")
    found = set()
    for text in spelled:
        for prefix in prefixes:
            if text.startswith(prefix) and "(" not in text:
                found.add(("cuda.runtime." if prefix == "runtime." else "") + text.removeprefix(prefix))
    whole = {name for name in found if not any(other.startswith(f"{name}.") for other in found)}
    assert whole <= NAMES | ATTRIBUTES


@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="cupy is not installed")
def test_cupy_takes_the_arguments(calls: list[Call], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    cupy = importlib.import_module("cupy")
    assert isinstance(cupy, ModuleType)
    assert cupy.__file__, "this is the stand-in"
    for name, args, kwargs in calls:
        function = attribute(cupy, name)
        bound = signature_of(function)
        # What is called on an object is there a function of its class.
        method = name.split(".")[-2:-1] in (["ndarray"], ["Stream"], ["Event"], ["MemoryPool"], ["MemoryPointer"])
        bound.bind(*([None] if method else []), *args, **kwargs)


@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="cupy is not installed")
def test_cupy_has_what_is_read() -> None:
    cupy = importlib.import_module("cupy")
    missing = [name for name in ATTRIBUTES if not _has(cupy, name)]
    # A stream has its handle from its constructor on, a class does not.
    assert missing in ([], ["cuda.Stream.ptr"])
    assert issubclass(cupy.cuda.runtime.CUDARuntimeError, RuntimeError)
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    told = str(cupy.cuda.memory.OutOfMemoryError(10, 20))
    assert told.startswith("Out of memory allocating 10 bytes")


def _has(module: ModuleType, name: str) -> bool:
    try:
        attribute(module, name)
    except AttributeError:
        return False
    return True


def test_words_that_are_on_the_gpu_stay_there(fake_gpu: FakeGpu) -> None:
    backend, _ = choose("cuda")
    found = census_of_words_that_are_there(backend)
    expected = census(choose("cpu")[0], samples.page_tables(), samples.swap_areas())
    assert np.array_equal(found.page_order, expected.page_order)
    uploads = [args[0].nbytes for name, args, _ in fake_gpu.calls if name == "ndarray.set"]
    assert uploads
    assert 8 * samples.PAGES not in uploads


@pytest.mark.usefixtures("calls")
def test_kernels_are_compiled_for_the_declared_arguments_only(fake_gpu: FakeGpu) -> None:
    # Had an array another type than was declared, numba-cuda would compile the kernel once more, for it.
    declared = signatures()
    phones = ("init_phones", "run_phones", "gather_counters")
    expected = [(declared[name][0].__name__, declared[name][1]) for name in (*phones, *map(batch_kernel, BODIES))]
    assert sorted(fake_gpu.compiled, key=str) == sorted(expected, key=str)
