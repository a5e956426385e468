"""The PTX machine computes what the PTX manual says, and tells what was loaded, waited for and taken together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from .machine import BASE, STACK_BYTES, Machine
from .memory_trace import BINS, EDGES, MemoryTrace
from .ptx import parse
from .warp import ALU_CYCLES, Warp, Way, WayTrace, post_dominators

HEAD = """
.visible .entry kernel(
	.param .u64 a0, .param .u64 a1, .param .u64 a2, .param .u64 a3, .param .u64 a4, .param .u64 a5, .param .u64 a6
)
{
	.reg .pred %p<9>;
	.reg .b32 %r<30>;
	.reg .b64 %rd<30>;
	ld.param.u64 %rd1, [a4];
"""


def run(body: str, words: list[int], threads: int = 1, trace: MemoryTrace | None = None) -> tuple[list[int], Machine]:
    """Run a kernel over one array of uint64, whose address is in %rd1; what is in the array afterwards."""
    array = np.array(words, dtype=np.uint64)
    watching = trace or MemoryTrace(BASE, BASE + array.nbytes, STACK_BYTES)
    machine = Machine(parse(HEAD + body + "\n}\n"), [array], watching)
    for thread in range(threads):
        machine.run(thread, machine.arguments((0, array.shape, 8)))
    return machine.memory[BASE : BASE + array.nbytes].view(np.uint64).tolist(), machine


# Expected values: worked by hand from the PTX ISA's definitions.
@pytest.mark.parametrize(
    ("text", "a", "b", "expected"),
    [
        ("add.s64 %rd4, %rd2, %rd3;", 2**64 - 1, 2, 1),
        ("sub.s64 %rd4, %rd2, %rd3;", 1, 2, 2**64 - 1),
        ("mul.lo.s64 %rd4, %rd2, %rd3;", 2**63, 2, 0),
        ("mul.hi.u64 %rd4, %rd2, %rd3;", 2**63, 6, 3),
        ("mul.hi.s64 %rd4, %rd2, %rd3;", 2**64 - 1, 5, 2**64 - 1),
        ("shr.s64 %rd4, %rd2, 1;", 2**64 - 4, 0, 2**64 - 2),
        ("shr.u64 %rd4, %rd2, 1;", 2**64 - 4, 0, 2**63 - 2),
        ("shl.b64 %rd4, %rd2, 64;", 7, 0, 0),
        ("min.s64 %rd4, %rd2, %rd3;", 2**64 - 1, 1, 2**64 - 1),
        ("min.u64 %rd4, %rd2, %rd3;", 2**64 - 1, 1, 1),
        ("max.s64 %rd4, %rd2, -3;", 2**64 - 5, 0, 2**64 - 3),
        ("abs.s64 %rd4, %rd2;", 2**64 - 9, 0, 9),
        ("neg.s64 %rd4, %rd2;", 3, 0, 2**64 - 3),
        ("not.b64 %rd4, %rd2;", 0, 0, 2**64 - 1),
        ("bfi.b64 %rd4, %rd2, %rd3, 8, 4;", 0xABC, 0xFFFF, 0xFCFF),
        ("div.s64 %rd4, %rd2, %rd3;", 2**64 - 7, 2, 2**64 - 3),
        ("rem.s64 %rd4, %rd2, %rd3;", 2**64 - 7, 2, 2**64 - 1),
        ("cvt.u32.u64 %r1, %rd2;\ncvt.s64.s32 %rd4, %r1;", 0x1_8000_0000, 0, 0xFFFF_FFFF_8000_0000),
        ("cvt.u32.u64 %r1, %rd2;\nmul.wide.s32 %rd4, %r1, 3;", 0xFFFF_FFFF, 0, 2**64 - 3),
        ("cvt.u32.u64 %r1, %rd2;\nmul.wide.u32 %rd4, %r1, 3;", 0xFFFF_FFFF, 0, 3 * 0xFFFF_FFFF),
        ("cvt.u32.u64 %r1, %rd2;\nmad.lo.s32 %r2, %r1, 12, 1;\ncvt.u64.u32 %rd4, %r2;", 2**31, 0, 1),
        ("setp.lt.s64 %p1, %rd2, %rd3;\nselp.b64 %rd4, 10, 20, %p1;", 2**64 - 1, 0, 10),
        ("setp.lt.u64 %p1, %rd2, %rd3;\nselp.b64 %rd4, 10, 20, %p1;", 2**64 - 1, 0, 20),
        ("mov.pred %p1, -1;\nxor.pred %p2, %p1, %p1;\nselp.b64 %rd4, 10, 20, %p2;", 0, 0, 20),
    ],
)
def test_instructions(text: str, a: int, b: int, expected: int) -> None:
    after, _ = run(f"ld.u64 %rd2, [%rd1];\nld.u64 %rd3, [%rd1+8];\n{text}\nst.u64 [%rd1+16], %rd4;\nret;", [a, b, 7])
    assert after == [a, b, expected]


def test_parts_of_words_are_read_and_written() -> None:
    after, _ = run("ld.u16 %rd2, [%rd1+2];\nst.u8 [%rd1+9], %rd2;\nst.u32 [%rd1+20], %rd2;\nret;", [0x1234_5678, 0, 0])
    assert after == [0x1234_5678, 0x3400, 0x1234 << 32]


@pytest.mark.parametrize(
    ("op", "a", "b", "expected"),
    [("add.u64", 2**64 - 1, 3, 2), ("min.s64", 5, 2**64 - 2, 2**64 - 2), ("max.s64", 5, 2**64 - 2, 5)],
)
def test_an_atomic_operation_gives_what_was_there(op: str, a: int, b: int, expected: int) -> None:
    after, _ = run(
        f"ld.u64 %rd2, [%rd1+8];\natom.global.{op} %rd4, [%rd1], %rd2;\nst.u64 [%rd1+16], %rd4;\nret;", [a, b, 7]
    )
    assert after == [expected, b, a]


def test_a_signed_load_fills_a_wider_register() -> None:
    after, _ = run(
        "ld.s32 %rd2, [%rd1];\nld.s32 %rd3, [%rd1+4];\nst.u64 [%rd1+8], %rd2;\nst.u64 [%rd1+16], %rd3;\nret;",
        [0x7FFF_FFFF_8000_0000, 0, 0],
    )
    assert after[1:] == [0xFFFF_FFFF_8000_0000, 0x7FFF_FFFF]


def test_a_load_that_is_not_aligned_is_an_error() -> None:
    with pytest.raises(AssertionError):
        run("ld.u32 %r1, [%rd1+2];\nret;", [0])


LINE = 16
"""Words of 8 bytes in a cache line."""


def counted(body: str, words: int) -> MemoryTrace:
    trace = MemoryTrace(BASE, BASE + 8 * words, STACK_BYTES)
    run(body, [BASE + 8 * LINE * ((i + 1) % 3) for i in range(words)], trace=trace)
    return trace


def test_independent_loads_are_waited_for_together_and_dependent_ones_one_after_the_other() -> None:
    beside = counted("ld.u64 %rd2, [%rd1];\nld.u64 %rd3, [%rd1+128];\nadd.s64 %rd4, %rd2, %rd3;\nret;", 40)
    behind = counted("ld.u64 %rd2, [%rd1];\nld.u64 %rd3, [%rd2];\nadd.s64 %rd4, %rd2, %rd3;\nret;", 40)
    assert sum(beside.take()[0].chain) == 1
    assert sum(behind.take()[0].chain) == 2


def test_a_load_waits_for_the_branch_and_the_store_before_it() -> None:
    branch = counted(
        "ld.u64 %rd2, [%rd1];\nsetp.eq.s64 %p1, %rd2, 0;\n@%p1 bra $L__BB0_1;\n"
        "ld.u64 %rd3, [%rd1+128];\nadd.s64 %rd4, %rd3, 1;\n$L__BB0_1:\nret;", 40
    )  # fmt: skip
    store = counted(
        "ld.u64 %rd2, [%rd1];\nst.u64 [%rd1+8], %rd2;\nld.u64 %rd3, [%rd1+128];\nadd.s64 %rd4, %rd3, 1;\nret;", 40
    )
    early = counted(
        "ld.u64 %rd2, [%rd1];\nst.u64 [%rd1+8], 5;\nld.u64 %rd3, [%rd1+128];\nadd.s64 %rd4, %rd3, %rd2;\nret;", 40
    )
    assert [sum(trace.take()[0].chain) for trace in (branch, store, early)] == [2, 2, 1]


def test_a_load_used_in_a_later_block_is_waited_for_there() -> None:
    later = counted(
        "ld.u64 %rd2, [%rd1];\nld.u64 %rd3, [%rd1+256];\nsetp.eq.s64 %p1, %rd3, 0;\n@%p1 bra $L__BB0_1;\n"
        "ld.u64 %rd5, [%rd2];\nadd.s64 %rd4, %rd5, 1;\n$L__BB0_1:\nret;", 64
    )  # fmt: skip
    assert sum(later.take()[0].chain) == 2


def test_reuse_distances_are_lines_since_the_last_use_of_the_sector() -> None:
    trace = MemoryTrace(0, 1 << 20, 0)
    far = BINS - 1
    # First uses; the same sector; another sector of the same line; two lines later the first sector again.
    found = [trace._distance(address) for address in (0, 8, 32, 128, 256, 0, 32)]
    assert [d > EDGES[-1] for d in found] == [True, False, True, True, True, False, False]
    assert (found[1], found[5], found[6]) == (1, 3, 3)
    trace.take()
    # A sector that is stored to again is written back between by a cache that cannot hold the lines between.
    for address in (512, 640, 768, 512):
        trace.store(address)
    writebacks = trace.take()[0].writebacks
    assert (writebacks[far], writebacks[EDGES.index(4)]) == (3, 1)


# Worked by hand: 0 branches to 1 and 2, which meet at 3; 3 loops back to 0 or ends.
@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ([(1, 2), (3,), (3,), (0, 4), ()], [3, 3, 3, 4, 5]),
        ([(1, 2), (), ()], [3, 3, 3]),
        ([(1,), (2, 1), ()], [1, 2, 3]),
        ([(2, 1), (2, 3), (4,), (4,), ()], [4, 4, 4, 4, 5]),
    ],
)
def test_post_dominators(after: list[tuple[int, ...]], expected: list[int]) -> None:
    assert post_dominators(after) == expected


def ways_of(body: str, threads: Iterable[int]) -> tuple[Machine, list[Way]]:
    _, machine = run(body, [0])
    ways = []
    for thread in threads:
        trace = WayTrace(BASE, BASE + 8, STACK_BYTES)
        trace.infos = machine.blocks
        machine.watch(trace)
        machine.run(thread, machine.arguments((0, (1,), 8)))
        ways.append(trace.way)
    return machine, ways


def test_a_warp_takes_both_ways_of_a_branch_and_meets_behind_it() -> None:
    # Odd threads take the long way; blocks have 3, 3 + 1, 1 and 1 instructions.
    body = """
	mov.u32 %r1, %tid.x;
	and.b32 %r2, %r1, 1;
	setp.eq.s32 %p1, %r2, 0;
	@%p1 bra $L__BB0_2;
	add.s32 %r3, %r1, 1;
	add.s32 %r4, %r3, 1;
	add.s32 %r5, %r4, 1;
	bra.uni $L__BB0_3;
$L__BB0_2:
	add.s32 %r3, %r1, 2;
$L__BB0_3:
	ret;
"""
    machine, ways = ways_of(body, range(4))
    cost = Warp(machine).cost(ways)
    # 4 before the branch, 4 and 1 on its sides, 1 behind it.
    assert cost.issued == 4 + 4 + 1 + 1
    assert cost.of_threads == 4 * 4 + 2 * 4 + 2 * 1 + 4 * 1
    # Dependent: mov, and, setp, bra; three adds; one add; the return.
    assert cost.cycles == ALU_CYCLES * (4 + 3 + 1 + 1)
    assert Warp(machine).cost(ways[::2]).issue_factor == 1.0


def test_threads_that_leave_a_loop_wait_for_the_others() -> None:
    body = """
	mov.u32 %r1, %tid.x;
$L__BB0_1:
	add.s32 %r1, %r1, -1;
	setp.gt.s32 %p1, %r1, 0;
	@%p1 bra $L__BB0_1;
	ret;
"""
    machine, ways = ways_of(body, (1, 2, 5))
    cost = Warp(machine).cost(ways)
    assert cost.issued == 1 + 5 * 3 + 1
    assert cost.of_threads == 3 * 1 + (1 + 2 + 5) * 3 + 3 * 1


def test_operations_are_told_apart_by_the_load_of_their_first_word() -> None:
    # Operations of two words, until one that is 0; the second word of a 1 is stored twice.
    body = """
$L__BB0_1:
	ld.u64 %rd2, [%rd1];
	setp.eq.s64 %p1, %rd2, 0;
	@%p1 bra $L__BB0_4;
	ld.u64 %rd3, [%rd1+8];
	setp.ne.s64 %p2, %rd2, 1;
	@%p2 bra $L__BB0_3;
	st.u64 [%rd1+128], %rd3;
$L__BB0_3:
	st.u64 [%rd1+192], %rd3;
	add.s64 %rd1, %rd1, 16;
	bra.uni $L__BB0_1;
$L__BB0_4:
	ret;
"""
    words = [1, 5, 2, 6, 0]
    _, machine = run(body, [*words, *[0] * 35])
    trace = WayTrace(BASE, BASE + 8 * 40, STACK_BYTES)
    trace.infos = machine.blocks
    trace.memory = machine.memory.view(np.uint32)
    trace.places, trace.length = range(BASE, BASE + 8 * len(words), 16), 4
    machine.watch(trace)
    machine.run(0, machine.arguments((0, (40,), 8)))
    # Behind the head of the kernel: blocks of 3, 3, 1 and 3 instructions, then without that of 1, then of 3 and 1.
    assert trace.begun == [(1, [1, 0, 5, 0]), (5, [2, 0, 6, 0]), (8, [0, 0, 0, 0])]
    one, two, last = trace.way.part(1, 5), trace.way.part(5, 8), trace.way.part(8, len(trace.way.blocks))
    warp = Warp(machine)
    for ways, issued, of_threads in [
        ([one], 3 + 3 + 1 + 3, 10),
        ([one, two], 3 + 3 + 1 + 3, 10 + 9),
        ([two, two, last], 3 + 3 + 3 + 1, 9 + 9 + 4),
    ]:
        cost = warp.cost(ways)
        assert (cost.issued, cost.of_threads) == (issued, of_threads)


def test_threads_of_a_warp_begin_together() -> None:
    machine, (way,) = ways_of("bra.uni $L__BB0_1;\n$L__BB0_1:\nret;", [0])
    with pytest.raises(ValueError, match="different places"):
        Warp(machine).cost([way, way.part(1, 2)])
