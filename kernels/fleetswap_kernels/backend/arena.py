"""Memory of many devices in one block, which a backend holds and runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layout import errors
from ..layout.content_model import MODEL, no_model
from ..layout.device import HEADER, HEADER_BYTES, SHORT_HEADER, DeviceView, Sizes, arrays, offsets
from ..layout.size_classes import SizeClasses
from .contract import Backend, Fold, Kind, NewFleet, Progress
from .tally import Folding, Tally

Program = npt.NDArray[np.uint32]
"""Operations, shape (n, 8); see `operations`."""


class DeviceError(RuntimeError):
    """A device reported an impossible state.

    Parameters
    ----------
    device : int
        Number of the device in its arena.
    code, detail : int
        Its error word.
    """

    def __init__(self, device: int, code: int, detail: int) -> None:
        super().__init__(device, code, detail)
        self.device = device
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        message = errors.MESSAGES.get(self.code, "unknown error")
        return f"device {self.device}: {message} (code {self.code}, {self.detail})"


@dataclass(frozen=True)
class Blueprint:
    """What one device is made of: sizes, policy fields of the header, content tables.

    Parameters
    ----------
    sizes : Sizes
    policy : mapping of str to int
        Header fields, by name.
    content_bytes : uint32 array of shape (sizes.contents,)
        Stored size of every content; 0 same-filled, 4096 incompressible.
    content_map : uint32 array of shape (sizes.content_map,)
        Content of each (pattern, page) that a program names.
    size_classes : SizeClasses, optional
        Those of the pool, if the device has one.
    header_content : int
        Content of the swap header page; 0 if zram is not to count it.
    model : uint8 array, optional
        Content model (`content_model.build_model`), the same for all devices of an arena; without one, all contents
        are those of the tables.
    habits : uint32 array, optional
        What a phone does (`phone`).
    """

    sizes: Sizes
    policy: Mapping[str, int]
    content_bytes: npt.NDArray[np.uint32]
    content_map: npt.NDArray[np.uint32]
    size_classes: SizeClasses | None = None
    header_content: int = 0
    model: npt.NDArray[np.uint8] | None = None
    habits: npt.NDArray[np.uint32] | None = None


def device_bytes(sizes: Sizes) -> int:
    """Memory of one device, bytes."""
    return offsets(sizes)[1]


def _layout(blueprint: Blueprint) -> tuple[tuple[int, npt.NDArray[np.uint8]], ...]:
    """What is not zero in a new device: where it stands and the bytes."""
    header = np.zeros(1, dtype=HEADER)
    placed, _ = offsets(blueprint.sizes)
    for fields in (blueprint.sizes.fields(), placed, blueprint.policy):
        for name, value in fields.items():
            header[name] = value
    tables: dict[str, npt.NDArray[Any]] = {
        "o_content_bytes": blueprint.content_bytes,
        "o_content_map": blueprint.content_map,
    }
    if blueprint.size_classes is not None:
        classes = blueprint.size_classes
        tables |= {"o_zclass": classes.words, "o_zraw": classes.class_of_bytes}
        tables |= {"o_zstep": classes.class_of_step, "o_zshare": classes.shares}
    if blueprint.habits is not None:
        tables["o_habits"] = blueprint.habits
    lengths = arrays(blueprint.sizes)
    parts = [(0, header.view(np.uint8))]
    for name, table in tables.items():
        width, length = lengths[name]
        # A device has the tables of an exact pool or of a packed one.
        if length:
            parts.append((placed[name] * width, np.ascontiguousarray(table).view(np.uint8)))
    return tuple(parts)


class Arena:
    """Devices of any sizes in one block of memory, allocated once.

    Parameters
    ----------
    blueprints : sequence of (Blueprint, int)
        Kinds of devices and how many of each, in this order.
    backend : Backend
        What holds and runs them; results do not depend on it.
    first_id : int
        Number of the first device in the whole fleet, for its random numbers.
    ids : sequence of int, optional
        Number of each device, where they do not follow each other.

    Raises
    ------
    DeviceMemoryError
        If the backend has no room for so many.
    """

    def __init__(
        self,
        blueprints: Sequence[tuple[Blueprint, int]],
        backend: Backend,
        first_id: int = 0,
        ids: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.blueprints = [b for b, n in blueprints for _ in range(n)]
        units = [device_bytes(b.sizes) // HEADER_BYTES for b in self.blueprints]
        self.base: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(units)]).astype(np.int64)
        short = {b.sizes.pressure for b, _ in blueprints}
        if len(short) > 1:
            raise ValueError("the memory of all devices of an arena can run short, or that of none")
        models = [b.model for b, _ in blueprints if b.model is not None]
        if any(model is not models[0] for model in models):
            raise ValueError("all devices of an arena need the same content model")
        self._header = SHORT_HEADER if True in short else HEADER
        self._model = models[0] if models else no_model()
        numbers = np.arange(first_id, first_id + len(self)) if ids is None else ids
        # One device of each kind is laid out, the others are copies of what it has.
        kinds = tuple(Kind(_layout(b), device_bytes(b.sizes), n) for b, n in blueprints)
        self._state = backend.allocate(
            NewFleet(kinds, self.base, self._header, np.ascontiguousarray(numbers, dtype=np.int64), self._model)
        )

    def __len__(self) -> int:
        return len(self.base) - 1

    @property
    def memory(self) -> npt.NDArray[np.uint8]:
        """All devices, in bytes: their own memory where the host has it, else a copy. What is assigned is copied."""
        return self._state.read(0, int(self.base[-1]) * HEADER_BYTES)

    @memory.setter
    def memory(self, devices: npt.NDArray[np.uint8]) -> None:
        self._state.write(devices)

    @property
    def records(self) -> Any:
        """The same as headers; device `d` starts at ``base[d]``."""
        return self.memory.view(self._header)

    @property
    def models(self) -> Any:
        """The content model as a record."""
        return self._model.view(MODEL)

    def view(self, d: int) -> Any:
        """Record view of one device; `w`, `by` and `q` are arrays over all of its memory."""
        return DeviceView(self._state.read(int(self.base[d]) * HEADER_BYTES, int(self.base[d + 1]) * HEADER_BYTES))

    def header(self, d: int) -> Any:
        """Header record of one device."""
        first = int(self.base[d]) * HEADER_BYTES
        return self._state.read(first, first + HEADER_BYTES).view(self._header)[0]

    def init(self) -> None:
        """Bring all devices to the state after swapon."""
        header = {b.header_content for b in self.blueprints}
        if len(header) != 1:
            raise ValueError("all devices of an arena need the same header content")
        self._state.init(header.pop())
        self.check()

    def run(self, program: Program, first: int, end: int, progress: Progress = lambda devices: None) -> None:
        """Run the operations `first` to `end` - 1 of a program on all devices.

        Parameters
        ----------
        program : Program
        first, end : int
            First operation, and the one behind the last.
        progress : Progress, optional
            Told of devices that are done.
        """
        self._state.run(program, first, end, progress)
        self.check()

    def fold(self, folding: Folding) -> Fold:
        """What makes metrics of the devices' counters, where they are."""
        return self._state.fold(folding)

    def run_steps(
        self, fold: Fold, program: Program, marks: Sequence[int], progress: Progress = lambda devices: None
    ) -> list[Tally]:
        """Run the steps between marks of a program on all devices, and fold what they did in each (`contract.Fold`).

        Parameters
        ----------
        fold : Fold
            That of this arena's devices.
        program : Program
        marks : sequence of int
            Positions in the program: where each step begins, and where the last one ends.
        progress : Progress, optional
            Told of devices that are done.
        """
        tallies = fold.run_steps(program, marks, progress)
        self.check()
        return tallies

    def check(self) -> None:
        """Raise the first error any device reported.

        Raises
        ------
        DeviceError
        """
        failed = self._state.first_failed()
        if failed is not None:
            record = self.header(failed)
            raise DeviceError(failed, int(record["error"]), int(record["error_detail"]))

    def counters(self) -> npt.NDArray[np.uint64]:
        """Counters of all devices, shape (devices, counters.N_COUNTERS)."""
        return self._state.counters()

    def release(self) -> None:
        """Give the memory back; the arena cannot be used any more."""
        self._state.release()
