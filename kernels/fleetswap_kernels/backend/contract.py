"""What runs devices: the interface that every backend has.

A backend allocates the memory of a fleet's devices, as bytes that follow `layout`, and runs the kernels on them. What
is above it does not know whether that memory is the host's or a GPU's: it names devices, program positions and steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..device.figures.figures import FoldMode
from .tally import Folding, Ints, Tally


class BackendMissingError(RuntimeError):
    """A backend cannot be used here; the message says what is missing."""


class DeviceMemoryError(MemoryError):
    """The memory of a backend cannot hold so many devices; fewer may fit."""


@dataclass(frozen=True)
class Kind:
    """Equal devices that stand one after the other.

    Parameters
    ----------
    parts : tuple of (int, uint8 array)
        What is not zero in a new one: where it stands, in bytes from the device's start, and the bytes.
    device_bytes : int
        Length of one.
    devices : int
        How many.
    """

    parts: tuple[tuple[int, npt.NDArray[np.uint8]], ...]
    device_bytes: int
    devices: int


@dataclass(frozen=True)
class NewFleet:
    """Devices to be allocated.

    Parameters
    ----------
    kinds : tuple of Kind
        In the order in memory.
    base : int64 array of shape (devices + 1,)
        Start of each device in units of `device.HEADER_BYTES`, and the end of the last one.
    header : dtype
        Type of a header: `device.HEADER`, or `device.SHORT_HEADER` where memory can run short.
    ids : int64 array of shape (devices,)
        Number of each device in the whole fleet, for its random numbers.
    model : uint8 array
        Content model.
    """

    kinds: tuple[Kind, ...]
    base: npt.NDArray[np.int64]
    header: np.dtype[np.void]
    ids: npt.NDArray[np.int64]
    model: npt.NDArray[np.uint8]


Progress = Callable[[int], None]
"""Called with a number of devices that are done."""


class State(Protocol):
    """Allocated devices of a backend."""

    def init(self, header_content: int) -> None:
        """Bring all devices to the state after swapon."""

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

    def first_failed(self) -> int | None:
        """Number of the first device whose error word is set, or None."""

    def counters(self) -> npt.NDArray[np.uint64]:
        """Counters of all devices, shape (devices, counters.N_COUNTERS); a copy."""

    def fold(self, folding: Folding) -> Fold:
        """What makes metrics of the counters, where they are."""

    def read(self, first: int, end: int) -> npt.NDArray[np.uint8]:
        """The bytes `first` to `end` - 1 of the memory: the devices themselves where the host has them, else a copy."""

    def write(self, devices: npt.NDArray[np.uint8]) -> None:
        """Make all devices what these bytes say, as `read` gave them."""

    def release(self) -> None:
        """Give the memory back; nothing else may be called then."""


class Fold(ABC):
    """Folds what the devices of a `State` do, step by step; only tallies return until the end of a run.

    Parameters
    ----------
    devices : int
    """

    def __init__(self, devices: int) -> None:
        self._devices = devices
        self._mode = FoldMode.FIRST

    @abstractmethod
    def run_steps(self, program: npt.NDArray[np.uint32], marks: Sequence[int], progress: Progress) -> list[Tally]:
        """Run the operations between one mark and the next, step by step (`State.run`).

        Returns
        -------
        list of Tally
            What the devices did in each step: since the one before, or since they were made.
        """

    @abstractmethod
    def _tally(self, mode: FoldMode, steps: int = 0) -> Tally:
        """Tally what the devices counted until now."""

    @abstractmethod
    def _read(self, name: str) -> Ints:
        """An array of the `FoldWork`: its memory where the host has it, else a copy."""

    @abstractmethod
    def _write(self, name: str, values: Ints) -> None:
        """Store an array of it."""

    def tally_run(self, steps: int) -> Tally:
        """Tally what the devices did in all, states that are metrics as their means over so many steps."""
        return self._tally(FoldMode.WHOLE, steps)

    def changes(self) -> Ints:
        """What was last tallied of each device, shape (devices, counters.N_COUNTERS), scaled to real devices."""
        return self._read("change").reshape(self._devices, -1)

    def parts(self) -> Ints:
        """Its price and figures, shape (devices, figures.PARTS)."""
        return self._read("parts").reshape(self._devices, -1)

    def state_sums(self) -> Ints:
        """Sums over the steps of the parts of metrics that are states, shape (devices, figures.PARTS)."""
        return self._read("sums").reshape(self._devices, -1)

    def resume(self, state_sums: Ints) -> None:
        """Go on where another fold had these sums: what is counted until now was tallied."""
        self._write("sums", state_sums.reshape(-1))
        self._tally(FoldMode.RESUME)
        self._mode = FoldMode.STEP

    def _next_mode(self) -> FoldMode:
        mode, self._mode = self._mode, FoldMode.STEP
        return mode


@dataclass(frozen=True)
class Batch:
    """Independent units of work on arrays of anybody.

    All is integer, so the results do not depend on who did which unit.

    Parameters
    ----------
    work : named tuple
        One of those of `device.batch`: inputs, and results as they are before the first unit.
    units : int
        Units are numbered from 0.
    results : mapping of str to ufunc or None
        Fields that units change. Where any two may change the same element, what makes one of two copies of it.
    cuts : int64 array, optional
        Ascending numbers of units, 0 and `units` among them: units with a cut between them never change the same
        element of a result without copies. It is needed if there is such a result.
    """

    work: Any
    units: int
    results: Mapping[str, np.ufunc | None]
    cuts: Ints | None = None

    def laid_out(self, copies: int) -> dict[str, Any]:
        """Fields of the work in the types that kernels take, shared results as so many copies."""
        fields: dict[str, Any] = self.work._asdict()
        for name, default in self.work._field_defaults.items():
            if isinstance(default, np.ndarray):
                fields[name] = fields[name].astype(default.dtype, copy=False)
            if self.results.get(name) is not None:
                fields[name] = np.stack([fields[name]] * copies)
        return fields

    def found(self, fields: Mapping[str, Any]) -> Any:
        """The work with its results, from fields that were laid out and worked on."""
        return self.work._replace(
            **{name: fields[name] if join is None else join.reduce(fields[name]) for name, join in self.results.items()}
        )


class Backend(Protocol):
    """Where devices live and what runs them."""

    @property
    def name(self) -> str:
        """One of `choose.BACKENDS`, but for auto."""

    @property
    def threads(self) -> int:
        """Threads of the host that share the devices; results do not depend on it."""

    def allocate(self, fleet: NewFleet) -> State:
        """Memory of some devices, laid out.

        Raises
        ------
        DeviceMemoryError
            If so many do not fit.
        """

    def devices_at_once(self, device_bytes: int) -> int:
        """How many devices of so many bytes should be in memory at once.

        Raises
        ------
        DeviceMemoryError
            If not even one fits.
        """

    def run_batch(self, batch: Batch) -> Any:
        """Do all units of a batch; its work with the results."""

    def facts(self) -> dict[str, Any]:
        """What a manifest tells about it: ready for JSON."""

    def describe(self) -> str:
        """The same for people, in one line."""
