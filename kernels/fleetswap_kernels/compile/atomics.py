"""Elements of results that several threads may change at the same time: what differs between targets."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any

from .decorators import device_by_type

_TURN = Lock()


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark what changes an element of a result.

    A thread of the CPU has elements of its own. Those of a GPU change one in a single step (`cuda_linker` says how),
    those of its simulator, interpreted, take turns.
    """

    @wraps(function)
    def in_turn(array: Any, at: Any, value: Any) -> None:
        with _TURN:
            function(array, at, value)

    def alone(array: Any, at: Any, value: Any) -> Any:
        return function

    device_by_type(in_turn)(alone)
    return in_turn


@shared
def add(array: Any, at: Any, value: Any) -> None:
    """Add to an element."""
    array[at] += value


@shared
def keep_least(array: Any, at: Any, value: Any) -> None:
    """Make an element the least of itself and a value."""
    array[at] = min(array[at], value)


@shared
def keep_greatest(array: Any, at: Any, value: Any) -> None:
    """Make an element the greatest of itself and a value."""
    array[at] = max(array[at], value)
