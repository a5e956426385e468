"""What the allocator test says: exact quantiles over the devices of every iteration, by policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..fleet.cells import Cells
from ..fleet.quantiles import quantiles
from ..workload.laid_out import LaidOut
from ..workload.metrics import Ints

PERCENTS = (5, 50, 95)


def summarise_allocator_test(laid_out: LaidOut, cells: Cells, by_step: Callable[[str], Ints]) -> dict[str, Any]:
    """The summary of an allocator test.

    Parameters
    ----------
    laid_out : LaidOut
    cells : Cells
        Sums over the devices.
    by_step : callable
        Gives a metric of all devices in every step (`FleetShard.by_step`), one after the other.
    """
    steps: dict[str, list[dict[str, Any]]] = {
        policy: [{"step": step} for step in range(1, laid_out.steps)] for policy in laid_out.classes
    }
    for metric, known in laid_out.metrics.items():
        # Devices stand in both classes, one after the other; step 0 is the warm-up.
        values = by_step(metric).reshape(-1, len(laid_out.classes), laid_out.steps)
        for number, (policy, rows) in enumerate(steps.items()):
            for row in rows:
                of_step = np.ascontiguousarray(values[:, number, row["step"]])
                cell = cells[policy, row["step"], metric]
                total = known.of_sums(cell.top, cell.bottom)
                row[metric] = {**(quantiles(of_step, PERCENTS) or {}), "total": total}
    return {**laid_out.resolved(), "steps": steps}
