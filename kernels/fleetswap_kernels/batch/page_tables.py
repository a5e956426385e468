"""Page tables of many processes as arrays: what the census reads, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..device.batch.census import WINDOW_PAGES

Ints = npt.NDArray[np.int64]
MAX_PAGE = 1 << 51
"""Virtual page numbers of a 64-bit address space are below."""


@dataclass(frozen=True)
class PageTables:
    """Page tables of any number of processes, region after region.

    Parameters
    ----------
    pte : uint64 array of shape (pages,)
        Page-table words as in /proc/PID/pagemap (`words`), of NumPy or of CuPy.
    region_offset : int64 array of shape (regions + 1,)
        Region r has the words region_offset[r] to region_offset[r + 1] - 1; the first is 0, the last `pages`.
    region_start : int64 array of shape (regions,)
        Virtual page number (address / 4096) of the first page of each region.
    process_offset : int64 array of shape (processes + 1,)
        Process p has the regions process_offset[p] to process_offset[p + 1] - 1.
    process_area : int64 array of shape (processes,)
        The swap area that swap type 0 is for each process; the areas of larger types follow it. All 0 if the
        processes are of one device, or if nothing is known about slots.
    first_page : int
        Place of the first page in the tables that these are a part of; messages name pages by it.

    Raises
    ------
    ValueError
        If they do not fit together; the message names the array, the value and what is allowed.
    """

    pte: Any
    region_offset: Ints
    region_start: Ints
    process_offset: Ints
    process_area: Ints
    first_page: int = 0

    def __post_init__(self) -> None:
        if self.pte.ndim != 1 or self.pte.dtype != np.uint64:
            raise ValueError(f"pte has shape {self.pte.shape} and type {self.pte.dtype}; expected (pages,) and uint64")
        check_offsets("region_offset", self.region_offset, "pages", self.pages)
        check_offsets("process_offset", self.process_offset, "regions", self.regions)
        check_range("region_start", self.region_start, self.regions, 0, MAX_PAGE)
        check_range("process_area", self.process_area, self.processes, 0, MAX_PAGE)

    @property
    def pages(self) -> int:
        """Number of pages."""
        return int(self.pte.shape[0])

    @property
    def regions(self) -> int:
        """Number of regions."""
        return len(self.region_offset) - 1

    @property
    def processes(self) -> int:
        """Number of processes."""
        return len(self.process_offset) - 1

    @property
    def region_window(self) -> Ints:
        """Windows of the census before each region and of all, int64 array of shape (regions + 1,).

        A window is an aligned part of address space; a region has all that it touches.
        """
        pages = np.diff(self.region_offset)
        end = self.region_start + pages
        windows = np.where(pages > 0, -(-end // WINDOW_PAGES) - self.region_start // WINDOW_PAGES, 0)
        return np.concatenate([[0], np.cumsum(windows)]).astype(np.int64)

    def part(self, first: int, end: int) -> PageTables:
        """The processes `first` to `end` - 1, without copying their words."""
        region, last = int(self.process_offset[first]), int(self.process_offset[end])
        page, stop = int(self.region_offset[region]), int(self.region_offset[last])
        return PageTables(
            self.pte[page:stop],
            self.region_offset[region : last + 1] - page,
            self.region_start[region:last],
            self.process_offset[first : end + 1] - region,
            self.process_area[first:end],
            self.first_page + page,
        )


def check_offsets(name: str, offsets: Ints, what: str, items: int) -> None:
    """Refuse offsets of rows that do not cut `items` items into rows.

    Parameters
    ----------
    name : str
        What errors call the array.
    offsets : int64 array of shape (rows + 1,)
        Row r has the items offsets[r] to offsets[r + 1] - 1.
    what : str
        What errors call the items.
    items : int
        Number of items, which the last offset has to be.

    Raises
    ------
    ValueError
    """
    if offsets.ndim != 1 or offsets.dtype != np.int64 or len(offsets) == 0:
        raise ValueError(f"{name} has shape {offsets.shape} and type {offsets.dtype}; expected (rows + 1,) and int64")
    if offsets[0] != 0:
        raise ValueError(f"{name}[0] is {offsets[0]}; expected 0")
    falling = np.flatnonzero(np.diff(offsets) < 0)
    if len(falling):
        i = int(falling[0]) + 1
        raise ValueError(f"{name}[{i}] is {offsets[i]}; expected at least {offsets[i - 1]}, the offset before it")
    if offsets[-1] != items:
        raise ValueError(f"{name}[{len(offsets) - 1}] is {offsets[-1]}; expected {items}, the number of {what}")


def check_range(name: str, values: Ints, length: int, least: int, most: int) -> None:
    """Refuse an array of another length or with values out of range.

    Parameters
    ----------
    name : str
        What errors call the array.
    values : int64 array of shape (length,)
    length : int
        Number of values there have to be.
    least, most : int
        Smallest and greatest value allowed, in the unit of the values.

    Raises
    ------
    ValueError
    """
    if values.shape != (length,) or values.dtype != np.int64:
        raise ValueError(f"{name} has shape {values.shape} and type {values.dtype}; expected ({length},) and int64")
    bad = np.flatnonzero((values < least) | (values > most))
    if len(bad):
        i = int(bad[0])
        raise ValueError(f"{name}[{i}] is {values[i]}; allowed are {least} to {most}")
