"""Stored size of real pages, by zram's compression algorithm (spec 08 §8.1, §8.4)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.host_calls import page_sizes
from fleetswap_kernels.layout.pages import PAGE_BYTES
from fleetswap_kernels.layout.size_classes import size_classes

ZSTD_LEVEL = 3
"""zram's default (drivers/block/zram/backend_zstd.c)."""


def stored_bytes(pages: npt.NDArray[np.uint8], algorithm: str) -> npt.NDArray[np.uint32]:
    """Bytes zram stores for each page.

    Parameters
    ----------
    pages : uint8 array of shape (n, 4096)
    algorithm : str
        One of `CODECS`; lzo-rle counts as lz4 here. lz4 is the model of the kernel's compressor, checked against
        its mm_stat; zstd is the library itself, whose format parameters zram leaves at their defaults.

    Returns
    -------
    uint32 array of shape (n,)
        0 for a page of equal words, 4096 for one that does not compress, else the compressed size.
    """
    if algorithm != "zstd":
        return page_sizes(pages).astype(np.uint32)
    import zstandard

    words = pages.view(np.uint64)
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    huge = size_classes().huge_threshold_bytes
    sizes = np.zeros(len(pages), dtype=np.uint32)
    for i in np.flatnonzero((words != words[:, :1]).any(axis=1)):
        size = len(compressor.compress(pages[i].tobytes()))
        sizes[i] = PAGE_BYTES if size >= huge else size
    return sizes
