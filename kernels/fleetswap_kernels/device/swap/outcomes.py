"""What reading swap slots ended with, where no folio is there to be named by its head frame."""

from enum import IntEnum, unique


@unique
class SwapRead(IntEnum):
    """Outcomes of a read of swap slots. The negative ones stand in place of a head frame."""

    SMALL_FOLIOS = -3
    """Nothing is read yet: `swapin_small` has to serve the fault, with a folio for each page."""
    FAILED = -2
    """The device is out of page frames, or another error word is set."""
    SLOTS_HELD = -1
    """Another fault holds the slots (swapcache_prepare failed)."""
    WAS_CACHED = 0
    """The slot is in the swap cache already."""
    READ = 1
    """The slot was read into the swap cache."""
