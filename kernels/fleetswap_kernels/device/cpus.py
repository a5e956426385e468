"""CPUs of a device: where the words of one stand, its slot caches and the fault it has halted (spec 03 §3.1)."""

import numpy as np

from ..compile.decorators import device
from ..layout.device import CPU_WORDS


@device
def cpu_at(dev, cpu):
    """Word offset of the record of a CPU."""
    return np.int64(dev.o_cpu) + cpu * CPU_WORDS


@device
def this_cpu_at(dev):
    """Word offset of the record of the CPU that executes the operation."""
    return cpu_at(dev, np.int64(dev.cpu))
