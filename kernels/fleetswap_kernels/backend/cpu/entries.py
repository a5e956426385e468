"""CPU entry points: loops over devices that a thread runs on its share of a fleet."""

from __future__ import annotations

from typing import Any

from ...compile.decorators import entry
from ...compile.views import device_at, model_at
from ...device.access import counter_value
from ...device.engine.interpreter import run_program
from ...device.engine.setup import setup_device
from ...layout.counters import N_COUNTERS


@entry
def init_devices(arena: Any, base: Any, models: Any, ids: Any, first: int, end: int, header_content: int) -> None:
    """Set up the devices `first` to `end` - 1 of an arena.

    Parameters
    ----------
    arena, base, models : arrays
        Records of all devices, where each starts (and the last one ends), the one content model.
    ids : int64 array of shape (devices,)
        Number of each device in the whole fleet.
    first, end : int
        First device, and the one behind the last.
    header_content : int
        Content of the swap header page (`setup_device`).
    """
    for d in range(first, end):
        setup_device(device_at(arena, base, d), model_at(models), header_content, ids[d])


@entry
def run_devices(
    arena: Any, base: Any, models: Any, first: int, end: int, program: Any, marks: Any, counted: Any
) -> None:
    """Run the parts of a program that lie between marks on the devices `first` to `end` - 1 of an arena.

    A device does all parts before the next one begins, while its memory is in the processor's caches.

    Parameters
    ----------
    arena, base, models : arrays
        Records of all devices, where each starts (and the last one ends), the one content model.
    first, end : int
        First device, and the one behind the last.
    program : uint32 array of shape (operations, operations.OP_WORDS)
    marks : int64 array of shape (parts + 1,)
        Positions in the program.
    counted : int64 array of shape (parts or fewer, devices, counters.N_COUNTERS)
        Filled with the counters of a device after each part.
    """
    for d in range(first, end):
        dev = device_at(arena, base, d)
        for part in range(len(marks) - 1):
            run_program(dev, model_at(models), program, marks[part], marks[part + 1])
            if part < len(counted):
                for i in range(N_COUNTERS):
                    counted[part, d, i] = counter_value(dev, i)
