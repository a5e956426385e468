"""Compiles CUDA kernels the way their first launch does, but for a GPU that is not there; a program of the tests.

    cache_kernels.py MAJOR.MINOR KERNEL...

Prints a JSON object: how many kernels were compiled, how many came from the cache folder, the bytes of each one's
machine code, and how many modules of those compiled came to the compiler more than once.
"""

from __future__ import annotations

import contextlib
import json
import sys
from types import SimpleNamespace


def main(text: str, *kernels: str) -> None:
    """Compile or load."""
    from numba.cuda import dispatcher
    from numba.cuda.cudadrv import devices

    capability = tuple(int(part) for part in text.split("."))
    context = SimpleNamespace(device=SimpleNamespace(id=0, compute_capability=capability))
    devices._runtime = SimpleNamespace(ensure_context=contextlib.nullcontext, get_or_create_context=lambda *_: context)
    dispatcher.get_current_device = lambda: context.device
    # Up to the machine code, which the driver would load now.
    dispatcher._Kernel.bind = lambda self: self._codelibrary.get_cubin(cc=capability)
    from fleetswap_kernels.backend.cuda.entries import Kernel
    from fleetswap_kernels.backend.cuda.target import compiled_kernel

    told = {"compiled": 0, "loaded": 0, "bytes": {}, "repeated": 0}
    for name in kernels:
        kernel = Kernel(name)
        library = compiled_kernel(kernel._dispatcher, kernel.signature)._codelibrary
        code = library.get_cubin(cc=capability)
        told["bytes"][name] = len(code.code)
        told["repeated"] += len(library.modules) - len(set(map(id, library.modules)))
        told["compiled"] += sum(kernel._dispatcher._cache_misses.values())
        told["loaded"] += sum(kernel._dispatcher._cache_hits.values())
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
