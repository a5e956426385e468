"""Findings of a check of a device: one line per broken rule."""

from __future__ import annotations

from typing import SupportsInt

import numpy as np

from fleetswap_kernels.layout import words as bits

from .arrays import Array


class Findings:
    """Collects broken rules.

    Attributes
    ----------
    lines : list of str
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def report(self, text: str) -> None:
        """Add a line."""
        self.lines.append(text)

    def forbid(self, wrong: Array, text: str) -> None:
        """Report the places where `wrong` is true."""
        n = np.count_nonzero(wrong)
        if n:
            self.report(f"{text}: {n} times, first at {int(wrong.nonzero()[0][0])}")

    def compare(self, got: SupportsInt, want: SupportsInt, text: str) -> None:
        """Report a total that differs from its recount."""
        if int(got) != int(want):
            self.report(f"{text}: {int(got)}, recounted {int(want)}")

    def walk_list(self, head: int, after: Array, before: Array, what: str) -> list[int]:
        """Members of a list, its links checked both ways; a list without an end is reported.

        Parameters
        ----------
        head : int
            Its first member, or NIL.
        after, before : uint32 array of shape (members,)
            The next and the previous member of each, or NIL.
        what : str
            Which list it is, for the report.
        """
        members: list[int] = []
        last = bits.NIL
        while head != bits.NIL:
            if head >= len(after) or len(members) == len(after):
                self.report(f"{what} does not end")
                break
            if before[head] != last:
                self.report(f"{what}: the link back from {head} is {int(before[head])}, not {last}")
            members.append(head)
            last, head = head, int(after[head])
        return members
