"""Memory of many devices in one block, and the threads that run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import counters, errors
from .content_model import MODEL, no_model
from .layout import HEADER, HEADER_BYTES, Q_COUNTER, SHORT_HEADER, Sizes, arrays, exact_view, offsets
from .size_classes import SizeClasses

Program = npt.NDArray[np.uint32]
"""Operations, shape (n, 8); see `ops`."""


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
        super().__init__(f"device {device}: {errors.MESSAGES.get(code, 'unknown error')} (code {code}, {detail})")
        self.device = device
        self.code = code


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
        What a phone does (`habits`).
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


def _layout(blueprint: Blueprint) -> list[tuple[int, npt.NDArray[np.uint8]]]:
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
    return parts


class Arena:
    """Devices of any sizes in one block of memory, allocated once.

    Parameters
    ----------
    blueprints : sequence of (Blueprint, int)
        Kinds of devices and how many of each, in this order.
    first_id : int
        Number of the first device in the whole fleet, for its random numbers.
    ids : sequence of int, optional
        Number of each device, where they do not follow each other.
    threads : int
        Threads that share the devices; results do not depend on it.
    """

    def __init__(
        self,
        blueprints: Sequence[tuple[Blueprint, int]],
        first_id: int = 0,
        threads: int = 1,
        ids: npt.NDArray[np.int64] | None = None,
    ) -> None:
        lengths = [offsets(b.sizes)[1] // HEADER_BYTES for b, n in blueprints for _ in range(n)]
        self.base: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.memory: npt.NDArray[np.uint8] = np.zeros(int(self.base[-1]) * HEADER_BYTES, dtype=np.uint8)
        short = {b.sizes.pressure for b, _ in blueprints}
        if len(short) > 1:
            raise ValueError("the memory of all devices of an arena can run short, or that of none")
        self.records: Any = self.memory.view(SHORT_HEADER if True in short else HEADER)
        models = [b.model for b, _ in blueprints if b.model is not None]
        if any(model is not models[0] for model in models):
            raise ValueError("all devices of an arena need the same content model")
        self.model = models[0] if models else no_model()
        self.models: Any = self.model.view(MODEL)
        self.blueprints = [b for b, n in blueprints for _ in range(n)]
        self.threads = threads
        numbers = np.arange(first_id, first_id + len(self)) if ids is None else ids
        # One device of each kind is laid out, the others are copies of what it has.
        laid_out: dict[int, list[tuple[int, npt.NDArray[np.uint8]]]] = {}
        for d, blueprint in enumerate(self.blueprints):
            if id(blueprint) not in laid_out:
                laid_out[id(blueprint)] = _layout(blueprint)
            start = int(self.base[d]) * HEADER_BYTES
            for at, part in laid_out[id(blueprint)]:
                self.memory[start + at : start + at + len(part)] = part
        self.records["device_id"][self.base[:-1]] = numbers

    def __len__(self) -> int:
        return len(self.base) - 1

    def view(self, d: int) -> Any:
        """Record view of one device; `w`, `by` and `q` are arrays over all of its memory."""
        return exact_view(self.memory[int(self.base[d]) * HEADER_BYTES : int(self.base[d + 1]) * HEADER_BYTES])

    def init(self) -> None:
        """Bring all devices to the state after swapon."""
        from .launch_cpu import init_devices

        header = {b.header_content for b in self.blueprints}
        if len(header) != 1:
            raise ValueError("all devices of an arena need the same header content")
        content = header.pop()
        self._share(lambda first, end: init_devices(self.records, self.base, self.models, first, end, content))
        self.check()

    def run(
        self, program: Program, first: int, end: int, progress: Callable[[int], None] = lambda devices: None
    ) -> None:
        """Run the operations `first` to `end` - 1 of a program on all devices."""
        from .launch_cpu import run_devices

        self._share(lambda a, b: run_devices(self.records, self.base, self.models, a, b, program, first, end), progress)
        self.check()

    def _share(self, work: Callable[[int, int], None], progress: Callable[[int], None] = lambda devices: None) -> None:
        n = len(self)
        if self.threads == 1 or n == 1:
            chunk = max(1, n // 16)
            for first in range(0, n, chunk):
                work(first, min(n, first + chunk))
                progress(min(n, first + chunk) - first)
            return
        # Small pieces: devices of different sizes then still keep all threads busy to the end.
        chunk = max(1, n // (self.threads * 16))
        pieces = [(first, min(n, first + chunk)) for first in range(0, n, chunk)]
        with ThreadPoolExecutor(self.threads) as pool:
            for (first, end), _ in zip(pieces, pool.map(lambda piece: work(*piece), pieces), strict=True):
                progress(end - first)

    def check(self) -> None:
        """Raise the first error any device reported.

        Raises
        ------
        DeviceError
        """
        codes = self.records["error"][self.base[:-1]]
        if codes.any():
            d = int(np.flatnonzero(codes)[0])
            record = self.records[int(self.base[d])]
            raise DeviceError(d, int(record["error"]), int(record["error_detail"]))

    def counters(self) -> npt.NDArray[np.uint64]:
        """Counters of all devices, shape (devices, counters.N_COUNTERS)."""
        quads = self.memory.view(np.uint64)
        first = self.base[:-1] * (HEADER_BYTES // 8) + Q_COUNTER
        values: npt.NDArray[np.uint64] = quads[first[:, None] + np.arange(counters.N_COUNTERS)]
        return values
