"""The CPU entry point of batches: a loop over units of work, apart from `entries`, which loads all device logic."""

from __future__ import annotations

from typing import Any

from ..batch_units import do_unit
from ...compile.decorators import entry


@entry
def run_units(first: int, end: int, part: int, work: Any) -> None:
    """Do the units `first` to `end` - 1 of a batch (`contract.Batch`)."""
    for unit in range(first, end):
        do_unit(unit, part, work)
