"""The CPU entry point of batches: a loop over units of work, apart from `entries`, which loads all device logic."""

from __future__ import annotations

from typing import Any

from ..batch_units import do_unit
from ...compile.decorators import entry


@entry
def run_units(first: int, end: int, part: int, work: Any) -> None:
    """Do the units of a batch that one thread has (`contract.Batch`).

    Parameters
    ----------
    first, end : int
        Number of the first, and one more than that of the last.
    part : int
        Copy of the results that the thread may change.
    work : named tuple
        Arrays and numbers of the batch.
    """
    for unit in range(first, end):
        do_unit(unit, part, work)
