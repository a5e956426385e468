"""Exact quantiles of devices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

PERCENTS = (5, 50, 95, 99)


def quantiles(values: npt.NDArray[np.int64], percents: Sequence[int] = PERCENTS) -> dict[str, int] | None:
    """Exact quantiles by nearest rank, by their names such as ``p50``; None without values."""
    if not values.size:
        return None
    places = [-(-values.size * percent // 100) - 1 for percent in percents]
    partly = np.partition(values, places)
    return {f"p{percent}": int(partly[place]) for percent, place in zip(percents, places, strict=True)}
