"""The launches that every test of the batch kernels runs on."""

from __future__ import annotations

import sys

import pytest

from fleetswap_kernels.batch.launch_cpu import CpuLaunch
from tests.batch import host_cuda


@pytest.fixture(scope="session")
def cpu():
    """The Numba twin on three threads."""
    return CpuLaunch(threads=3)


@pytest.fixture(scope="session")
def cuda():
    """The CuPy launch layer on a fake CuPy, with the CUDA source compiled for the host."""
    from fleetswap_kernels.batch.launch_cupy import CupyLaunch

    if host_cuda.MISSING:
        pytest.skip(host_cuda.MISSING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", host_cuda.fake_cupy())
        return CupyLaunch()
