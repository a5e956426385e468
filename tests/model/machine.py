"""Runs the PTX of a kernel without a GPU, one thread at a time, and tells an observer what it does to memory.

PTX is what NVVM hands to the assembler: inlined, optimised, its repeated loads merged. So what is counted here is what
a thread of a GPU asks for, not what the Python source says. Every basic block becomes a Python function over the list
of the registers of its frame. All values are kept as unsigned integers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .ptx import Block, Function
from .translator import Translator, divided, signed

STACK_BYTES = 4096
"""Local memory of a thread, at the low end of its addresses; what it uses is far less."""
BASE = 8192
"""Address of the first array; below it nothing but the stack is valid."""
FREE = ("ld.param", "st.param", "cvta")
"""What stays in registers, or is no instruction of a GPU at all."""


class Observer(Protocol):
    """What is told of memory and of the blocks that run; times are whatever `load` makes of them."""

    clock: int

    def load(self, address: int, ready: int) -> int:
        """A load whose address is known at time `ready`; when its value is there."""

    def store(self, address: int) -> None:
        """A store."""

    def block(self, number: int) -> None:
        """A block is over."""

    def enter(self, function: str, arguments: list[int]) -> None:
        """A function is called."""

    def leave(self) -> None:
        """The function called last returns."""


@dataclass(frozen=True)
class _Code:
    """A function, its blocks translated as they are first entered."""

    translator: Translator
    blocks: list[Callable[[list[Any]], int] | None]
    numbers: list[int]
    callees: list[str]
    registers: int
    depot_bytes: int


@dataclass(frozen=True)
class BlockInfo:
    """Where a block stands, by its number.

    Parameters
    ----------
    function : str
    index : int
        Its place in the function.
    callee : str
        What runs after it, before the next block.
    after : tuple of int
        Places of the blocks that can follow.
    instructions : int
        Those that a GPU issues: neither declarations nor parameters that stay in registers.
    depth : int
        Longest run of instructions that need each other's results, loads not counted.
    branches : bool
        Whether it ends with a conditional branch.
    """

    function: str
    index: int
    callee: str
    after: tuple[int, ...]
    instructions: int
    depth: int
    branches: bool


class Machine:
    """A kernel, the memory it runs on, and an observer.

    Parameters
    ----------
    functions : dict of str to Function
        `ptx.parse` of a module with one kernel.
    arrays : sequence of arrays
        What the kernel takes, copied; structured or plain, C-contiguous.
    observer : Observer
    """

    def __init__(self, functions: dict[str, Function], arrays: list[npt.NDArray[Any]], observer: Observer) -> None:
        self.functions = functions
        self.observer = observer
        self.entry = next(f for f in functions.values() if f.is_entry)
        self.places: list[int] = []
        at = BASE
        for array in arrays:
            self.places.append(at)
            at = -(-(at + array.nbytes) // 256) * 256
        memory = np.zeros(at, dtype=np.uint8)
        for place, array in zip(self.places, arrays, strict=True):
            memory[place : place + array.nbytes] = array.view(np.uint8).reshape(-1)
        self.memory = memory
        views = {n: memoryview(memory).cast("B").cast(c) for n, c in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))}
        self._names: dict[str, Any] = {f"m{n}": view for n, view in views.items()} | {
            "O": observer, "M64": (1 << 64) - 1, "M32": (1 << 32) - 1, "M16": (1 << 16) - 1, "signed": signed,
            "divided": divided,
        }  # fmt: skip
        self.blocks: list[BlockInfo] = []
        self._codes: dict[str, _Code] = {}
        self.thread = 0

    def arguments(self, *given: Any) -> list[int]:
        """Arguments of the kernel: integers, and arrays as (number in `arrays`, shape, bytes of an element)."""
        words: list[int] = []
        for one in given:
            if isinstance(one, int):
                words.append(one & (1 << 64) - 1)
                continue
            number, shape, width = one
            strides = [width * int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
            # meminfo, parent, items, bytes of an item, data, shape, strides: Numba's array structure.
            words += [0, 0, int(np.prod(shape)), width, self.places[number], *shape, *strides]
        return words

    def watch(self, observer: Observer) -> None:
        """From now on tell another observer."""
        self.observer = self._names["O"] = observer

    def run(self, thread: int, arguments: list[int]) -> None:
        """Run one thread of the kernel to its end."""
        self.thread = thread
        if len(arguments) != len(self.entry.params):
            raise ValueError(f"{len(arguments)} arguments, but the kernel takes {len(self.entry.params)}")
        self._call(self.entry.name, arguments, 0)

    def _call(self, name: str, arguments: list[int], stack: int) -> int:
        code = self._codes.get(name) or self._prepare(name)
        if stack + code.depot_bytes > STACK_BYTES:
            raise ValueError(f"{name}: more than {STACK_BYTES} bytes of local memory")
        frame: list[Any] = [0] * code.registers
        frame[0] = stack
        frame[1] = arguments
        frame[5] = self.thread
        self.observer.enter(name, arguments)
        blocks, numbers, callees = code.blocks, code.numbers, code.callees
        observer = self.observer
        at = 0
        while True:
            block = blocks[at] or self._translate(code, at)
            after = block(frame)
            observer.block(numbers[at])
            if after < 0:
                observer.leave()
                return int(frame[3])
            if callees[at]:
                frame[4] = self._call(callees[at], frame[2], stack + code.depot_bytes)
            at = after

    def _prepare(self, name: str) -> _Code:
        function = self.functions[name]
        numbers = []
        for i, block in enumerate(function.blocks):
            numbers.append(len(self.blocks))
            issued = sum(not one.op.startswith(FREE) for one in block.body)
            self.blocks.append(
                BlockInfo(name, i, block.callee, block.after, issued, _depth(block), len(block.after) > 1)
            )
        translator = Translator(function)
        callees = [block.callee for block in function.blocks]
        none: list[Callable[[list[Any]], int] | None] = [None] * len(callees)
        self._codes[name] = _Code(translator, none, numbers, callees, translator.registers, function.depot_bytes)
        return self._codes[name]

    def _translate(self, code: _Code, index: int) -> Callable[[list[Any]], int]:
        exec(code.translator.block(index), self._names)  # noqa: S102 (our own text)
        translated: Callable[[list[Any]], int] = self._names.pop("translated")
        code.blocks[index] = translated
        return translated


def _depth(block: Block) -> int:
    levels: dict[str, int] = {}
    deepest = 0
    for one in block.body:
        level = max((levels.get(a.partition("+")[0].lstrip("!"), 0) for a in (*one.args, one.guard)), default=0)
        level += not one.op.startswith((*FREE, "ld."))
        deepest = max(deepest, level)
        if one.op.startswith(("st.", "bra", "call", "ret")):
            continue
        levels[one.args[0]] = level
    return deepest
