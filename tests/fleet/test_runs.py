"""Runs of pages that are used together: how long they are."""

from __future__ import annotations

from fractions import Fraction

import numba
import numpy as np
import pytest

from fleetswap_kernels.compile.cpu_linker import WholeProgramCompiler
from fleetswap_kernels.compile.views import device_at
from fleetswap_kernels.device.phone.app import class_at, run_length
from tests.properties.phones import ready, tiny

DRAWS = 1 << 16


@numba.njit(pipeline_class=WholeProgramCompiler, error_model="numpy")
def lengths(arena, base, c, found):
    """Length of a run of an app class for every draw."""
    dev = device_at(arena, base, 0)
    o_class = class_at(dev, c)
    for r16 in range(len(found)):
        found[r16] = run_length(dev, o_class, r16)


@pytest.mark.parametrize("percent", [0, 1, 37, 50, 80, 93, 99, 100])
def test_every_draw_makes_the_run_that_its_chances_say(percent):
    """A run is longer than n pages with the chance that n pages in a row are followed by the next (`_run_words`)."""
    name = next(iter(tiny().app_class))
    arena, _ = ready(tiny(f"app_class.{name}.locality_percent={percent}"))
    found = np.zeros(DRAWS, dtype=np.int64)
    lengths(arena.records, arena.base, 0, found)
    follows = Fraction(percent, 100)
    for n in range(1, 32):
        assert int((found > n).sum()) == int(follows**n * DRAWS), n
    assert (np.diff(found) <= 0).all(), "a smaller draw never makes a shorter run"
    assert found.min() >= 1
    assert found.max() <= 32
