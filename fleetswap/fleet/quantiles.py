"""Exact quantiles of devices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PERCENTS = (5, 50, 95, 99)


def quantiles(values: npt.NDArray[np.int64]) -> dict[str, int] | None:
    """Exact quantiles by nearest rank; None without values."""
    if not values.size:
        return None
    places = [-(-values.size * percent // 100) - 1 for percent in PERCENTS]
    partly = np.partition(values, places)
    return {f"p{percent}": int(partly[place]) for percent, place in zip(PERCENTS, places, strict=True)}
