"""The backend that a user asked for: opened once, told of in one line and in the manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fleetswap_kernels.choose import BACKENDS, choose
from fleetswap_kernels.cores import usable_cores
from fleetswap_kernels.launch import Backend, BackendMissingError

from .errors import InputError


@dataclass(frozen=True)
class Chosen:
    """A backend and why it is this one.

    Parameters
    ----------
    backend : Backend
    why : str
        Empty if it was asked for by name.
    """

    backend: Backend
    why: str

    def line(self) -> str:
        """For people."""
        reason = f" ({self.why})" if self.why else ""
        return f"backend {self.backend.name}: {self.backend.describe()}{reason}"

    def facts(self) -> dict[str, Any]:
        """For the manifest of a run, at its end: where it ran, and what it took there."""
        device = {**self.backend.facts(), "why": self.why or "asked for"}
        return {"backend": self.backend.name, "threads": self.backend.threads, "device": device}


def open_backend(name: str = "auto", threads: int | None = None) -> Chosen:
    """The backend of a name.

    Parameters
    ----------
    name : str
        One of `BACKENDS`.
    threads : int, optional
        Threads of the host, all usable cores by default; a GPU needs one.

    Raises
    ------
    InputError
        If there is none of that name, or it cannot be used here; the message says what is missing.
    """
    if name not in BACKENDS:
        raise InputError(f"backend: {name!r} is not possible; allowed are {', '.join(BACKENDS)}")
    try:
        return Chosen(*choose(name, threads or usable_cores()))
    except BackendMissingError as error:
        raise InputError(f"backend {name}: {error}; allowed here are auto, cpu") from None
