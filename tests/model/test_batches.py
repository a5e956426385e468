"""The PTX of the batch kernels, run here thread by thread, finds what the CPU finds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleetswap_kernels.backend.batch_units import BODIES
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.contract import Batch
from fleetswap_kernels.backend.cuda.entries import batch_kernel
from tests.batch.samples import found_by
from tests.compile.once import missing
from tests.compile.write_registers import compiled

from .machine import BASE, STACK_BYTES, Machine
from .memory_trace import MemoryTrace
from .ptx import parse


class PtxBackend:
    """Runs batches (`launch.Backend.run_batch`) on the machine, in one block whose threads come in any order.

    Parameters
    ----------
    folder : Path
        Of the kernels' PTX.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run_batch(self, batch: Batch) -> Any:
        text = (self._folder / f"{batch_kernel(type(batch.work))}.ptx").read_text()
        fields = batch.laid_out(copies=2)
        arrays = {name: array for name, array in fields.items() if isinstance(array, np.ndarray)}
        end = BASE + sum(array.nbytes + 256 for array in arrays.values())
        machine = Machine(parse(text), list(arrays.values()), MemoryTrace(BASE, end, STACK_BYTES))
        places = {name: i for i, name in enumerate(arrays)}
        work = [
            (places[name], value.shape, value.itemsize) if name in places else value for name, value in fields.items()
        ]
        words = machine.arguments(batch.units, 2, *work)
        # More threads than units: those of the last block that have none.
        threads = list(range(batch.units + 20))
        random.Random(batch.units).shuffle(threads)  # noqa: S311 (no secrets here)
        for thread in threads:
            machine.run(thread, words)
        for name in batch.results:
            start, array = machine.places[places[name]], arrays[name]
            array[...] = machine.memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        return batch.found(fields)


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_the_ptx_finds_what_the_cpu_finds(tmp_path: Path) -> None:
    compiled("9.0", [batch_kernel(work) for work in BODIES], "--keep", str(tmp_path))
    machine: Any = PtxBackend(tmp_path)
    for found, expected in zip(found_by(machine), found_by(ONE_THREAD), strict=True):
        assert np.array_equal(found, expected)
