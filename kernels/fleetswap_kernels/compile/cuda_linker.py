"""How CUDA kernels link device functions: what numba-cuda is told beyond its own options.

Everything here leans on numba-cuda's internals and is needed by its releases 0.30 and newer.
"""

from __future__ import annotations

from typing import Any

from numba import cuda
from numba.cuda import dispatcher as cuda_dispatcher
from numba.cuda import types
from numba.cuda.codegen import CUDACodeLibrary
from numba.cuda.compiler import compile_cuda
from numba.cuda.dispatcher import CUDADispatcher
from numba.cuda.extending import overload
from numba.cuda.np import numpy_support

from ..layout.device import HEADER
from .atomics import add, keep_greatest, keep_least
from .decorators import CUDA_CALLS, DEVICE_FUNCTIONS, widen
from .views import runs_short, runs_short_by_type


class _DeviceDispatcher(CUDADispatcher):  # type: ignore[misc]
    """A device function compiled once for int64 arguments, whatever literal, bool or enumerator a caller passes."""

    def get_call_template(self, args: Any, kws: Any) -> Any:
        return super().get_call_template(tuple(widen(a, types) for a in args), kws)

    def compile_device(self, args: Any, return_type: Any = None) -> Any:
        how = CUDA_CALLS.get(self.py_func)
        if args in self.overloads or how is None:
            return super().compile_device(args, return_type)
        # C's calling convention returns values in registers; Numba's own, in memory, needs a stack.
        capability = cuda_dispatcher.get_current_device().compute_capability
        result = compile_cuda(
            self.py_func, return_type, args, nvvm_options={"opt": 3, "fastmath": None}, cc=capability, abi="c"
        )
        if how == "call":
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


def adopt_device_functions() -> None:
    """Give numba-cuda our dispatcher for every device function that is imported, where it looks for its own."""
    for function in DEVICE_FUNCTIONS:
        options = {**function.targetoptions, "device": True, "debug": False, "opt": True}
        function._CUDATypingContext__dispatcher = _DeviceDispatcher(function.py_func, options)


def _modules_once(library: Any) -> list[Any]:
    """What NVVM is given for a function: its module and that of each function below it, callers first."""
    finished: dict[Any, None] = {}

    def visit(library: Any) -> None:
        for below in sorted(library._linking_libraries, key=lambda called: called.name):
            if below not in finished:
                visit(below)
        finished[library] = None

    visit(library)
    return [library._module for library in reversed(finished)]


# numba-cuda's own gives a function again for every path of calls to it: 92,000 for the 330 functions of run_devices,
# which doubles the time. NVVM drops a function that no module before it calls.
CUDACodeLibrary.modules = property(_modules_once)

overload(runs_short)(runs_short_by_type)
# Lambdas, for Numba compiles functions of Python only.
overload(add)(lambda array, at, value: lambda array, at, value: cuda.atomic.add(array, at, value))  # noqa: PLW0108
overload(keep_least)(lambda array, at, value: lambda array, at, value: cuda.atomic.min(array, at, value))  # noqa: PLW0108
overload(keep_greatest)(lambda array, at, value: lambda array, at, value: cuda.atomic.max(array, at, value))  # noqa: PLW0108
