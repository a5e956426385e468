"""The kernels compile for every supported GPU within budgets of registers, spills and stack; no GPU needed."""

from __future__ import annotations

import json
import struct

import pytest

from .compile_kernels import INSTRUCTION_BYTES, machine_instructions, ptx_instructions
from .once import CEILINGS, KERNELS, compiled_once, missing
from .write_registers import TABLE, compiled

REPORTED = json.loads(TABLE.read_text())["kernels"]
CAPABILITIES = ("8.0", "9.0", "10.0", "12.0")
needs_compiler = pytest.mark.skipif(bool(missing()), reason=missing())


def assert_within_ceilings(capability: str, report: dict[str, dict[str, int]]) -> None:
    for kernel, found in report.items():
        above = {what: found[what] for what, most in CEILINGS[kernel].items() if found[what] > most}
        assert above == {}, (capability, kernel)
        assert found["registers"] > 0
        assert found["instructions"] > found["ptx_instructions"] > 0


@pytest.mark.slow
@needs_compiler
def test_registers_and_spills_are_within_the_ceilings(tmp_path_factory: pytest.TempPathFactory) -> None:
    _, report = compiled_once(tmp_path_factory)
    assert tuple(report) == KERNELS
    assert_within_ceilings("9.0", report)


@pytest.mark.long
@needs_compiler
@pytest.mark.parametrize("capability", ["8.0", "10.0", "12.0"])
@pytest.mark.parametrize("phones", [False, True])
def test_other_gpus_are_within_the_ceilings(capability: str, phones: bool) -> None:
    report = compiled(capability, [kernel for kernel in KERNELS if (kernel == "run_phones") == phones])
    assert report
    assert_within_ceilings(capability, report)


def test_the_table_has_every_kernel_within_its_ceilings() -> None:
    assert tuple(REPORTED) == CAPABILITIES
    for capability, kernels in REPORTED.items():
        assert tuple(kernels) == KERNELS, capability
        assert_within_ceilings(capability, kernels)


@needs_compiler
def test_the_table_has_every_kernel_there_is() -> None:
    from fleetswap_kernels.backend.cuda.entries import signatures

    assert tuple(signatures()) == KERNELS


def test_instructions_of_ptx_are_counted() -> None:
    text = """
.visible .entry kernel(.param .u64 a)
{
    .reg .pred %p<2>;
    ld.param.u64 %rd1, [a];
    cvta.to.global.u64 %rd2, %rd1;
    .loc 1 2 3
    ld.global.u32 %r1, [%rd2+8];
    @%p1 bra $L__BB0_2;
    { // callseq 0, 0
    .param .b64 param0;
    st.param.b64 [param0+0], %rd1;
    call.uni (retval0),
    other,
    (
    param0
    );
    } // callseq 0
$L__BB0_2:
    ret;
}
"""
    # The load, the branch, the call, the return.
    assert ptx_instructions(text) == 4


def test_instructions_of_machine_code_are_counted() -> None:
    # Three sections: none, the names, and 48 bytes of code. (ELF-64: header 64 bytes, section header 64 bytes.)
    names = b"\0.shstrtab\0.text.kernel\0"
    header = bytearray(64)
    struct.pack_into("<Q", header, 0x28, 64 + len(names) + 48)
    struct.pack_into("<HHH", header, 0x3A, 64, 3, 1)
    sections = [
        (0, 0, 0, 0, 0, 0),
        (1, 3, 0, 0, 64, len(names)),
        (11, 1, 0, 0, 64 + len(names), 48),
    ]
    table = b"".join(struct.pack("<IIQQQQ", *s).ljust(64, b"\0") for s in sections)
    assert machine_instructions(bytes(header) + names + bytes(48) + table) == 48 // INSTRUCTION_BYTES
