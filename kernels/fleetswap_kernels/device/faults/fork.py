"""fork: a child that shares every page and swap entry (spec 04 §4.10; mm/memory.c copy_page_range)."""

import numpy as np

from ...compile.decorators import device
from ...layout.device import (
    PROC_MAJFLT, PROC_PMD, PROC_PTE, PROC_WORDS, VMA_FLAGS, VMA_PAGES, VMA_PMD, VMA_PTE, VMA_WORDS,
)  # fmt: skip
from ...layout.errors import COUNT_OVERFLOW
from ...layout.words import (
    KIND_SHIFT, MAP_COUNT, MAP_MAX, PRESENT, PTE_EXCLUSIVE, PTE_PAYLOAD, SWAP, VMA_ANON, VMA_USED,
)  # fmt: skip
from ..access import byte, copy_words, fail, set_byte, set_word, word
from ..content.identity import new_identity
from ..regions import pmd_at, proc_at, pte_at, vma_at


@device
def share_page(dev, o_from, o_to):
    """Copy one PTE; from now on neither side is exclusive."""
    pte = word(dev, o_from)
    kind = pte >> KIND_SHIFT
    if kind == SWAP:
        o = dev.o_map + (pte & PTE_PAYLOAD)
        value = byte(dev, o)
        if value & MAP_COUNT == MAP_MAX:
            fail(dev, COUNT_OVERFLOW, pte & PTE_PAYLOAD)
            return
        set_byte(dev, o, value + 1)
        pte &= ~PTE_EXCLUSIVE
        set_word(dev, o_from, pte)
    elif kind == PRESENT:
        o = dev.o_mapcount + (pte & PTE_PAYLOAD)
        set_byte(dev, o, byte(dev, o) + 1)
        pte &= ~PTE_EXCLUSIVE
        set_word(dev, o_from, pte)
    set_word(dev, o_to, pte)


@device(cpu="call")
def fork_process(dev, p, child):
    """Make process `child` a copy of `p`; its PTEs stand in its own part of the PTE array."""
    o_parent = proc_at(dev, p)
    o_child = proc_at(dev, child)
    pte_base = word(dev, o_child + PROC_PTE)
    pmd_base = word(dev, o_child + PROC_PMD)
    copy_words(dev, o_child, o_parent, PROC_WORDS)
    set_word(dev, o_child + PROC_PTE, pte_base)
    set_word(dev, o_child + PROC_PMD, pmd_base)
    set_word(dev, o_child + PROC_MAJFLT, 0)
    new_identity(dev, o_child)
    for v in range(np.int64(dev.n_vmas)):
        o_from = vma_at(dev, p, v)
        o_to = vma_at(dev, child, v)
        copy_words(dev, o_to, o_from, VMA_WORDS)
        if word(dev, o_from + VMA_FLAGS) & VMA_USED == 0:
            continue
        set_word(dev, o_to + VMA_PTE, word(dev, o_from + VMA_PTE) - word(dev, o_parent + PROC_PTE) + pte_base)
        set_word(dev, o_to + VMA_PMD, word(dev, o_from + VMA_PMD) - word(dev, o_parent + PROC_PMD) + pmd_base)
        pages = word(dev, o_from + VMA_PAGES)
        if dev.n_expect:
            copy_words(
                dev,
                np.int64(dev.o_expect) + word(dev, o_to + VMA_PTE),
                np.int64(dev.o_expect) + word(dev, o_from + VMA_PTE),
                pages,
            )
        if word(dev, o_from + VMA_FLAGS) & VMA_ANON == 0:
            continue
        for page in range(pages):
            share_page(dev, pte_at(dev, o_from, page), pte_at(dev, o_to, page))
        first = pmd_at(dev, o_from, np.int64(0))
        for i in range(pmd_at(dev, o_from, pages - 1) - first + 1):
            set_byte(dev, pmd_at(dev, o_to, np.int64(0)) + i, byte(dev, first + i))
