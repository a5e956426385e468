"""Timing: what some work gives, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def timed(work: Callable[[], _T], clock: Callable[[], float] = time.perf_counter) -> tuple[_T, float]:
    """What some work gives, and seconds that it takes by a clock."""
    started = clock()
    given = work()
    return given, clock() - started
