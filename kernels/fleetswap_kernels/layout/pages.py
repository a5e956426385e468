"""Pages: the base page of the simulated kernels, and the orders of what is made of pages."""

PAGE_SHIFT = 12
PAGE_BYTES = 1 << PAGE_SHIFT
PAGE_KIB = PAGE_BYTES >> 10
MIB_PAGES = (1 << 20) >> PAGE_SHIFT
SIZES_KIB = tuple(PAGE_KIB << order for order in range(2, 10))
"""Sizes of folios of anonymous memory, orders 2 to 9 (mm/huge_memory.c, spec 06)."""


def order_of(size_bytes: int) -> int:
    """Order of a folio or block of so many bytes, which are a power of two of pages."""
    return (size_bytes >> PAGE_SHIFT).bit_length() - 1


def order_of_kib(size_kib: int) -> int:
    """The same of so many KiB."""
    return order_of(size_kib << 10)
