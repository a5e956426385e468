"""Files of page tables for `fleetswap census`: which arrays they have, read and checked (docs/census.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.batch.page_tables import PageTables
from fleetswap_kernels.batch.swap_areas import SwapAreas
from fleetswap_kernels.batch.words import words_of_slots
from fleetswap_kernels.device.batch.pagemap import PM_SLOT_SHIFT, PM_SWAP_SHIFT, SLOT_MASK

from ..errors import InputError
from ..scenario.npz_file import read_npz

ARRAYS = ("pte", "slot", "offsets", "start", "process", "swap_map", "zeromap")
"""Arrays that a file may have."""
_CHUNK = 1 << 20  # words at a time: temporaries stay small


def read_census_file(path: Path) -> tuple[PageTables, SwapAreas]:
    """Read page tables, and the state of their slots if the file has it.

    Parameters
    ----------
    path : Path
        An .npz file with `pte` or `slot`; the other arrays are optional.

    Raises
    ------
    InputError
        If it cannot be read, lacks an array or has one that cannot be; the message names file, array, value and what
        is allowed.
    """
    arrays = read_npz(path, ".npz file", f"arrays of numbers, of {', '.join(ARRAYS)}")
    unknown = [name for name in arrays if name not in ARRAYS]
    if unknown:
        raise InputError(f"{path}: array {unknown[0]!r} is unknown; allowed are {', '.join(ARRAYS)}")
    try:
        return _page_tables(arrays), _swap_areas(arrays)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _page_tables(arrays: dict[str, npt.NDArray[Any]]) -> PageTables:
    """The page tables of a file's arrays."""
    if ("pte" in arrays) == ("slot" in arrays):
        raise ValueError("expected exactly one of the arrays pte and slot")
    if "pte" in arrays:
        pte = arrays["pte"]
        if pte.ndim != 1 or pte.dtype != np.uint64:
            raise ValueError(f"pte has shape {pte.shape} and type {pte.dtype}; expected (pages,) and uint64")
        _check_recorded(pte)
    else:
        pte = words_of_slots(_integers(arrays, "slot", "pages"))
    offsets = _integers(arrays, "offsets", "regions + 1") if "offsets" in arrays else np.array([0, len(pte)])
    regions = max(len(offsets) - 1, 0)
    start = _integers(arrays, "start", "regions") if "start" in arrays else np.zeros(regions, np.int64)
    process = _integers(arrays, "process", "regions") if "process" in arrays else np.arange(regions)
    if len(process) != regions:
        raise ValueError(f"process has shape {process.shape}; expected ({regions},), one number for each region")
    first = np.flatnonzero(np.concatenate([[True], process[1:] != process[:-1]]))[:regions]
    numbers, counts = np.unique(process[first], return_counts=True)
    if (counts > 1).any():
        again = numbers[counts > 1][0]
        raise ValueError(
            f"process[{first[process[first] == again][1]}] is {again} once more; regions of a process stand together"
        )
    process_offset = np.concatenate([first, [regions]]).astype(np.int64)
    try:
        return PageTables(pte, offsets, start, process_offset, np.zeros(len(first), np.int64))
    except ValueError as error:
        # The file's arrays have shorter names.
        raise ValueError(str(error).replace("region_offset", "offsets").replace("region_start", "start")) from None


def _swap_areas(arrays: dict[str, npt.NDArray[Any]]) -> SwapAreas:
    """The swap device of a file's arrays."""
    if "swap_map" not in arrays:
        if "zeromap" in arrays:
            raise ValueError("zeromap without swap_map, whose length is the number of slots")
        return SwapAreas.unknown()
    for name in ("swap_map", "zeromap"):
        if name in arrays and (arrays[name].ndim != 1 or arrays[name].dtype != np.uint8):
            kind = f"shape {arrays[name].shape} and type {arrays[name].dtype}"
            raise ValueError(f"{name} has {kind}; expected one dimension and uint8")
    return SwapAreas.of([arrays["swap_map"]], [arrays["zeromap"]] if "zeromap" in arrays else None)


def _integers(arrays: dict[str, npt.NDArray[Any]], name: str, length: str) -> npt.NDArray[np.int64]:
    """An array of integers of any type, as int64."""
    array = arrays[name]
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{name} has shape {array.shape} and type {array.dtype}; expected ({length},) and integers")
    if len(array) and int(array.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name}[{int(array.argmax())}] is {array.max()}; allowed are values below 2^63")
    return array.astype(np.int64)


def _check_recorded(pte: npt.NDArray[np.uint64]) -> None:
    """Refuse words without slots, which is what the kernel shows a reader without CAP_SYS_ADMIN."""
    seen = False
    for first in range(0, len(pte), _CHUNK):
        part = pte[first : first + _CHUNK]
        swapped = part[part >> np.uint64(PM_SWAP_SHIFT) == 1]
        if (swapped >> np.uint64(PM_SLOT_SHIFT) & np.uint64(SLOT_MASK)).any():
            return
        seen = seen or len(swapped) > 0
    if seen:
        raise ValueError("pte: every swapped page is in slot 0: record pagemap with CAP_SYS_ADMIN, as root")
