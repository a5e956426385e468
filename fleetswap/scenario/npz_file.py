"""Arrays of an .npz file; a broken file is bad input, with an error in this project's words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt


def read_npz(path: Path, what: str, expected: str) -> dict[str, npt.NDArray[Any]]:
    """All arrays of a file by their names; nothing in it is executed.

    Parameters
    ----------
    path : Path
    what, expected : str
        What the file should be, and should hold.

    Raises
    ------
    InputError
        If the file cannot be read, is damaged or of another kind, or holds something else than arrays.
    """
    import numpy as np

    try:
        # Opened here: NumPy leaves a broken file open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        if error.strerror:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
        raise InputError(f"{path}: is no {what}: damaged; expected {expected}") from None
    except Exception:  # noqa: BLE001 (of a dozen classes, by where a file is broken)
        raise InputError(f"{path}: is no {what}: damaged, or of another kind; expected {expected}") from None
    foreign = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if foreign:
        raise InputError(f"{path}: is no {what}: {foreign[0]!r} is no array; expected {expected}")
    return arrays
