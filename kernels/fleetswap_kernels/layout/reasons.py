"""Why a large folio was not used: at swap-in, and at swap-out (spec 02 §2.1, 05 §5.3)."""

from enum import IntEnum, unique


@unique
class SwapinReason(IntEnum):
    """Why a fault on a swap entry brought in less than the largest size that sysfs and madvise ask for."""

    NOT_SMALLER = -2
    """It did not: the fault gets the largest size, or none is wanted."""
    REFUSED_LATER = -1
    """The block qualifies: what came after the choice of the order (allocation, charge, margin) refused it."""
    POLICY = 0
    ORDER_MISMATCH = 1
    VMA_BOUNDS = 2
    NOT_CONTIGUOUS = 3
    ZEROMAP_MIXED = 4
    SWAP_CACHE = 5
    ALLOCATION = 6
    CHARGE = 7
    MARGIN = 8


@unique
class SwapoutReason(IntEnum):
    """Why a large folio got no slots."""

    SWAP_FULL = 0
    NO_ALIGNED_HOLE = 1
    ORDER_MISMATCH = 2
    NOT_REACHED = 3
    CHARGE = 4


SWAPIN_REASONS = tuple(reason.name.lower() for reason in SwapinReason if reason >= 0)
"""Names of the reasons that are counted, in the order of their counters."""
SWAPOUT_REASONS = tuple(reason.name.lower() for reason in SwapoutReason)
"""The same of swap-out."""
