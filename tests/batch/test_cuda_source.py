"""The CUDA source compiles for every GPU in question, and the layer that launches it says what is missing."""

from __future__ import annotations

import importlib.util
import re
import sys

import numpy as np
import pytest

from fleetswap_kernels.batch import cuda_source
from fleetswap_kernels.batch.launch_cupy import OPTIONS, THREADS_PER_BLOCK, CupyLaunch, CupyMissingError
from tests.batch import host_cuda

CAPABILITIES = ("80", "90", "100", "120")


def nvrtc():
    """The NVRTC of the wheels, through cuda.bindings; the reason if there is none."""
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None:
        return None, "cuda.bindings is not installed; `make cuda` installs the CUDA 13 compiler"
    from cuda.bindings import nvrtc as library

    try:
        library.nvrtcVersion()
    except RuntimeError as error:
        return None, f"NVRTC cannot be loaded ({error}); `make cuda` installs the CUDA 13 compiler"
    return library, ""


NVRTC, NO_NVRTC = nvrtc()


@pytest.mark.skipif(bool(NO_NVRTC), reason=NO_NVRTC)
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_nvrtc_compiles_the_source(capability):
    if int(capability) not in NVRTC.nvrtcGetSupportedArchs()[1]:
        pytest.skip(f"this NVRTC does not know compute capability {capability}")
    error, program = NVRTC.nvrtcCreateProgram(cuda_source.cuda_source().encode(), b"batch.cu", 0, None, None)
    assert error == 0
    options = [f"--gpu-architecture=sm_{capability}".encode(), *(one.encode() for one in OPTIONS)]
    (error,) = NVRTC.nvrtcCompileProgram(program, len(options), options)
    log = b" " * NVRTC.nvrtcGetProgramLogSize(program)[1]
    NVRTC.nvrtcGetProgramLog(program, log)
    assert (error, log.strip(b" \0")) == (0, b""), "errors and warnings"
    # Machine code, so that the assembler has seen it too, and PTX, which names the kernels.
    assert NVRTC.nvrtcGetCUBINSize(program)[1] > 0
    ptx = b" " * NVRTC.nvrtcGetPTXSize(program)[1]
    NVRTC.nvrtcGetPTX(program, ptx)
    assert set(re.findall(r"\.entry (\w+)", ptx.decode())) == set(cuda_source.KERNELS)


def test_constants_are_those_of_the_twins():
    defined = dict(re.findall(r"constexpr int64 (\w+) = (-?\d+)LL;", cuda_source.cuda_source()))
    known = cuda_source.constants()
    assert {"PM_SWAP_SHIFT", "WINDOW_PAGES", "ZSHARES", "LAST_BIN"} <= set(defined)
    assert {name: int(value) for name, value in defined.items()} == {name: known[name] for name in defined}


def launch_with(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "cupy", module)
    return CupyLaunch()


def test_what_is_missing_is_said(monkeypatch):
    with pytest.raises(CupyMissingError, match=r"^cupy cannot be imported .*; .* -m pip install -e .*\[cuda13\]'?$"):
        launch_with(monkeypatch, None)
    with pytest.raises(CupyMissingError, match=r"^no CUDA device can be used: cudaErrorInsufficientDriver$"):
        launch_with(monkeypatch, host_cuda.fake_cupy(error="cudaErrorInsufficientDriver"))
    with pytest.raises(CupyMissingError, match=r"^no CUDA device is visible; see CUDA_VISIBLE_DEVICES$"):
        launch_with(monkeypatch, host_cuda.fake_cupy(devices=0))


def test_a_small_result_has_several_copies(cuda):
    assert [cuda.parts(rows) for rows in (0, 1, 14, 64, 65, 1_000_000)] == [64, 64, 4, 1, 1, 1]


def test_units_that_are_no_whole_block_stay_in_bounds(cuda):
    # One value more than a block of threads: the last block has one thread with work.
    n = THREADS_PER_BLOCK + 1
    sums, least, greatest = cuda.full((1, 1, 1, 3), 0), cuda.full((1, 1, 1), 9), cuda.full((1, 1, 1), -9)
    arguments = (cuda.put(np.ones(n), np.int64), 1, cuda.put(np.zeros(n), np.int32), 1, sums, least, greatest)
    cuda.run("sums", n, arguments)
    assert cuda.get(sums).tolist() == [[[[n, 0, n]]]]
    cuda.run("sums", 0, arguments)
    assert cuda.get(sums).tolist() == [[[[n, 0, n]]]]
