"""Generations of pages: who was used when, as MGLRU keeps it (mm/vmscan.c, CONFIG_LRU_GEN), by 64 KiB of address space.

An approximation: the kernel has a generation per folio and moves it when it finds its accessed bit; here a block of 16
PTEs gets the youngest generation when an operation touches one of them. As in the kernel the two youngest generations
are not evicted, and a new one begins when no older one is left.
"""

import numpy as np

from ...compile.decorators import device
from ...layout.device import GEN_PTES, VMA_PTE
from ...layout.words import KIND_SHIFT, PRESENT, PTE_PAYLOAD
from ..access import byte, fill_bytes, set_byte, word
from ..orders import pages_of
from ..regions import pte_at
from .buddy import frame_order

MIN_GENERATIONS = 2
"""Youngest generations that are not evicted (MIN_NR_GENS)."""
GENERATIONS = 255
"""Numbers of generations, which come around again. A block's byte is its generation plus 1; 0 if it holds no page."""


@device
def stamp_pages(dev, o_vma, page, pages):
    """Note that pages of a region are used: their blocks join the youngest generation."""
    pte = word(dev, o_vma + VMA_PTE) + page
    first = pte // GEN_PTES
    fill_bytes(dev, np.int64(dev.o_gen) + first, (pte + pages - 1) // GEN_PTES - first + 1, np.int64(dev.max_gen) + 1)


@device
def stamp_folio(dev, o_vma, page):
    """Note that a folio is used which a fault has just mapped; its blocks may have been forgotten meanwhile."""
    stamp_pages(dev, o_vma, page, np.int64(1))
    pte = word(dev, pte_at(dev, o_vma, page))
    if pte >> KIND_SHIFT == PRESENT:
        frame = pte & PTE_PAYLOAD
        n = pages_of(frame_order(dev, frame))
        if n > GEN_PTES:
            stamp_pages(dev, o_vma, page - (frame & (n - 1)), n)


@device
def age_of(dev, block):
    """How many generations older than the youngest a block of PTEs is; -1 if it holds no page."""
    generation = byte(dev, dev.o_gen + block) - 1
    if generation < 0:
        return np.int64(-1)
    return younger_by(generation, np.int64(dev.max_gen))


@device
def younger_by(a, b):
    """How many generations `b` is younger than `a`."""
    return b - a if b >= a else b - a + GENERATIONS


@device
def next_generation(generation):
    """The generation that follows."""
    return generation + 1 if generation + 1 < GENERATIONS else np.int64(0)


@device
def oldest_age(dev):
    """Age of the oldest generation; a new one begins if it is too young to be evicted (try_to_inc_max_seq)."""
    for _ in range(MIN_GENERATIONS):
        if younger_by(np.int64(dev.min_gen), np.int64(dev.max_gen)) < MIN_GENERATIONS:
            dev.max_gen = np.uint32(next_generation(np.int64(dev.max_gen)))
    return younger_by(np.int64(dev.min_gen), np.int64(dev.max_gen))


@device
def promote_block(dev, block):
    """Put a block whose pages could not be evicted one generation up."""
    set_byte(dev, dev.o_gen + block, next_generation(np.int64(dev.min_gen)) + 1)


@device
def clear_block(dev, block):
    """Note that a block holds no page any more."""
    set_byte(dev, dev.o_gen + block, 0)


@device
def retire_oldest(dev):
    """The oldest generation is empty: the next one is the oldest now (try_to_inc_min_seq)."""
    dev.min_gen = np.uint32(next_generation(np.int64(dev.min_gen)))
