"""Content libraries: files of measured page contents by class (data/content/README.md)."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .npz_file import read_npz

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fleetswap_kernels.layout.content_model import ContentClasses

MEASURED = "measured.npz"
"""The library that comes with the package."""
MAX_CLASSES = 31
_SHAPES: dict[str, tuple[int, ...]] = {
    "sizes": (256, 3, 31),
    "same": (256, 16),
    "edges": (3, 7),
    "gain_q15": (3, 10, 8, 17),
    "region_q16": (),
    "run_q16": (),
}


def measured_path() -> Path:
    """The path of the built-in library."""
    return Path(str(resources.files("fleetswap") / "data" / "content" / MEASURED))


@cache
def class_names() -> tuple[str, ...]:
    """Classes of the built-in library."""
    names: tuple[str, ...] = tuple(json.loads((measured_path().parent / "classes.json").read_text())["class_order"])
    return names


@cache
def load_library(path: Path | None = None) -> ContentClasses:
    """Read a content library.

    Parameters
    ----------
    path : Path, optional
        A file as `fleetswap calibrate` writes it; the built-in library by default.

    Raises
    ------
    InputError
        If it cannot be read or is no content library.
    """
    from fleetswap_kernels.layout.codecs import CODECS
    from fleetswap_kernels.layout.content_model import ContentClasses

    path = path or measured_path()
    arrays = read_npz(path, "content library", "an .npz file as `fleetswap calibrate` writes it")
    for name in ("classes", "algos", *_SHAPES):
        kinds, expected = ("U", "a list of names") if name in ("classes", "algos") else ("iu", "integers")
        if name not in arrays:
            raise InputError(f"{path}: is no content library: array {name} is missing")
        if arrays[name].dtype.kind not in kinds or arrays[name].ndim == 0:
            raise InputError(f"{path}: {name} has type {arrays[name].dtype}; expected {expected}")
    names = tuple(str(name) for name in arrays["classes"])
    if tuple(str(name) for name in arrays["algos"]) != CODECS:
        raise InputError(f"{path}: algos is {arrays['algos'].tolist()}; expected {list(CODECS)}")
    bad = [name for name in names if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name) or names.count(name) > 1]
    if bad:
        raise InputError(f"{path}: classes: {bad[0]!r} cannot be; allowed are letters, digits, _ and -, each name once")
    if not 1 <= len(names) <= MAX_CLASSES:
        raise InputError(f"{path}: has {len(names)} classes; allowed are 1 to {MAX_CLASSES}")
    for name, shape in _SHAPES.items():
        if arrays[name].shape != (len(names), *shape):
            raise InputError(f"{path}: {name} has shape {arrays[name].shape}; expected {(len(names), *shape)}")
    return ContentClasses(names, *(arrays[name] for name in _SHAPES))


def library_model(path: Path | None = None) -> npt.NDArray[np.uint8]:
    """A content library as kernels read it; the built-in one by default."""
    return load_library(path).model
