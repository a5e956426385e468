"""The backend that a user asked for: opened once, told of in one line and in the manifest."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetswap_kernels.backend.choose import BACKENDS, choose
from fleetswap_kernels.backend.contract import Backend, BackendMissingError
from fleetswap_kernels.backend.cores import usable_cores

from ..errors import InputError

DRIVER_FILES = ("/dev/nvidia0", "/dev/nvidiactl", "/usr/lib/wsl/lib/libcuda.so.1")
PCI = Path("/sys/bus/pci/devices")
NVIDIA, DISPLAY = "0x10de", "0x03"
"""A vendor in the register of the PCI, and the class of display controllers."""


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

    def line(self, asked: bool = True) -> str:
        """For people.

        Parameters
        ----------
        asked : bool
            Whether they named a backend, be it auto. Who did not, and has no GPU, need not read why none is used.
        """
        reason = f" ({self.why})" if self.why and (asked or self.backend.name != "cpu" or gpu_is_there()) else ""
        return f"backend {self.backend.name}: {self.backend.describe()}{reason}"

    def facts(self) -> dict[str, Any]:
        """For the manifest of a run, at its end: where it ran, and what it took there."""
        device = {**self.backend.facts(), "why": self.why or "asked for"}
        return {"backend": self.backend.name, "threads": self.backend.threads, "device": device}


def gpu_is_there() -> bool:
    """Whether this machine shows an NVIDIA GPU, usable or not."""
    if any(Path(name).exists() for name in DRIVER_FILES):
        return True
    with contextlib.suppress(OSError):
        pci_ids = [((device / "vendor").read_text(), (device / "class").read_text()) for device in PCI.iterdir()]
        return any(vendor.strip() == NVIDIA and kind.startswith(DISPLAY) for vendor, kind in pci_ids)
    return False


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
    if threads is not None and threads < 1:
        raise InputError(f"threads: {threads} is not possible; allowed are 1 and more")
    try:
        return Chosen(*choose(name, threads or usable_cores()))
    except BackendMissingError as error:
        raise InputError(f"backend {name}: {error}; allowed here are auto, cpu") from None
