"""The backend cpu: devices in the host's memory, which threads share."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ...device.figures.figures import FoldMode
from ...device.figures.fold import FoldWork
from ...layout.counters import N_COUNTERS
from ...layout.content_model import MODEL
from ...layout.device import HEADER_BYTES, Q_COUNTER
from ..contract import Batch, DeviceMemoryError, Fold, NewFleet, Progress
from ..tally import ROW_WORDS, Folding, Ints, Tally, flat

SHARD_BYTES = 512 << 20
"""Memory of the devices of a shard."""


@dataclass(frozen=True)
class CpuBackend:
    """Threads of the host (`contract.Backend`).

    Parameters
    ----------
    threads : int
    """

    threads: int = 1
    name: str = "cpu"

    def allocate(self, fleet: NewFleet) -> CpuState:
        """Memory of some devices, laid out (`contract.Backend.allocate`)."""
        try:
            return CpuState(fleet, self.threads)
        except MemoryError:
            raise DeviceMemoryError(f"no memory for {int(fleet.base[-1]) * HEADER_BYTES:,} bytes of devices") from None

    def devices_at_once(self, device_bytes: int) -> int:
        """As many as take `SHARD_BYTES`, but at least one."""
        return max(1, SHARD_BYTES // device_bytes)

    def run_batch(self, batch: Batch) -> Any:
        """Do all units of a batch, about as many on every thread (`launch.Backend.run_batch`)."""
        from .units import run_units

        fields = batch.laid_out(self.threads)
        # Kernels are compiled for writable arrays.
        arrays = {k: np.require(v, None, ("C", "W")) if isinstance(v, np.ndarray) else v for k, v in fields.items()}
        work = batch.work._replace(**arrays)
        bounds = batch.units * np.arange(self.threads + 1) // self.threads
        if batch.cuts is not None:
            bounds = batch.cuts[np.searchsorted(batch.cuts, bounds)]
        pieces = [(*ends, part, work) for part, ends in enumerate(pairwise(bounds.tolist())) if ends[0] < ends[1]]
        if len(pieces) < 2:
            for piece in pieces:
                run_units(*piece)
        else:
            with ThreadPoolExecutor(len(pieces)) as pool:
                list(pool.map(lambda piece: run_units(*piece), pieces))
        return batch.found(arrays)

    def facts(self) -> dict[str, Any]:
        """What a manifest tells about it."""
        return {"name": platform.processor() or platform.machine(), "threads": self.threads, "shard_bytes": SHARD_BYTES}

    def describe(self) -> str:
        """The same for people."""
        return f"{self.threads} thread(s), shards of {SHARD_BYTES >> 20} MiB"


class CpuState:
    """Devices in the host's memory (`contract.State`).

    Parameters
    ----------
    fleet : NewFleet
    threads : int
    """

    def __init__(self, fleet: NewFleet, threads: int) -> None:
        self._base = fleet.base
        self._ids = fleet.ids
        self._threads = threads
        self._memory: npt.NDArray[np.uint8] = np.zeros(int(fleet.base[-1]) * HEADER_BYTES, dtype=np.uint8)
        self._records: Any = self._memory.view(fleet.header)
        self._models: Any = fleet.model.view(MODEL)
        start = 0
        for kind in fleet.kinds:
            for _ in range(kind.devices):
                for at, part in kind.parts:
                    self._memory[start + at : start + at + len(part)] = part
                start += kind.device_bytes

    def init(self, header_content: int) -> None:
        """Bring all devices to the state after swapon."""
        from .entries import init_devices

        base, ids = self._base, self._ids
        self._share(lambda a, b: init_devices(self._records, base, self._models, ids, a, b, header_content))

    def run(self, program: npt.NDArray[np.uint32], first: int, end: int, progress: Progress) -> None:
        """Run the operations `first` to `end` - 1 of a program on all devices.

        Parameters
        ----------
        program : uint32 array of shape (operations, operations.OP_WORDS)
        first, end : int
            First operation, and the one behind the last.
        progress : Progress
            Told of devices that are done.
        """
        self.run_parts(program, (first, end), np.zeros((0, len(self._ids), N_COUNTERS), np.int64), progress)

    def run_parts(
        self, program: npt.NDArray[np.uint32], marks: Sequence[int], counted: Ints, progress: Progress
    ) -> None:
        """Run the parts of a program between marks, and keep what is counted after each (`entries.run_devices`).

        Parameters
        ----------
        program : uint32 array of shape (operations, operations.OP_WORDS)
        marks : sequence of int
            Positions in the program: where each part begins, and where the last one ends.
        counted : int64 array of shape (parts or fewer, devices, counters.N_COUNTERS)
            Filled with the counters after each part.
        progress : Progress
            Told of devices that are done.
        """
        from .entries import run_devices

        positions = np.array(marks, np.int64)

        def run(a: int, b: int) -> None:
            run_devices(self._records, self._base, self._models, a, b, program, positions, counted)

        self._share(run, lambda devices: progress(devices * (len(marks) - 1)))

    def _share(self, work: Callable[[int, int], None], progress: Progress = lambda devices: None) -> None:
        n = len(self._ids)
        if self._threads == 1 or n == 1:
            chunk = max(1, n // 16)
            for first in range(0, n, chunk):
                work(first, min(n, first + chunk))
                progress(min(n, first + chunk) - first)
            return
        # Small pieces: devices of different sizes then still keep all threads busy to the end.
        chunk = max(1, n // (self._threads * 16))
        pieces = [(first, min(n, first + chunk)) for first in range(0, n, chunk)]
        with ThreadPoolExecutor(self._threads) as pool:
            for (first, end), _ in zip(pieces, pool.map(lambda piece: work(*piece), pieces), strict=True):
                progress(end - first)

    def first_failed(self) -> int | None:
        """Number of the first device whose error word is set, or None."""
        codes = self._records["error"][self._base[:-1]]
        return int(np.flatnonzero(codes)[0]) if codes.any() else None

    def counters(self) -> npt.NDArray[np.uint64]:
        """Counters of all devices."""
        quads = self._memory.view(np.uint64)
        first = self._base[:-1] * (HEADER_BYTES // 8) + Q_COUNTER
        values: npt.NDArray[np.uint64] = quads[first[:, None] + np.arange(N_COUNTERS)]
        return values

    def fold(self, folding: Folding) -> CpuFold:
        """What makes metrics of the counters."""
        return CpuFold(self, folding)

    def read(self, first: int, end: int) -> npt.NDArray[np.uint8]:
        """The memory itself."""
        return self._memory[first:end]

    def write(self, devices: npt.NDArray[np.uint8]) -> None:
        """Copy all devices."""
        self._memory[:] = devices

    def release(self) -> None:
        """Forget the memory: views that others hold stay valid."""
        self._memory = np.zeros(0, dtype=np.uint8)
        self._records = self._models = None


class CpuFold(Fold):
    """Folds counters in the host's memory (`contract.Fold`).

    Parameters
    ----------
    state : CpuState
    folding : Folding
    """

    def __init__(self, state: CpuState, folding: Folding) -> None:
        n = len(folding.groups)
        super().__init__(n)
        self._state = state
        self._folding = folding
        rows: dict[str, Any] = {name: np.zeros(n * words, np.int64) for name, words in ROW_WORDS.items()}
        self._work = FoldWork(base=np.arange(n), stride=N_COUNTERS, **flat(folding), **rows)

    def run_steps(self, program: npt.NDArray[np.uint32], marks: Sequence[int], progress: Progress) -> list[Tally]:
        """Run steps and tally what the devices did in each."""
        counted = np.empty((len(marks) - 1, self._devices, N_COUNTERS), np.int64)
        self._state.run_parts(program, marks, counted, progress)
        return [self._fold(each, self._next_mode()) for each in counted]

    def _tally(self, mode: FoldMode, steps: int = 0) -> Tally:
        """Tally the counters as they are now."""
        return self._fold(self._state.counters().view(np.int64), mode, steps)

    def _read(self, name: str) -> Ints:
        """The memory itself."""
        array: Ints = getattr(self._work, name)
        return array

    def _write(self, name: str, values: Ints) -> None:
        """Copy them."""
        self._read(name)[:] = values

    def _fold(self, counted: Ints, mode: FoldMode, steps: int = 0) -> Tally:
        """Measure all devices, by one thread: it takes a thousandth of the time of a step."""
        from .units import run_units

        tally = self._folding.empty()
        told = self._work._replace(quads=counted.reshape(-1), mode=int(mode), steps=steps)
        run_units(0, self._devices, 0, told._replace(**flat(tally)))
        return tally
