"""CPU entry points: loops over devices that a thread runs on its share of a fleet."""

from .interpreter import run_program
from .jit import device_at, entry
from .setup import setup_device


@entry
def init_devices(arena, base, first, end, header_content):
    """Set up the devices `first` to `end` - 1 of an arena."""
    for d in range(first, end):
        setup_device(device_at(arena, base, d), header_content)


@entry
def run_devices(arena, base, first, end, program, op_first, op_end):
    """Run a part of a program on the devices `first` to `end` - 1 of an arena."""
    for d in range(first, end):
        run_program(device_at(arena, base, d), program, op_first, op_end)
