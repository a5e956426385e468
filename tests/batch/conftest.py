"""The backends that every test of the batch kernels runs on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleetswap_kernels.backend.choose import choose
from fleetswap_kernels.backend.contract import Backend
from tests.conftest import NO_SIMULATOR
from tests.launch.fake_gpu import FakeGpu


@pytest.fixture(scope="session")
def cpu() -> Backend:
    """Three threads."""
    return choose("cpu", 3)[0]


@pytest.fixture(scope="module")
def cuda() -> Iterator[Backend]:
    """The launch layer of the backend cuda on a GPU that is not there."""
    if NO_SIMULATOR:
        pytest.skip(NO_SIMULATOR)
    with pytest.MonkeyPatch.context() as patch:
        FakeGpu().install(patch)
        yield choose("cuda")[0]
