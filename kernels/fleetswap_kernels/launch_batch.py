"""The CPU entry point of batches: a loop over units of work, apart from `launch_cpu`, which loads all device logic."""

from .device.batch.units import do_unit
from .jit import entry


@entry
def run_units(first, end, part, work):
    """Do the units `first` to `end` - 1 of a batch (`launch.Batch`)."""
    for unit in range(first, end):
        do_unit(unit, part, work)
