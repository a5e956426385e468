"""Streams of random numbers: one for each purpose of draws, so that none sees the numbers of another."""

from enum import IntEnum, unique


@unique
class Stream(IntEnum):
    """Purposes of draws (`rng`)."""

    OPERATION = 0
    """What a random operation of a program touches."""
    BLOCK = 1
    REGION = 2
    PAGE = 3
    SCALE = 4
    RUN = 5
    """Contents: of a block, a region, a page, a process, a run of blocks."""
    FOLIO = 6
    """Whether a large folio can be had."""
    SHAPE = 7
    """Where runs of pages lie in an app."""
    SWITCH = 8
    """What happens at a switch."""
    APP = 9
    """What an app is."""
    USER = 10
    """Who the user of a phone is."""
