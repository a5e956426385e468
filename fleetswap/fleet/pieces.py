"""Pieces of a fleet: ranges of devices, cut so that they fit a backend's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from fleetswap_kernels.backend.contract import DeviceMemoryError

from ..errors import InputError

Result = TypeVar("Result")
Progress = Callable[[int], None]
"""Called with a number of device-steps done."""


def no_progress(steps: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Shard:
    """A range of devices of a fleet."""

    number: int
    first: int
    end: int


class Fit:
    """Simulates shards in pieces that fit the backend's memory.

    A shard that does not fit is halved, and so are those after it: nobody else may have freed memory by then.
    """

    def __init__(self) -> None:
        self._most: int | None = None

    def run(
        self, shard: Shard, simulate: Callable[[Shard, Progress], Result], progress: Progress = no_progress
    ) -> Iterator[Result]:
        """Results of a shard's pieces, in the order of their devices.

        Parameters
        ----------
        shard : Shard
        simulate : function of (Shard, Progress)
            What is done with each piece.
        progress : Progress
            Told of pieces; what a piece did before memory ran out is taken back.

        Raises
        ------
        DeviceMemoryError
            If not even one device fits.
        """
        n = shard.end - shard.first
        if self._most is None or n <= self._most:
            done = 0

            def count(steps: int) -> None:
                nonlocal done
                done += steps
                progress(steps)

            try:
                result = simulate(shard, count)
            except DeviceMemoryError:
                if n == 1:
                    raise
                self._most = n // 2
                progress(-done)
            else:
                yield result
                return
        middle = shard.first + -(-n // 2)
        for first, end in ((shard.first, middle), (middle, shard.end)):
            yield from self.run(Shard(shard.number, first, end), simulate, progress)


def cut(devices: int, shards: int) -> list[Shard]:
    """Cut a number of devices into at most so many ranges, as equal as can be."""
    if shards < 1:
        raise InputError(f"shards: {shards} is not possible; allowed are 1 and more")
    shards = min(shards, devices)
    return [piece(devices, shards, number) for number in range(shards)]


def piece(devices: int, shards: int, number: int) -> Shard:
    """One of the ranges that `cut` makes, without the others."""
    return Shard(number, devices * number // shards, devices * (number + 1) // shards)
