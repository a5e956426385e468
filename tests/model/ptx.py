"""Reads the PTX that NVVM makes of the kernels: functions, basic blocks, instructions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_FUNCTION = re.compile(
    r"^\.(?:weak|visible)\s+\.(func|entry)\s+(?:\([^)]*\)\s*)?([\w$]+)\s*\(([^(){};]*)\)\s*\{(.*?)^\}",
    re.MULTILINE | re.DOTALL,
)
_CALL = re.compile(r"call\.uni\s*(?:\((\w+)\)\s*,)?\s*([\w$]+)\s*,\s*\((.*?)\)", re.DOTALL)
_DEPOT = re.compile(r"__local_depot\d+\[(\d+)\]")


@dataclass(frozen=True)
class Instruction:
    """One PTX instruction.

    Parameters
    ----------
    op : str
        With all its modifiers: ``add.s64``.
    args : tuple of str
        Operands as written; an address without its brackets. Of a call: the callee, then its parameters.
    guard : str
        Predicate it depends on, ``!`` before it if negated; empty for most.
    """

    op: str
    args: tuple[str, ...]
    guard: str = ""


@dataclass
class Block:
    """Instructions that run together; the last one alone branches, returns or calls.

    Parameters
    ----------
    body : list of Instruction
    after : tuple of int
        Blocks that can follow, in this function; none after a return.
    callee : str
        Function that runs between this block and the next one; empty for most.
    """

    body: list[Instruction] = field(default_factory=list)
    after: tuple[int, ...] = ()
    callee: str = ""


@dataclass(frozen=True)
class Function:
    """One function or kernel.

    Parameters
    ----------
    name : str
        Mangled.
    is_entry : bool
        Whether the host launches it.
    params : tuple of str
        Names of its parameters, in order.
    depot_bytes : int
        Local memory of its frame.
    blocks : list of Block
        In the order of the text; the first one is entered.
    """

    name: str
    is_entry: bool
    params: tuple[str, ...]
    depot_bytes: int
    blocks: list[Block]


def parse(text: str) -> dict[str, Function]:
    """All functions of a PTX module, by name."""
    text = re.sub(r"//[^\n]*", "", text)
    found = {}
    for kind, name, params, body in _FUNCTION.findall(text):
        names = tuple(p.split()[-1] for p in params.split(",") if p.strip())
        depot = _DEPOT.search(body)
        found[name] = Function(name, kind == "entry", names, int(depot[1]) if depot else 0, _blocks(body))
    return found


def _statements(body: str) -> list[str]:
    """Labels, with their colon, and instructions, without their semicolon."""
    kept = [line.strip() for line in body.splitlines()]
    # Scopes and line numbers say nothing about what runs.
    kept = [line.lstrip("{").strip() for line in kept if not line.startswith((".loc", ".pragma")) and line != "}"]
    parts: list[str] = []
    for piece in " ".join(kept).split(";"):
        words = piece.strip().lstrip("} ")
        while label := re.match(r"(\$\w+):\s*", words):
            parts.append(label[1] + ":")
            words = words[label.end() :]
        if words and not words.startswith((".", "}")):
            parts.append(words)
    return parts


def _instruction(text: str) -> Instruction:
    guard = ""
    if text.startswith("@"):
        guard, text = text[1:].split(None, 1)
    if text.startswith("call"):
        call = _CALL.match(text)
        if call is None:
            raise ValueError(f"PTX: cannot read {text!r}")
        return Instruction("call", (call[2], *(p.strip() for p in call[3].split(",") if p.strip())), guard)
    op, _, rest = text.partition(" ") if " " in text else text.partition("\t")
    args = tuple(a.strip().strip("[]") for a in re.split(r",(?![^{]*\})", rest) if a.strip())
    return Instruction(op.strip(), args, guard)


def _blocks(body: str) -> list[Block]:
    blocks = [Block()]
    starts: dict[str, int] = {}
    jumps: list[tuple[int, str, bool]] = []
    for text in _statements(body.replace("\t", " ")):
        if text.endswith(":"):
            if blocks[-1].body:
                blocks.append(Block())
            starts[text[:-1]] = len(blocks) - 1
            continue
        one = _instruction(text)
        blocks[-1].body.append(one)
        if one.op.startswith("bra"):
            jumps.append((len(blocks) - 1, one.args[0], bool(one.guard)))
        if one.op == "call":
            blocks[-1].callee = one.args[0]
        if one.op.startswith(("bra", "ret", "call")):
            blocks.append(Block())
    if not blocks[-1].body:
        blocks.pop()
    for i, block in enumerate(blocks):
        last = block.body[-1].op
        block.after = () if last == "ret" else (i + 1,)
    for i, label, falls_through in jumps:
        blocks[i].after = (starts[label], i + 1) if falls_through else (starts[label],)
    return blocks
