"""The backends as one axis: a test that takes one takes the fixture `backend`, or for the command line `backend_words`.

cpu on one thread and on two; fake-gpu, the launch layer of the backend cuda on memory of the host, where everything but
the kernels is what a GPU gets; and cuda, where there is one.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fleetswap.report import plots
from fleetswap_kernels.backend.choose import choose
from fleetswap_kernels.backend.contract import Backend, BackendMissingError
from tests.launch.fake_gpu import FakeGpu

# No test knows how fast a machine is. What else holds, such as the profile for CI, goes on to hold.
settings.register_profile("any speed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")

NO_SIMULATOR = "" if importlib.util.find_spec("numba_cuda") else "numba-cuda is not installed"


DRAWN = ("docs", "html")
"""Folders whose tests draw figures."""


@pytest.fixture(scope="module", autouse=True)
def _undrawn(request: pytest.FixtureRequest) -> Iterator[None]:
    """Reports elsewhere have empty figures, also those of programs that tests start, which find the same sources."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.parent.name not in DRAWN:
            patch.setattr(plots, "inline", lambda *_: "<svg></svg>")
            patch.syspath_prepend(Path(__file__).parent / "undrawn")
        patch.setenv("PYTHONPATH", os.pathsep.join(path or str(Path.cwd()) for path in sys.path))
        yield


@cache
def no_gpu() -> str:
    """Why the backend cuda cannot run here; empty if it can."""
    try:
        choose("cuda")
    except BackendMissingError as error:
        return str(error)
    return ""


WORDS = {
    "cpu": ("--backend", "cpu", "--threads", "1"),
    "cpu-threads": ("--backend", "cpu", "--threads", "2"),
    "fake-gpu": ("--backend", "cuda"),
    "cuda": ("--backend", "cuda"),
}
AXIS = (
    "cpu",
    "cpu-threads",
    pytest.param("fake-gpu", marks=pytest.mark.skipif(bool(NO_SIMULATOR), reason=NO_SIMULATOR)),
    pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(bool(no_gpu()), reason=no_gpu())]),
)


def pytest_report_header() -> str:
    """Which backends run, and why others do not."""
    ran = ["cpu (1 and 2 threads)"]
    missing = []
    if NO_SIMULATOR:
        missing += [f"fake-gpu, simulator: {NO_SIMULATOR}"]
    else:
        ran += ["fake-gpu (launch layer, CPU kernels)", f"simulator (numba-cuda {metadata.version('numba-cuda')})"]
    if no_gpu():
        missing.append(f"cuda: {no_gpu()}")
    else:
        ran.append(f"cuda ({choose('cuda')[0].describe()})")
    return f"backends: {', '.join(ran)}" + "".join(f"\nbackends that do not run: {one}" for one in missing)


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    """A GPU that is not there, found by the launch layer."""
    if NO_SIMULATOR:
        pytest.skip(NO_SIMULATOR)
    gpu = FakeGpu()
    gpu.install(monkeypatch)
    return gpu


@pytest.fixture(params=AXIS)
def backend_words(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Options of the command line that choose a backend."""
    if request.param == "fake-gpu":
        request.getfixturevalue("fake_gpu")
    return WORDS[request.param]


@pytest.fixture
def backend(backend_words: tuple[str, ...]) -> Backend:
    """The same backend, opened."""
    _, name, *threads = backend_words
    return choose(name, int(threads[1]) if threads else 1)[0]
