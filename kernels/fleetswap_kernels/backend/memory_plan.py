"""How the memory of a GPU is shared out: what is kept back, and how many devices the rest holds at once."""

from __future__ import annotations

from dataclasses import dataclass

from ..layout.counters import N_COUNTERS
from .contract import DeviceMemoryError

STACK_BYTES = 2048
"""Local memory of a thread: more than the stack of any kernel, spills included. ptxas reports 240 bytes at most."""
CODE_BYTES = 256 << 20
"""Machine code of the kernels, and what libraries allocate of their own."""
MARGIN = 32
"""One part in so many stays free: pieces of fleets differ in their shares of classes, pools round up."""
RESULT_BYTES = 8 * N_COUNTERS
"""Counters of a device, gathered."""
PLACE_BYTES = 16
"""Start and number of a device."""
HOST_COPIES = 10
"""Copies of a piece's counters that the host holds while they are written."""


@dataclass(frozen=True)
class GpuMemory:
    """Memory of a GPU at some moment, in bytes.

    Parameters
    ----------
    free_bytes, total_bytes : int
    resident_threads : int
        Threads that all multiprocessors hold at once; the driver sets a stack aside for each.
    host_bytes : int
        Memory of the host, half of which results may take.
    """

    free_bytes: int
    total_bytes: int
    resident_threads: int
    host_bytes: int

    @property
    def kept_bytes(self) -> int:
        """What devices cannot have."""
        return STACK_BYTES * self.resident_threads + CODE_BYTES + self.free_bytes // MARGIN

    @property
    def room_bytes(self) -> int:
        """What devices and their results can have."""
        return max(0, self.free_bytes - self.kept_bytes)

    def devices_at_once(self, device_bytes: int) -> int:
        """How many devices of so many bytes fit.

        Raises
        ------
        DeviceMemoryError
            If not even one does.
        """
        each = device_bytes + RESULT_BYTES + PLACE_BYTES
        fitting = min(self.room_bytes // each, self.host_bytes // 2 // (HOST_COPIES * RESULT_BYTES))
        if fitting == 0:
            raise DeviceMemoryError(
                f"a device takes {each:,} bytes, but of {self.free_bytes:,} free bytes {self.kept_bytes:,} are kept "
                "for stacks, code and a margin"
            )
        return fitting
