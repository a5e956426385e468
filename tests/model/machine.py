"""Runs the PTX of a kernel without a GPU, one thread at a time, and tells an observer what it does to memory.

PTX is what NVVM hands to the assembler: inlined, optimised, its repeated loads merged. So what is counted here is what
a thread of a GPU asks for, not what the Python source says. Every basic block becomes a Python function over the list
of the registers of its frame. All values are kept as unsigned integers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .ptx import Block, Function, Instruction

STACK_BYTES = 4096
"""Local memory of a thread, at the low end of its addresses; what it uses is far less."""
BASE = 8192
"""Address of the first array; below it nothing but the stack is valid."""
_FIRST = 6
"""Where the registers of a frame begin."""
_FREE = ("ld.param", "st.param", "cvta")
"""What stays in registers, or is no instruction of a GPU at all."""
_WIDTH = {"8": 1, "16": 2, "32": 4, "64": 8}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_ARITHMETIC = {"add": "+", "sub": "-", "mul": "*"}
_BITWISE = {"and": "&", "or": "|", "xor": "^"}


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

    translator: _Translator
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
            "O": observer, "M64": (1 << 64) - 1, "M32": (1 << 32) - 1, "M16": (1 << 16) - 1, "signed": _signed,
            "divided": _divided,
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
            issued = sum(not one.op.startswith(_FREE) for one in block.body)
            self.blocks.append(
                BlockInfo(name, i, block.callee, block.after, issued, _depth(block), len(block.after) > 1)
            )
        translator = _Translator(function)
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
        level += not one.op.startswith((*_FREE, "ld."))
        deepest = max(deepest, level)
        if one.op.startswith(("st.", "bra", "call", "ret")):
            continue
        levels[one.args[0]] = level
    return deepest


def _signed(x: int, bits: int) -> int:
    return x - (1 << bits) if x >> (bits - 1) else x


def _divided(op: str, a: int, b: int, bits: int, signed: bool) -> int:
    """Quotient or remainder, cut towards zero; of a division by zero a GPU gives something, here it is an error."""
    if signed:
        a, b = _signed(a, bits), _signed(b, bits)
    q = abs(a) // abs(b)
    q = -q if (a < 0) != (b < 0) else q
    return (q if op == "div" else a - b * q) & (1 << bits) - 1


class _Translator:
    """Python text of a function's blocks.

    A frame is a list: 0 stack address, 1 arguments, 2 arguments of a call, 3 value to return, 4 value returned,
    5 number of the thread, then the registers.
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        names = {a.partition("+")[0] for b in function.blocks for one in b.body for a in one.args if a[0] == "%"}
        self._places = {name: _FIRST + i for i, name in enumerate(sorted(names))}
        late = sorted(_loaded_and_used_elsewhere(function))
        self._ready_at = {name: _FIRST + len(names) + i for i, name in enumerate(late)}
        self.registers = _FIRST + len(names) + len(late)

    def _r(self, name: str) -> str:
        return f"R[{self._places[name]}]"

    def block(self, index: int) -> str:
        """Text of one block: returns the place of the next one, -1 at the end of the function."""
        self._lines: list[str] = []
        self._waits: dict[str, set[str]] = {}
        self._used: set[str] = set()
        self._pushed: set[str] = set()
        self._pushes: dict[str, str] = {}
        self._loads = 0
        block = self.function.blocks[index]
        self._emit("c = O.clock")
        ended = False
        for one in block.body:
            ended = self._instruction(one, block, index)
        if not ended:
            self._settle(self._used)
            self._emit("O.clock = c")
            self._emit(f"return {block.after[0]}")
        return "def translated(R):\n" + "".join(f"    {line}\n" for line in self._lines)

    def _emit(self, line: str) -> None:
        self._lines.append(line)

    def _value(self, text: str, bits: int = 64) -> str:
        """An operand as Python text."""
        if text.startswith("%"):
            if text in ("%SP", "%SPL"):
                return "R[0]"
            if text == "%tid.x":
                return "R[5]"
            if text == "%ntid.x":
                return "1"
            if text == "%ctaid.x":
                return "0"
            return self._r(text)
        if text.startswith("__local_depot"):
            return "R[0]"
        return str(int(text, 0) & (1 << bits) - 1)

    def _needs(self, *operands: str) -> set[str]:
        """Names of the times at which these operands are there."""
        found: set[str] = set()
        for one in operands:
            if not one.startswith("%"):
                continue
            if one in self._waits:
                found |= self._waits[one]
            elif one in self._ready_at:
                found.add(f"R[{self._ready_at[one]}]")
        return found

    def _settle(self, times: set[str]) -> None:
        """The thread goes on when all of these times have come."""
        for time in sorted(times):
            self._emit(f"if {time} > c: c = {time}")

    def _define(self, register: str, needs: set[str]) -> None:
        self._waits[register] = needs
        self._used |= needs
        if register in self._ready_at:
            self._emit(f"R[{self._ready_at[register]}] = 0")

    def _instruction(self, one: Instruction, block: Block, index: int) -> bool:
        """Emit one instruction; whether it ended the block."""
        op, *kinds = one.op.split(".")
        kind = kinds[-1] if kinds else ""
        args = one.args
        if op in ("bra", "ret", "call"):
            times = self._used | self._needs(one.guard.lstrip("!"))
            if op == "call":
                times |= self._pushed
            self._settle(times)
            self._emit("O.clock = c")
            if op == "ret":
                self._emit("return -1")
            elif op == "call":
                # An argument whose value cannot matter is not passed.
                passed = ", ".join(self._pushes.get(p, "0") for p in args[1:])
                self._emit(f"R[2] = [{passed}]")
                self._emit(f"return {index + 1}")
            elif one.guard:
                negated = "not " if one.guard.startswith("!") else ""
                there, beside = block.after
                self._emit(f"return {there} if {negated}{self._value(one.guard.lstrip('!'))} else {beside}")
            else:
                self._emit(f"return {block.after[0]}")
            return True
        if op == "ld":
            self._load(kinds, args)
        elif op == "st":
            self._store(kinds, args)
        else:
            sources = args[1:]
            self._emit(f"{self._r(args[0])} = {_expression(op, kinds, kind, [self._value(a) for a in sources])}")
            self._define(args[0], self._needs(*sources))
        return False

    def _address(self, text: str) -> tuple[str, str]:
        register, _, offset = text.partition("+")
        return register, self._value(register) + (f" + {int(offset)}" if offset and int(offset) else "")

    def _load(self, kinds: list[str], args: tuple[str, ...]) -> None:
        target = args[0]
        if kinds[0] == "param":
            name = args[1].partition("+")[0]
            source = f"R[1][{self.function.params.index(name)}]" if name in self.function.params else "R[4]"
            width = 8 * _WIDTH[kinds[-1][1:]]
            self._emit(f"{self._r(target)} = {source} & {(1 << width) - 1}")
            self._define(target, set())
            return
        width = _WIDTH[kinds[-1][1:]]
        register, address = self._address(args[1])
        needs = self._needs(register)
        ready = f"max(c, {', '.join(sorted(needs))})" if needs else "c"
        time = f"t{self._loads}"
        self._loads += 1
        self._emit(f"a = {address}")
        self._emit(f"{time} = O.load(a, {ready})")
        if width > 1:
            self._emit(f"assert a & {width - 1} == 0")
        self._emit(f"{self._r(target)} = m{width}[a >> {width.bit_length() - 1}]")
        self._waits[target] = {time}
        # The address had to be known for this load to leave.
        self._used |= needs
        if target in self._ready_at:
            self._emit(f"R[{self._ready_at[target]}] = {time}")

    def _store(self, kinds: list[str], args: tuple[str, ...]) -> None:
        if kinds[0] == "param":
            self._pushed |= self._needs(args[1])
            name = args[0].partition("+")[0]
            if name.startswith("func_retval"):
                self._emit(f"R[3] = {self._value(args[1])}")
                return
            self._pushes[name] = self._value(args[1])
            return
        width = _WIDTH[kinds[-1][1:]]
        register, address = self._address(args[0])
        # In order: nothing after a store leaves before it, and it takes its address and its value.
        self._settle(self._needs(register, args[1]))
        self._emit(f"a = {address}")
        self._emit("O.store(a)")
        if width > 1:
            self._emit(f"assert a & {width - 1} == 0")
        self._emit(f"m{width}[a >> {width.bit_length() - 1}] = {self._value(args[1])} & {(1 << 8 * width) - 1}")


