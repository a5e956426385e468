"""How kernel functions are compiled: one decorator for device logic, one for entry points.

Device functions are plain scalar code: called from another compiled function they are linked into it, on the CPU by
Numba and on a GPU by numba-cuda; with ``NUMBA_DISABLE_JIT=1`` they run as ordinary Python. Only entry points are
cached on disk. Numba's cache index does not see edits in callee modules, so the cache folder carries a hash of all
kernel sources in its name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from threading import Lock
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import overload
from platformdirs import user_cache_path

from .content_model import exact_model
from .layout import SHORT, exact_view
from .link_only import LinkOnlyCompiler, RareCompiler, WholeProgramCompiler

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}

DEVICE_FUNCTIONS: list[Any] = []
"""Every device function, for launch layers that compile them anew for their target."""


@cache
def cache_dir() -> Path:
    """Folder of the compiled entry points of exactly these kernel sources.

    Returns
    -------
    Path
        ``$FLEETSWAP_CACHE_DIR`` or the user's cache folder, plus a name that holds the hash of the sources.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    root = os.environ.get("FLEETSWAP_CACHE_DIR")
    base = Path(root) if root else user_cache_path("fleetswap")
    return base / f"kernels-{digest.hexdigest()[:16]}"


def device(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark scalar device logic (CPU, CUDA and interpreted)."""
    return _device(function, LinkOnlyCompiler)


def rare(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark device logic that the most common operations do not reach.

    On the CPU it stays a call. Inlined, it would take registers from the code around it: the allocator test ran 8 %
    slower.
    """
    return _device(function, RareCompiler)


def device_by_type(stands_for: Callable[..., Any]) -> Callable[..., Any]:
    """Mark what makes, of types of arguments, the device logic of a function that runs as it is if interpreted."""
    choose: Callable[..., Any] = overload(stands_for, jit_options=_link_only(LinkOnlyCompiler))
    return choose


def _link_only(pipeline: type) -> dict[str, Any]:
    wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    # No reference counting: device functions see records and arrays that they do not own.
    return {"_nrt": False, **wrappers, "pipeline_class": pipeline, **_OPTIONS}


def _device(function: Callable[..., Any], pipeline: type) -> Callable[..., Any]:
    compiled: Callable[..., Any] = _one_version(numba.njit(**_link_only(pipeline))(function))
    DEVICE_FUNCTIONS.append(compiled)
    return compiled


def host(function: Any) -> Callable[..., Any]:
    """A version of a device function that Python can call; device functions themselves can only be linked."""
    if numba.config.DISABLE_JIT:
        return function  # type: ignore[no-any-return]
    compiled: Callable[..., Any] = numba.njit(pipeline_class=WholeProgramCompiler, **_OPTIONS)(function.py_func)
    return compiled


def _one_version(dispatcher: Any) -> Any:
    """Make calls with a literal or a bool use the int64 version of a function.

    Numba compiles a function anew for each literal argument; that multiplied the compile time of the core by five.
    """
    if numba.config.DISABLE_JIT:
        return dispatcher
    original = dispatcher.get_call_template

    def widened(args: Any, kws: Any) -> Any:
        return original(tuple(widen(a) for a in args), {k: widen(a) for k, a in kws.items()})

    dispatcher.get_call_template = widened
    return dispatcher


def widen(argument: Any) -> Any:
    """The Numba type a device function takes an argument of this type as."""
    plain = types.unliteral(argument)
    return types.int64 if isinstance(plain, types.Boolean | types.Integer) else plain


def device_at(arena: Any, base: Any, d: int) -> Any:
    """The device `d` of an arena: what differs between compiled and interpreted runs.

    Interpreted, the aliases of a device have its exact length, so that a wild index is an error.
    """
    first = int(base[d])
    return exact_view(arena[first : int(base[d + 1])].view(np.uint8))


@overload(device_at)
def _device_at_compiled(arena: Any, base: Any, d: int) -> Any:
    def record(arena: Any, base: Any, d: int) -> Any:
        return arena[base[d]]

    return record


def runs_short(dev: Any) -> bool:
    """Whether the memory of a device can run short (`layout.Sizes.pressure`).

    Compiled code knows it from the type of the header: what only such devices do is not in the code of others, where
    it would take registers.
    """
    return int(dev.n_gens) != 0


def runs_short_by_type(dev: Any) -> Any:
    """The compiled `runs_short`: a constant."""
    if SHORT in dev.fields:

        def short(dev: Any) -> bool:
            return True

        return short

    def ample(dev: Any) -> bool:
        return False

    return ample


overload(runs_short)(runs_short_by_type)


def model_at(models: Any) -> Any:
    """The one content model in an array of them; interpreted, with an alias of its exact length."""
    return exact_model(models.view(np.uint8))


@overload(model_at)
def _model_at_compiled(models: Any) -> Any:
    def record(models: Any) -> Any:
        return models[0]

    return record


_TURN = Lock()


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark what changes an element of a result that others may change at the same time.

    A thread of the CPU has elements of its own. Those of a GPU do it in one step (`launch_cuda` says how), those of its
    simulator, interpreted, take turns.
    """

    @wraps(function)
    def in_turn(array: Any, at: Any, value: Any) -> None:
        with _TURN:
            function(array, at, value)

    def alone(array: Any, at: Any, value: Any) -> Any:
        return function

    device_by_type(in_turn)(alone)
    return in_turn


@shared
def add(array: Any, at: Any, value: Any) -> None:
    """Add to an element of a result."""
    array[at] += value


@shared
def keep_least(array: Any, at: Any, value: Any) -> None:
    """Make an element of a result the least of itself and a value."""
    array[at] = min(array[at], value)


@shared
def keep_greatest(array: Any, at: Any, value: Any) -> None:
    """Make an element of a result the greatest of itself and a value."""
    array[at] = max(array[at], value)


def entry(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a CPU entry point: compiled once, then loaded from the cache folder."""
    previous = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache_dir())
    try:
        return numba.njit(cache=True, pipeline_class=WholeProgramCompiler, **_OPTIONS)(function)  # type: ignore[no-any-return]
    finally:
        numba.config.CACHE_DIR = previous
