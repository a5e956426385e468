"""Random page tables and swap areas: mostly runs of consecutive slots, broken in every way that matters."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from fleetswap_kernels.batch.page_tables import PageTables
from fleetswap_kernels.batch.swap_areas import SwapAreas

PRESENT = 1 << 63
SWAPPED = 1 << 62
AREA_SLOTS = (1300, 1100, 1024)


@st.composite
def page_tables(draw, most_pages=700):
    """Regions whose pages are runs of a kind: none, present, swapped to consecutive slots, special entries."""
    words, offsets, starts, processes = [], [0], [], [0]
    for _ in range(draw(st.integers(1, 4))):
        regions = draw(st.integers(0, 3))
        processes.append(processes[-1] + regions)
        for _ in range(regions):
            start = draw(st.integers(0, 40) | st.integers(230, 530))
            starts.append(start)
            pages = draw(st.integers(0, 40) | st.integers(0, most_pages))
            end = len(words) + pages
            while len(words) < end:
                length = min(end - len(words), draw(st.sampled_from((1, 2, 4, 8, 16, 17, 64, 256, 300))))
                words += draw(_run(len(words) - offsets[-1] + start, length))
            offsets.append(len(words))
    areas = draw(st.lists(st.integers(0, 1), min_size=len(processes) - 1, max_size=len(processes) - 1))
    return PageTables(
        np.array(words, np.uint64),
        np.array(offsets, np.int64),
        np.array(starts, np.int64),
        np.array(processes, np.int64),
        np.array(areas, np.int64),
    )


@st.composite
def _run(draw, page, length):
    """Words of consecutive pages, the first of which has a virtual page number."""
    kind = draw(st.sampled_from(("none", "present", "special", "swap", "swap", "swap", "swap")))
    if kind == "none":
        return [0] * length
    if kind == "present":
        return [PRESENT | draw(st.sampled_from((0, SWAPPED, 1 << 56)))] * length
    if kind == "special":
        return [SWAPPED | draw(st.integers(23, 31)) | 100 + i << 5 for i in range(length)]
    # Congruent to the address modulo 256, 16 or nothing.
    base = draw(st.sampled_from((256, 16, 1)))
    slot = draw(st.integers(0, 2)) * 256 + page % base + draw(st.integers(0, 255)) // base * base
    kind_bits = draw(st.sampled_from((0, 0, 0, 1, 1 << 55, 1 << 56, 1 << 57)))
    slot = min(slot, min(AREA_SLOTS) - length)
    return [SWAPPED | kind_bits | slot + i << 5 for i in range(length)]


@st.composite
def swap_areas(draw):
    """Three areas whose slots are mostly in use once; some are shared, cached, free, of zeros, alone or in runs."""
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    rarity = draw(st.sampled_from((30, 100, 1000)))
    maps, zeromaps = [], []
    for slots in AREA_SLOTS:
        swap_map, zero = np.ones(slots, np.uint8), np.zeros(slots, np.uint8)
        for first in np.flatnonzero(random.integers(0, rarity, slots) == 0):
            length = random.choice((1, 1, 1, 3, 16, 64))
            if random.integers(3):
                swap_map[first : first + length] = random.choice((0, 2, 0x3E, 0x40, 0x41))
            else:
                zero[first : first + length] ^= 1
        maps.append(swap_map)
        zeromaps.append(np.packbits(zero, bitorder="little"))
    return SwapAreas.of(maps, zeromaps)