def _loaded_and_used_elsewhere(function: Function) -> set[str]:
    """Registers that a block loads and does not use: who uses them may still have to wait."""
    late: set[str] = set()
    for block in function.blocks:
        pending: set[str] = set()
        for one in block.body:
            names = {a.partition("+")[0].lstrip("!") for a in (*one.args, one.guard)}
            if one.op.startswith("ld.") and not one.op.startswith("ld.param"):
                pending -= {a.partition("+")[0] for a in one.args[1:]}
                pending.add(one.args[0])
            elif one.op.startswith(("st.", "bra", "call", "ret")):
                pending -= names
            else:
                pending -= {a for a in names if a != one.args[0]}
        late |= pending
    return late


def _expression(op: str, kinds: list[str], kind: str, a: list[str]) -> str:
    """Python text of an instruction that works on registers."""
    bits = int(re.sub(r"\D", "", kind) or 1)
    mask = (1 << bits) - 1
    sign = 1 << (bits - 1)
    is_signed = kind.startswith("s")
    if kind == "pred":
        a = ["True" if x == str(0xFFFFFFFFFFFFFFFF) else "False" if x == "0" else x for x in a]
        return {
            "mov": "{0}", "not": "not {0}", "and": "({0} and {1})", "or": "({0} or {1})", "xor": "({0} != {1})",
        }[op].format(*a)  # fmt: skip
    if op in ("mov", "cvta"):
        return f"{a[0]} & {mask}"
    if op == "cvt":
        source_bits = int(kind[1:])
        target_bits = int(kinds[-2][1:])
        if is_signed and target_bits > source_bits:
            return f"signed({a[0]} & {mask}, {bits}) & {(1 << target_bits) - 1}"
        return f"{a[0]} & {(1 << min(source_bits, target_bits)) - 1}"
    if op == "setp":
        x, y = (f"({v} & {mask})" for v in a)
        if is_signed and kinds[0] not in ("eq", "ne"):
            x, y = f"({x} ^ {sign})", f"({y} ^ {sign})"
        return f"{x} {_COMPARE[kinds[0]]} {y}"
    if op == "selp":
        return f"({a[0]} if {a[2]} else {a[1]}) & {mask}"
    if op in _BITWISE:
        return f"({a[0]} {_BITWISE[op]} {a[1]}) & {mask}"
    if op == "not":
        return f"~{a[0]} & {mask}"
    if op == "neg":
        return f"-{a[0]} & {mask}"
    if op == "abs":
        return f"abs(signed({a[0]}, {bits})) & {mask}"
    if op == "shl":
        return f"({a[0]} << min({a[1]} & M32, 64)) & {mask}"
    if op == "shr":
        if is_signed:
            return f"(signed({a[0]} & {mask}, {bits}) >> min({a[1]} & M32, 64)) & {mask}"
        return f"({a[0]} & {mask}) >> min({a[1]} & M32, 64)"
    if op in ("min", "max"):
        if is_signed:
            return f"{op}({a[0]} ^ {sign}, {a[1]} ^ {sign}) ^ {sign}"
        return f"{op}({a[0]}, {a[1]})"
    if op == "mul" and kinds[0] == "hi":
        if is_signed:
            return f"(signed({a[0]}, {bits}) * signed({a[1]}, {bits}) >> {bits}) & {mask}"
        return f"{a[0]} * {a[1]} >> {bits}"
    if op == "mul" and kinds[0] == "wide":
        if is_signed:
            return f"signed({a[0]} & {mask}, {bits}) * signed({a[1]} & {mask}, {bits}) & {(1 << 2 * bits) - 1}"
        return f"({a[0]} & {mask}) * ({a[1]} & {mask})"
    if op in _ARITHMETIC:
        return f"({a[0]} {_ARITHMETIC[op]} {a[1]}) & {mask}"
    if op == "mad":
        return f"({a[0]} * {a[1]} + {a[2]}) & {mask}"
    if op in ("div", "rem"):
        return f"divided({op!r}, {a[0]}, {a[1]}, {bits}, {is_signed})"
    if op == "bfi":
        # Inserts the low bits of the first operand into the second one.
        at, length = int(a[2]), int(a[3])
        field = (1 << length) - 1
        return f"({a[1]} & {mask & ~(field << at)} | ({a[0]} & {field}) << {at}) & {mask}"
    raise ValueError(f"PTX: unknown instruction {op}.{'.'.join(kinds)}")
