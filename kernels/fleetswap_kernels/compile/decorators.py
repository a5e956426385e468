"""How kernel functions are compiled: one decorator for device logic, one for entry points.

Device functions are plain scalar code: called from another compiled function they are linked into it, on the CPU by
Numba and on a GPU by numba-cuda; with ``NUMBA_DISABLE_JIT=1`` they run as ordinary Python. Only entry points are
cached on disk (`kernel_cache`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numba
from numba.core import types
from numba.core.caching import FunctionCache
from numba.extending import overload

from .cpu_linker import LinkOnlyCompiler, RareCompiler, WholeProgramCompiler
from .kernel_cache import cache_dir, with_cache

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}

DEVICE_FUNCTIONS: list[Any] = []
"""Every device function, for launch layers that compile them anew for their target."""
CUDA_CALLS: dict[Callable[..., Any], str] = {}
"""How a GPU calls a device function, by its Python function, where NVVM is not left to decide."""


def device(
    function: Callable[..., Any] | None = None, *, cpu: str = "inline", cuda: str = "choose"
) -> Callable[..., Any]:
    """Mark scalar device logic (CPU, CUDA and interpreted).

    Parameters
    ----------
    function : callable
        The decorator is used with or without options.
    cpu : str
        "inline": LLVM may inline it. "call": the most common operations do not reach it, and it stays a call. Inlined,
        it would take registers from the code around it: the allocator test ran 8 % slower.
    cuda : str
        "choose": NVVM decides. "call": one copy, for a large function with several callers, or one that not every
        program needs: it keeps the code in the instruction cache and the registers of its callers few. "inline": what
        NVVM would call. The kernel for memory that cannot run short spills nothing if it does not; in the other
        one, which is larger, NVVM decides.
    """
    if function is None:
        return partial(device, cpu=cpu, cuda=cuda)
    pipeline = {"inline": LinkOnlyCompiler, "call": RareCompiler}[cpu]
    compiled: Callable[..., Any] = _one_version(numba.njit(**_link_only(pipeline))(function))
    DEVICE_FUNCTIONS.append(compiled)
    if cuda != "choose":
        CUDA_CALLS[function] = cuda
    return compiled


def device_by_type(stands_for: Callable[..., Any]) -> Callable[..., Any]:
    """Mark what makes, of types of arguments, the device logic of a function that runs as it is if interpreted."""
    choose: Callable[..., Any] = overload(stands_for, jit_options=_link_only(LinkOnlyCompiler))
    return choose


def _link_only(pipeline: type) -> dict[str, Any]:
    wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    # No reference counting: device functions see records and arrays that they do not own.
    return {"_nrt": False, **wrappers, "pipeline_class": pipeline, **_OPTIONS}


def _one_version(dispatcher: Any) -> Any:
    """Make calls with a literal, a bool or an enumerator use the int64 version of a function.

    Numba compiles a function anew for each literal argument; that multiplied the compile time of the core by five.
    """
    if numba.config.DISABLE_JIT:
        return dispatcher
    original = dispatcher.get_call_template

    def widened(args: Any, kws: Any) -> Any:
        return original(tuple(widen(a) for a in args), {k: widen(a) for k, a in kws.items()})

    dispatcher.get_call_template = widened
    return dispatcher


def widen(argument: Any, types: Any = types) -> Any:
    """The type a device function takes an argument of this type as; `types` are Numba's, or numba-cuda's own."""
    plain = types.unliteral(argument)
    return types.int64 if isinstance(plain, types.Boolean | types.Integer | types.IntEnumMember) else plain


def entry(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a CPU entry point: compiled once, then loaded from the cache folder."""
    compiled: Callable[..., Any] = numba.njit(pipeline_class=WholeProgramCompiler, **_OPTIONS)(function)
    cached: Callable[..., Any] = with_cache(compiled, cache_dir(), FunctionCache, numba.config)
    return cached
