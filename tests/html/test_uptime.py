"""Long runs over uptime fit into a figure."""

from __future__ import annotations

from itertools import pairwise

import pytest

from fleetswap.report.uptime import group_steps, thin_steps


@pytest.mark.parametrize("count", [1, 2, 239, 240, 241, 1000, 525_600])
def test_thinning_keeps_the_last_and_groups_leave_nothing_out(count: int) -> None:
    places = thin_steps(count, 240)
    assert len(places) <= 240
    assert places[-1] == count - 1
    assert len({b - a for a, b in pairwise(places)}) <= 1
    bounds = group_steps(count, 240)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == count
    assert all(a[1] == b[0] and a[0] < a[1] for a, b in pairwise(bounds))
