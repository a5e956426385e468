"""Interrupts: Ctrl-C reaches all processes of a terminal; workers, which preload this, leave it to the driver."""

from __future__ import annotations

import signal


def dask_setup(worker: object) -> None:  # noqa: ARG001 (Dask's signature)
    """Ignore interrupts in a worker: the driver ends it in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
