"""Turns the basic blocks of PTX functions into Python text; all values are unsigned integers.

Beside what an instruction computes, the text says when: a load leaves at the latest time of what its address needs, a
store and the end of a block wait for what they need.
"""

from __future__ import annotations

import re

from .ptx import Block, Function, Instruction

_FIRST = 6
"""Where the registers of a frame begin."""
_WIDTH = {"8": 1, "16": 2, "32": 4, "64": 8}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_ARITHMETIC = {"add": "+", "sub": "-", "mul": "*"}
_BITWISE = {"and": "&", "or": "|", "xor": "^"}


def signed(x: int, bits: int) -> int:
    """An unsigned integer as the signed one of the same bits."""
    return x - (1 << bits) if x >> (bits - 1) else x


def divided(op: str, a: int, b: int, bits: int, is_signed: bool) -> int:
    """Quotient or remainder, cut towards zero; of a division by zero a GPU gives something, here it is an error."""
    if is_signed:
        a, b = signed(a, bits), signed(b, bits)
    q = abs(a) // abs(b)
    q = -q if (a < 0) != (b < 0) else q
    return (q if op == "div" else a - b * q) & (1 << bits) - 1


class Translator:
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
        elif op == "atom":
            # What was there, and in its place what the operation makes of it: no other thread comes between here.
            self._load(kinds, args)
            before, new = self._r(args[0]), self._value(args[2])
            made = _expression(kinds[1], kinds[1:], kinds[-1], [before, new])
            self._store(kinds, (args[1], args[2]), made)
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
        value = f"m{width}[a >> {width.bit_length() - 1}]"
        # Into a wider register, perhaps.
        value = f"signed({value}, {8 * width}) & M64" if kinds[-1][0] == "s" else value
        self._emit(f"{self._r(target)} = {value}")
        self._waits[target] = {time}
        # The address had to be known for this load to leave.
        self._used |= needs
        if target in self._ready_at:
            self._emit(f"R[{self._ready_at[target]}] = {time}")

    def _store(self, kinds: list[str], args: tuple[str, ...], value: str = "") -> None:
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
        value = value or self._value(args[1])
        self._emit(f"m{width}[a >> {width.bit_length() - 1}] = ({value}) & {(1 << 8 * width) - 1}")


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
    issigned = kind.startswith("s")
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
        if issigned and target_bits > source_bits:
            return f"signed({a[0]} & {mask}, {bits}) & {(1 << target_bits) - 1}"
        return f"{a[0]} & {(1 << min(source_bits, target_bits)) - 1}"
    if op == "setp":
        x, y = (f"({v} & {mask})" for v in a)
        if issigned and kinds[0] not in ("eq", "ne"):
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
        if issigned:
            return f"(signed({a[0]} & {mask}, {bits}) >> min({a[1]} & M32, 64)) & {mask}"
        return f"({a[0]} & {mask}) >> min({a[1]} & M32, 64)"
    if op in ("min", "max"):
        if issigned:
            return f"{op}({a[0]} ^ {sign}, {a[1]} ^ {sign}) ^ {sign}"
        return f"{op}({a[0]}, {a[1]})"
    if op == "mul" and kinds[0] == "hi":
        if issigned:
            return f"(signed({a[0]}, {bits}) * signed({a[1]}, {bits}) >> {bits}) & {mask}"
        return f"{a[0]} * {a[1]} >> {bits}"
    if op == "mul" and kinds[0] == "wide":
        if issigned:
            return f"signed({a[0]} & {mask}, {bits}) * signed({a[1]} & {mask}, {bits}) & {(1 << 2 * bits) - 1}"
        return f"({a[0]} & {mask}) * ({a[1]} & {mask})"
    if op in _ARITHMETIC:
        return f"({a[0]} {_ARITHMETIC[op]} {a[1]}) & {mask}"
    if op == "mad":
        return f"({a[0]} * {a[1]} + {a[2]}) & {mask}"
    if op in ("div", "rem"):
        return f"divided({op!r}, {a[0]}, {a[1]}, {bits}, {issigned})"
    if op == "bfi":
        # Inserts the low bits of the first operand into the second one.
        at, length = int(a[2]), int(a[3])
        field = (1 << length) - 1
        return f"({a[1]} & {mask & ~(field << at)} | ({a[0]} & {field}) << {at}) & {mask}"
    raise ValueError(f"PTX: unknown instruction {op}.{'.'.join(kinds)}")
