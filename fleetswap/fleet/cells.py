"""Cells of a fleet: one metric of one step and class of devices, made of tallies, merged exactly."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.log_bins import LAST_BIN, bin_numbers
from fleetswap_kernels.backend.tally import Tally
from fleetswap_kernels.device.figures.fold import BASE_HIGH, DEVICES, GREATEST, HIGH, LEAST, LOW, TOP_HIGH

from .log_histogram import LogHistogram

Ints = npt.NDArray[np.int64]

ALL = "all"
"""Stands for the devices of every class."""


@dataclass
class Cell:
    """One metric of one step and class of devices.

    Parameters
    ----------
    histogram : LogHistogram
        Of the devices' values; of a share only of devices that have a base.
    top, bottom : int
        Sums of the numerators and denominators of a share; `bottom` is 0 for what is none.
    """

    histogram: LogHistogram = field(default_factory=LogHistogram)
    top: int = 0
    bottom: int = 0

    def merge(self, other: Cell) -> None:
        """Add the devices of another cell."""
        self.histogram.merge(other.histogram)
        self.top += other.top
        self.bottom += other.bottom


Cells = dict[tuple[str, int, str], Cell]
"""By class, step and metric; step -1 is the whole run."""
WHOLE_RUN = -1
Totals = dict[tuple[str, int], npt.NDArray[np.int64]]
"""Sums of counters by class and step, of shape (counters.N_COUNTERS,)."""


def cells_of(
    tally: Tally, names: tuple[str, ...], metrics: tuple[str, ...], devices: Ints
) -> dict[tuple[str, str], Cell]:
    """Cells of a tally by class and metric: those of all devices, and of each class that has any.

    Parameters
    ----------
    tally : Tally
    names, metrics : tuple of str
        Of the classes and of the metrics.
    devices : int64 array of shape (classes,)
        Of each class.
    """
    groups = np.flatnonzero(devices).tolist()
    shape = (len(names), len(metrics))
    facts = tally.facts.reshape(*shape, -1)
    bins = tally.bins.reshape(*shape, -1)
    known = facts[..., DEVICES] > 0
    # Only bins between the extremes have devices.
    edges = np.where(known[..., None], bin_numbers(facts[..., [LEAST, GREATEST]]) + LAST_BIN, 0)
    cells = {}
    for name, of in ((ALL, groups), *((names[g], [g]) for g in groups)):
        for m, metric in enumerate(metrics):
            sums = [sum(facts[of, m, i].tolist()) for i in range(LEAST)]
            cell = Cell(LogHistogram(), *((sums[i] << 32) + sums[i + 1] for i in (TOP_HIGH, BASE_HIGH)))
            have = [g for g in of if known[g, m]]
            if have:
                first, last = int(edges[have, m, 0].min()), int(edges[have, m, 1].max())
                counts = bins[have, m, first : last + 1].sum(axis=0)
                at = np.flatnonzero(counts)
                cell.histogram = LogHistogram(
                    at + (first - LAST_BIN),
                    counts[at],
                    sums[DEVICES],
                    (sums[HIGH] << 32) + sums[LOW],
                    int(facts[have, m, LEAST].min()),
                    int(facts[have, m, GREATEST].max()),
                )
            cells[name, metric] = cell
    return cells


def totals_of(tally: Tally, names: tuple[str, ...], devices: Ints) -> dict[str, Ints]:
    """Sums of the counters of all devices, and of each class that has any; parameters as of `cells_of`."""
    class_totals = {names[g]: tally.totals[g] for g in np.flatnonzero(devices).tolist()}
    return {ALL: tally.totals.sum(axis=0), **class_totals}
