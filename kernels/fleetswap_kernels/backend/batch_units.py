"""Units of work: which body does those of a kind of work."""

from typing import Any

from ..compile.decorators import device_by_type
from ..device.batch.accounting import ObjectWork, account_object
from ..device.batch.census import CensusWork, census_window
from ..device.batch.uniformity import BlockWork, count_blocks
from ..device.batch.values import BinWork, SumWork, count_values, sum_values
from ..device.figures.fold import FoldWork, fold_devices

BODIES = {
    FoldWork: fold_devices,
    CensusWork: census_window,
    BlockWork: count_blocks,
    ObjectWork: account_object,
    BinWork: count_values,
    SumWork: sum_values,
}


def do_unit(unit: Any, part: Any, work: Any) -> None:
    """Do a unit of work; what it shares with units of others goes to a part of the results.

    Parameters
    ----------
    unit : int
    part : int
        Copy of the results that it may change (`contract.Batch`).
    work : named tuple
        Its type says what is done.
    """
    BODIES[type(work)](unit, part, work)


def body_by_type(unit, part, work):  # type: ignore[no-untyped-def] # Numba compares it with a body, annotations too
    """The compiled `do_unit`."""
    body: Any = BODIES[work.instance_class]
    return body.py_func


device_by_type(do_unit)(body_by_type)
