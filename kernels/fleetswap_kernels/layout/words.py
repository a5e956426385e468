"""Bit layouts of PTEs, swap_map bytes, frame words and cluster words (spec 01 §1.1-1.4)."""

MAX_ORDER = 9
"""Largest folio order on x86-64 and arm64 with 4 KiB pages: PMD_ORDER."""
N_ORDERS = 10
CLUSTER_SLOTS = 512
SWAP_BATCH = 64
"""Entries of each half of a per-CPU slot cache (include/linux/swap_slots.h)."""
ANON_ORDERS = 0x3FC
"""Orders 2..9 as a mask: order 1 is never used for anonymous memory."""
FAULT_ORDERS = 0x1FC
"""Orders 2..8: what a PTE-level fault may allocate."""

NIL = 0xFFFFFFFF
"""End of a cluster list, no cluster, no zspage."""

# PTE: one uint32. A frame number and a slot number share the payload, so a device has at most 2^24 of each (64 GiB).
PTE_PAYLOAD = 0xFFFFFF
PTE_EXCLUSIVE = 1 << 24
"""Anon-exclusive; for a present PTE the same as writable, since every region of a script may be written."""
PTE_DIRTY = 1 << 25
PTE_ZAPPED = 1 << 26
"""Unmapped already, but its swap-cache folio is still to be released with the TLB batch (spec 04 §4.7)."""
KIND_SHIFT = 30
NONE, ZERO, PRESENT, SWAP = range(4)
PTE_ZERO = ZERO << KIND_SHIFT
PTE_PRESENT = PRESENT << KIND_SHIFT
PTE_SWAP = SWAP << KIND_SHIFT

# swap_map byte, the kernel's own encoding
MAP_COUNT = 0x3F
MAP_MAX = 0x3E
MAP_BAD = 0x3F
HAS_CACHE = 0x40

# Frame word. The slot is valid on the head of a folio in the swap cache, the link on the head of a free block.
FRAME_LINK = 0xFFFFFF
FRAME_NIL = 0xFFFFFF
FRAME_ORDER_SHIFT = 24
FRAME_DIRTY = 1 << 28
FRAME_CACHED = 1 << 29
FRAME_PARTIAL = 1 << 30
"""Large folio: partially mapped and on the deferred-split queue."""
FRAME_READAHEAD = 1 << 30
"""Order-0 folio: brought in by readahead and not yet used."""
FRAME_FREE = 1 << 31
FRAME_VACANT = FRAME_FREE | 15 << FRAME_ORDER_SHIFT
"""During a compaction: free and on no list."""
MAX_BLOCK_ORDER = 10
"""Largest block of the buddy allocator (MAX_PAGE_ORDER)."""

# Cluster word: count, order, flags
CLUSTER_COUNT = 0x3FF
CLUSTER_ORDER_SHIFT = 10
CLUSTER_FLAGS_SHIFT = 14
FLAG_FREE = 1
FLAG_NONFULL = 2
FLAG_FRAG = 4
FLAG_FULL = 8

LIST_FREE = 0
LIST_FULL = 1
LIST_NONFULL = 2
LIST_FRAG = 12
N_LISTS = 22

# State of a 2 MiB range of a region
PMD_NONE, PMD_TABLE, PMD_HUGE, PMD_HUGE_ZERO = range(4)

# Region flags
VMA_USED = 1
VMA_HUGEPAGE = 2
VMA_NOHUGEPAGE = 4
VMA_UFFD = 8
VMA_ANON = 16
"""A page has been written: fork copies page tables of such regions only (vma_needs_copy, mm/memory.c)."""

# Contents: 0 nothing, 1 a page of zeros, others index the content table
CONTENT_NONE, CONTENT_ZERO = range(2)

# Global THP setting
THP_NEVER, THP_MADVISE, THP_ALWAYS = range(3)
