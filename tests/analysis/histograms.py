"""Histograms of given values, for what a device's tally is compared with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fleetswap.fleet.log_histogram import LogHistogram
from fleetswap_kernels.backend.log_bins import bin_numbers


def histogram(values: npt.ArrayLike) -> LogHistogram:
    """One device for each value."""
    given = np.asarray(values, np.int64)
    if not given.size:
        return LogHistogram()
    bins, counts = np.unique(bin_numbers(given), return_counts=True)
    plain = given.tolist()
    return LogHistogram(bins, counts, len(plain), sum(plain), min(plain), max(plain))
