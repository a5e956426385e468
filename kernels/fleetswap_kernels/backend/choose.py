"""How a backend is chosen: by name, or where a GPU can be used."""

from __future__ import annotations

from .contract import Backend, BackendMissingError
from .cpu.state import CpuBackend

BACKENDS = ("auto", "cpu", "cuda")
"""What can be asked for; auto is cuda where a GPU can be used, else cpu."""
ONE_THREAD: Backend = CpuBackend()
"""What runs devices where nobody chose."""


def choose(name: str, threads: int = 1) -> tuple[Backend, str]:
    """The backend of a name.

    Parameters
    ----------
    name : str
        One of `BACKENDS`.
    threads : int
        Threads of the host, where it runs the devices.

    Returns
    -------
    Backend
    str
        Why it is this one; empty if it was asked for.

    Raises
    ------
    BackendMissingError
        If it was asked for by name and cannot be used.
    """
    if name == "cpu":
        return CpuBackend(threads), ""
    from .cuda.gpu import open_gpu

    try:
        gpu = open_gpu()
    except BackendMissingError as missing:
        if name == "cuda":
            raise
        return CpuBackend(threads), f"auto: no cuda, {missing}"
    return gpu, "" if name == "cuda" else "auto: a GPU can be used"
