"""The CUDA C++ source of the batch kernels: one translation unit, for NVRTC, and for a C++ compiler in the tests."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from types import ModuleType

from ..device.figures import log_bin
from ..layout.device import ZSHARE_STEPS, ZSHARES
from ..layout.pages import PAGE_BYTES
from ..layout.size_classes import HANDLE_BYTES
from . import words
from .cpu import accounting
from .cpu import census
from .cpu import pagemap
from .cpu import uniformity
from .cpu import values

KERNELS = ("census", "uniformity", "accounting", "histogram", "sums")
"""Kernels of the source, under the names they have on the CPU."""
PARTS = ("pagemap.cuh", "census.cuh", "uniformity.cuh", "accounting.cuh", "values.cuh")
TYPES = """\
typedef long long int64;
typedef unsigned long long uint64;
typedef int int32;
typedef unsigned int uint32;
typedef unsigned char uint8;
"""


def constants() -> dict[str, int]:
    """Every number of the CPU twins by name: what the source names of them is written in Python only."""
    found = {"ZSHARES": ZSHARES, "ZSHARE_STEPS": ZSHARE_STEPS, "HANDLE_BYTES": HANDLE_BYTES, "PAGE_BYTES": PAGE_BYTES}
    modules: tuple[ModuleType, ...] = (words, log_bin, pagemap, census, uniformity, accounting, values)
    for module in modules:
        for name, value in vars(module).items():
            if name.isupper() and isinstance(value, int) and found.setdefault(name, value) != value:
                raise AssertionError(f"two values of {name}")
    return found


@cache
def cuda_source() -> str:
    """The whole source: types, constants, then the files of ``cuda/``."""
    folder = resources.files(__package__) / "cuda"
    text = "\n".join((folder / part).read_text(encoding="utf-8") for part in PARTS)
    used = set(re.findall(r"\w+", text))
    numbers = (f"constexpr int64 {name} = {value}LL;\n" for name, value in sorted(constants().items()) if name in used)
    return f"{TYPES}{''.join(numbers)}\n{text}"
