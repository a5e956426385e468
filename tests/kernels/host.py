"""Device functions that tests call from Python; the kernels themselves can only link them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

from fleetswap_kernels.compile.cpu_linker import WholeProgramCompiler


def host(function: Any) -> Callable[..., Any]:
    """A version of a device function that Python can call."""
    if numba.config.DISABLE_JIT:
        return function
    return numba.njit(pipeline_class=WholeProgramCompiler, error_model="numpy", nogil=True)(function.py_func)
