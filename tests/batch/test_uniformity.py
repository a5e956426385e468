"""Uniform blocks of swap slots: both backends against an oracle and by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from fleetswap_kernels.batch.swap_areas import SwapAreas
from fleetswap_kernels.batch.uniformity import BLOCK_KINDS, uniformity
from tests.batch import oracle
from tests.batch.fleets import swap_areas


@settings(max_examples=25)
@given(swap_areas())
def test_both_backends_agree_with_the_oracle(cpu, cuda, areas):
    expected = oracle.uniform_blocks(areas)
    assert uniformity(cpu, areas).tolist() == expected
    assert uniformity(cuda, areas).tolist() == expected


def test_by_hand(cpu, cuda):
    # Slots 0..9: the header, four in use once, one twice, four free; slots 4..7 are pages of zeros.
    areas = SwapAreas.of([np.array([0x3F, 1, 1, 1, 1, 2, 0, 0, 0, 0], np.uint8)], [np.array([0xF0, 0], np.uint8)])
    for backend in (cpu, cuda):
        found = uniformity(backend, areas)[0]
        rows = {order: dict(zip(BLOCK_KINDS, found[order].tolist(), strict=True)) for order in range(10)}
        assert rows[0] == {"blocks": 10, "free": 4, "used_alike": 6, "zeros": 4, "no_zeros": 6}
        assert rows[1] == {"blocks": 5, "free": 2, "used_alike": 1, "zeros": 2, "no_zeros": 3}
        assert rows[2] == {"blocks": 2, "free": 0, "used_alike": 0, "zeros": 1, "no_zeros": 1}
        assert rows[3] == {"blocks": 1, "free": 0, "used_alike": 0, "zeros": 0, "no_zeros": 0}
        assert not found[4:].any()


def test_no_areas(cpu, cuda):
    for backend in (cpu, cuda):
        assert uniformity(backend, SwapAreas.unknown()).shape == (0, 10, 5)
