"""How much time 32 threads that take different ways cost a warp, from what each of them ran.

A warp runs one way at a time. Threads that part at a branch meet again where all ways from it lead, at the branch's
immediate post-dominator, as the convergence barriers of the assembler make them; until then the ways run one after
the other.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .machine import BlockInfo, Machine
from .memory_trace import MemoryTrace, cycles_of

ALU_CYCLES = 4
"""Time until the next instruction can use a result (CUDA C++ Programming Guide, multiprocessor level)."""
EXIT = -1
"""End of a function; also that of a way which ends before its function does."""


@dataclass
class Way:
    """What a thread ran.

    Parameters
    ----------
    blocks : list of int
        Numbers of the blocks, in order.
    cycles : list of int
        Nominal time of each.
    """

    blocks: list[int] = field(default_factory=list)
    cycles: list[int] = field(default_factory=list)

    def part(self, start: int, end: int) -> Way:
        """What ran from one place on the way to another."""
        if end == len(self.blocks):
            return Way(self.blocks[start:], self.cycles[start:])
        return Way([*self.blocks[start:end], EXIT], [*self.cycles[start:end], 0])


@dataclass
class Call:
    """A call of a function: its arguments, and which part of the way it is."""

    function: str
    arguments: list[int]
    start: int
    end: int = 0


class WayTrace(MemoryTrace):
    """A memory trace that keeps the way of its thread, every call on it, and where operations begin.

    An operation is some words in memory. A thread begins it when it loads the first of them.
    """

    def __init__(self, first: int, end: int, stack_end: int) -> None:
        super().__init__(first, end, stack_end)
        self.infos: list[BlockInfo] = []
        """Those of the machine."""
        self.way = Way()
        self.calls: list[Call] = []
        self.memory: npt.NDArray[np.uint32] = np.zeros(0, dtype=np.uint32)
        """That of the machine."""
        self.places: Container[int] = ()
        """Addresses of the first words of operations."""
        self.length = 0
        """Words of an operation."""
        self.begun: list[tuple[int, list[int]]] = []
        """Where on the way each operation begins, and its words."""
        self._open: list[Call] = []
        self._last = 0

    def load(self, address: int, ready: int) -> int:
        """A load; when its value is there."""
        if address in self.places:
            first = address // self.memory.itemsize
            self.begun.append((len(self.way.blocks), self.memory[first : first + self.length].tolist()))
        return super().load(address, ready)

    def block(self, number: int) -> None:
        """A block is over."""
        super().block(number)
        self.way.blocks.append(number)
        self.way.cycles.append(cycles_of(self.clock - self._last) + ALU_CYCLES * self.infos[number].depth)
        self._last = self.clock

    def enter(self, function: str, arguments: list[int]) -> None:
        """A function is called."""
        self.calls.append(Call(function, arguments, len(self.way.blocks)))
        self._open.append(self.calls[-1])

    def leave(self) -> None:
        """The function called last returns."""
        self._open.pop().end = len(self.way.blocks)


@dataclass
class Cost:
    """What a warp took, and what its threads ran.

    Parameters
    ----------
    issued : int
        Instructions the warp issued.
    of_threads : int
        The sum of what its threads ran.
    cycles : int
        Time of the warp, its ways one after the other.
    of_thread_cycles : int
        The sum of its threads' times.
    threads : int
    """

    issued: int = 0
    of_threads: int = 0
    cycles: int = 0
    of_thread_cycles: int = 0
    threads: int = 0

    def add(self, other: Cost) -> None:
        """Add the cost of another warp, or of other work of this one."""
        self.issued += other.issued
        self.of_threads += other.of_threads
        self.cycles += other.cycles
        self.of_thread_cycles += other.of_thread_cycles
        self.threads = max(self.threads, other.threads)

    @property
    def issue_factor(self) -> float:
        """Instructions issued over those of a warp whose threads all go one way."""
        return self.issued * self.threads / self.of_threads

    @property
    def time_factor(self) -> float:
        """Time over that of a mean thread."""
        return self.cycles * self.threads / self.of_thread_cycles


class Warp:
    """Runs the ways of some threads together.

    Parameters
    ----------
    machine : Machine
        That ran them.
    """

    def __init__(self, machine: Machine) -> None:
        self.infos = machine.blocks
        self._numbers = {(info.function, info.index): n for n, info in enumerate(machine.blocks)}
        self._meets: dict[str, list[int]] = {}
        self._lengths = {name: len(f.blocks) for name, f in machine.functions.items()}
        self._apart: frozenset[str] = frozenset()

    def cost(self, ways: Sequence[Way], apart: frozenset[str] = frozenset()) -> Cost:
        """Cost of a warp of these threads; each way is one whole call of the same function, or a `part` of it.

        Calls of the functions in `apart` are not in the ways, and cost nothing here.
        """
        if len({way.blocks[0] for way in ways}) > 1:
            raise ValueError("the threads of a warp begin in different places")
        self._ways = ways
        self._apart = apart
        self._at = [0] * len(ways)
        self._cost = Cost(threads=len(ways))
        self._run(list(range(len(ways))), EXIT)
        return self._cost

    def cost_aligned(self, traces: Sequence[WayTrace], names: Sequence[str]) -> Cost:
        """Cost if threads waited for each other at calls of some functions: all run their n-th call together.

        What lies between, threads run as they come to it.

        Parameters
        ----------
        names : sequence of str
            Names of the functions as the source has them.
        """
        apart = frozenset(f for f in self._lengths if any(is_named(f, name) for name in names))
        whole = Cost(threads=len(traces))
        calls: dict[str, list[list[Way]]] = {function: [] for function in apart}
        between = []
        for trace in traces:
            kept, at = Way(), 0
            own: dict[str, list[Way]] = {function: [] for function in apart}
            for call in trace.calls:
                # A call inside another one of them belongs to that.
                if call.function in apart and call.start >= at:
                    _extend(kept, trace.way, at, call.start)
                    piece = Way()
                    _extend(piece, trace.way, call.start, call.end)
                    own[call.function].append(piece)
                    at = call.end
            _extend(kept, trace.way, at, len(trace.way.blocks))
            between.append(kept)
            for function in apart:
                calls[function].append(own[function])
        whole.add(self.cost(between, apart))
        for of_threads in calls.values():
            for n in range(max(map(len, of_threads))):
                # The threads without an n-th call wait.
                whole.add(self.cost([own[n] for own in of_threads if n < len(own)]))
        return whole

    def _run(self, threads: list[int], stop: int) -> None:
        """Run threads that are at the same block until block number `stop`, or to the end of their function."""
        ways, at, cost, infos = self._ways, self._at, self._cost, self.infos
        while True:
            first = threads[0]
            number = ways[first].blocks[at[first]]
            if number == EXIT:
                return
            info = infos[number]
            times = [ways[t].cycles[at[t]] for t in threads]
            cost.issued += info.instructions
            cost.of_threads += info.instructions * len(threads)
            cost.cycles += max(times)
            cost.of_thread_cycles += sum(times)
            for t in threads:
                at[t] += 1
            if info.callee and info.callee not in self._apart:
                self._run(threads, EXIT)
            if not info.after:
                return
            if len(info.after) == 1:
                if self._numbers[info.function, info.after[0]] == stop:
                    return
                continue
            sides: dict[int, list[int]] = {}
            for t in threads:
                sides.setdefault(ways[t].blocks[at[t]], []).append(t)
            if len(sides) == 1:
                if next(iter(sides)) == stop:
                    return
                continue
            meet = self._meet(info.function, info.index)
            for beside, some in sorted(sides.items()):
                if beside not in (meet, EXIT):
                    self._run(some, meet)
            if meet in (EXIT, stop):
                return
            threads = [t for t in threads if ways[t].blocks[at[t]] != EXIT]
            if not threads:
                return

    def _meet(self, function: str, index: int) -> int:
        """Number of the block where all ways from a block meet again; EXIT if only at the end of the function."""
        if function not in self._meets:
            self._meets[function] = post_dominators(
                [self.infos[self._numbers[function, i]].after for i in range(self._lengths[function])]
            )
        place = self._meets[function][index]
        return EXIT if place == self._lengths[function] else self._numbers[function, place]


def _extend(way: Way, other: Way, start: int, end: int) -> None:
    way.blocks += other.blocks[start:end]
    way.cycles += other.cycles[start:end]


def is_named(mangled: str, name: str) -> bool:
    """Whether a function of the PTX is one of the source: its name stands behind its length, or alone."""
    return mangled == name or f"{len(name)}{name}B" in mangled


def post_dominators(after: Sequence[tuple[int, ...]]) -> list[int]:
    """Immediate post-dominator of every block; the number of blocks stands for the end of the function.

    (Cooper, Harvey, Kennedy: A simple, fast dominance algorithm, on the reversed graph)
    """
    end = len(after)
    before: list[list[int]] = [[] for _ in range(end + 1)]
    for block, targets in enumerate(after):
        for target in targets or (end,):
            before[target].append(block)
    order = [end]
    seen = {end}
    stack = [(end, iter(before[end]))]
    finished: list[int] = []
    while stack:
        node, rest = stack[-1]
        following = next(rest, None)
        if following is None:
            finished.append(node)
            stack.pop()
        elif following not in seen:
            seen.add(following)
            stack.append((following, iter(before[following])))
    order = finished[::-1]
    rank = {node: i for i, node in enumerate(order)}
    meets: dict[int, int] = {end: end}
    changed = True
    while changed:
        changed = False
        for node in order[1:]:
            met = -1
            for target in after[node] or (end,):
                if target not in meets:
                    continue
                met = target if met < 0 else _common(meets, rank, met, target)
            if meets.get(node) != met:
                meets[node] = met
                changed = True
    return [meets.get(block, end) for block in range(end)]


def _common(meets: dict[int, int], rank: dict[int, int], a: int, b: int) -> int:
    while a != b:
        while rank[a] > rank[b]:
            a = meets[a]
        while rank[b] > rank[a]:
            b = meets[b]
    return a
