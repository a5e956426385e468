"""Tests of a GPU: on a real one, where there is one, and on the stand-in, so that the tests are tested themselves."""

from __future__ import annotations

import pytest

from fleetswap_kernels.backend.choose import choose
from fleetswap_kernels.backend.contract import Backend
from tests.conftest import NO_SIMULATOR, no_gpu

AXIS = (
    pytest.param("fake-gpu", marks=pytest.mark.skipif(bool(NO_SIMULATOR), reason=NO_SIMULATOR)),
    pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(bool(no_gpu()), reason=no_gpu())]),
)


@pytest.fixture(params=AXIS)
def gpu(request: pytest.FixtureRequest) -> Backend:
    """The backend cuda."""
    if request.param == "fake-gpu":
        request.getfixturevalue("fake_gpu")
    return choose("cuda")[0]


@pytest.fixture(params=AXIS[1:])
def real_gpu(request: pytest.FixtureRequest) -> Backend:  # noqa: ARG001 (its marks count)
    """The backend cuda on a real GPU."""
    return choose("cuda")[0]
