"""Operation codes of a program: what scripts and generators are made of.

A program is a uint32 array of shape (n, 8): code, process, then six arguments.
"""

OP_WORDS = 8

PROC = 1
"""Create a process."""
MAP = 2
"""Region, pages, first virtual page, flags, first PTE and first 2 MiB range within the process."""
TOUCH = 3
"""Region, first page, pages, mode, content map entry, 1 if the entry advances with the page else 0.

With MODELLED in place of the advance, the entry is a content class plus 32 times the version of the write.
"""
PAGEOUT = 4
"""Region, first page, pages."""
DONTNEED = 5
"""Region, first page, pages."""
ADVISE = 6
"""Region, flags to clear, flags to set."""
UNMAP = 7
"""Region."""
EXIT = 8
FORK = 9
"""Child process."""
CPU = 10
"""CPU."""
THP = 11
"""Masks of the orders set to always, madvise, inherit; the global setting."""
SRAND = 12
"""Seed of glibc's rand()."""
RANDOM = 13
"""Region, pages per step, steps, 1 to discard the pages first, content map entry, its advance."""
FAULT_BEGIN = 14
"""Region, page, write: a swap-in halted after its read."""
FAULT_END = 15
"""Region, page, write: the rest of it, on the same CPU."""
ZSWAP = 16
"""zswap is enabled once: large swap-in is off for good."""
VERDICT = 17
"""Which request times 10 plus order, number of answers, answers as bits (low half, high half)."""

SWITCH = 18
"""Number of the app switch before which the phone's own operations end (`phone`): the row stands for all of them."""
GAUGE = 19
"""Mask of the orders for which contiguity is counted."""

MODELLED = 2
"""Advance of an entry that names a content class."""

READ, WRITE, POKE = range(3)
"""Touch modes; a poke is a write fault that changes nothing."""

EAGAIN = 11
ENOMEM = 12
EFAULT = 14
