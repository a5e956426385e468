"""The content model in memory: prototypes of measured 64 KiB blocks, shared by all devices of an arena.

A class of content is 256 prototype blocks, each with the compressed size of its 16 pages and of its 8, 16, 32 and
64 KiB sub-blocks for every codec; a table of gains serves blocks that are no prototype. Built from a content library
(`fleetswap.scenario.content_library`), read by `identity` and `compressed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .codecs import CODECS
from .exact_view import view_class
from .headers import header_type, places
from .pages import PAGE_BYTES
from .size_classes import size_classes

PROTOTYPES = 256
BLOCK_PAGES = 16
"""Pages of a prototype."""
PROTOTYPE_SIZES = 31
"""Sizes of a prototype for one codec: 16 pages, 8 blocks of two, 4 of four, 2 of eight, 1 of sixteen."""
GAIN_ORDERS = 10
GAIN_BINS = 8
GAIN_KNOTS = 17
SCALES = 32
SCALE_ONE = 16
"""Scale level that leaves sizes as they were measured; a level is a factor of 2^(1/8)."""
SCALE_SHIFT = 12


@unique
class PageKind(IntEnum):
    """What a page of a prototype is."""

    ORDINARY = 0
    ZERO_PAGE = 1
    SAME_FILLED = 2


RUN_SHARE = 0x1FFFF
RUN_COMPRESSED_SHIFT = 17
RUN_HUGE_SHIFT = 34
RUN_OBJECTS_SHIFT = 39
RUN_CLASS_SHIFT = 44
RUN_WHOLE = 1 << 49
"""What the 16 pages of a prototype take in a pool, 64 bits: the bytes they take of full zspages, their compressed bytes
(17 bits each), pages that do not compress, pages that are not same-filled (5 bits each), class, and a 1."""

_FIELDS = ("n_classes", "o_sizes", "o_kind", "o_gain", "o_edges", "o_region", "o_run", "o_scale", "o_zero", "o_sums")
_ALIASES = {"h": "u2", "q": "u8"}
MODEL_BYTES = 64
ModelView = view_class("ModelView", places(_FIELDS))
"""A content model whose arrays have its true length."""
MODEL = header_type(places(_FIELDS), _ALIASES, MODEL_BYTES)
"""Header of a model. `h` and `q` alias its start as uint16 and uint64 and are indexed beyond their declared length,
like a device's; offsets count half-words, but for `o_sums`, which counts quads."""


@dataclass(frozen=True)
class ContentClasses:
    """Measured contents, by class.

    Parameters
    ----------
    names : tuple of str
    sizes : uint16 array of shape (classes, 256, 3, 31)
        Compressed bytes by prototype, codec of `CODECS` and sub-block; 65535 stands for 65535 and more.
    same : uint8 array of shape (classes, 256, 16)
        What a page of a prototype is (`PageKind`).
    edges : uint16 array of shape (classes, 3, 7)
        Mean bytes of a block's pages that part the bins of `gain_q15`.
    gain_q15 : uint16 array of shape (classes, 3, 10, 8, 17)
        Bytes of a block over the sum of its pages', in 2^-15, by block order, bin, and quantile in steps of 1/16.
    region_q16 : uint32 array of shape (classes,)
        Probability, in 2^-16, that a 64 KiB block resembles the other blocks of its 2 MiB region.
    run_q16 : uint32 array of shape (classes,)
        Probability, in 2^-16, that it resembles its neighbours, the 256 KiB around it, more than that.
    """

    names: tuple[str, ...]
    sizes: npt.NDArray[np.uint16]
    same: npt.NDArray[np.uint8]
    edges: npt.NDArray[np.uint16]
    gain_q15: npt.NDArray[np.uint16]
    region_q16: npt.NDArray[np.uint32]
    run_q16: npt.NDArray[np.uint32]

    @cached_property
    def model(self) -> npt.NDArray[np.uint8]:
        """What kernels read of them (`build_model`), made once: it takes half as long as a million pages do."""
        return build_model(self)


def resemblance_q16(inside_region: float, adjacent: float) -> tuple[int, int]:
    """Probabilities `region_q16` and `run_q16` that give blocks measured rank correlations.

    Two blocks correlate fully if both follow the same run, and else as far as both follow the region. Of adjacent
    blocks three in four pairs lie in one run of four, of all pairs of a region 3 in 31.

    Parameters
    ----------
    inside_region : float
        Intraclass correlation of 64 KiB blocks inside 2 MiB regions.
    adjacent : float
        Correlation of adjacent 64 KiB blocks.
    """
    region = min(max(inside_region, 0.0), 1.0)
    run = 0.0
    for _ in range(50):
        run = min(max((adjacent - region) / max(0.75 * (1 - region), 1e-9), 0.0), 1.0)
        share = run * 3 / 31
        region = min(max((inside_region - share) / (1 - share), 0.0), 1.0)
    return round(region**0.5 * 65536), round(run**0.5 * 65536)


def scale_factors() -> npt.NDArray[np.uint16]:
    """Factor of every scale level, in 2^-12: 2^((level - 16) / 8), rounded."""
    levels = np.arange(SCALES) - SCALE_ONE
    factors: npt.NDArray[np.uint16] = np.rint(2 ** (levels / 8) * (1 << SCALE_SHIFT)).astype(np.uint16)
    return factors


def zero_block_bytes(classes: ContentClasses) -> npt.NDArray[np.uint16]:
    """Bytes of zero-filled blocks of orders 0 to 4: medians of those in the prototypes, shape (5, 3)."""
    medians = np.zeros((5, len(CODECS)), dtype=np.uint16)
    for order in range(5):
        n = BLOCK_PAGES >> order
        zero = (classes.same == PageKind.ZERO_PAGE).reshape(*classes.same.shape[:2], n, 1 << order).all(-1)
        first = 2 * BLOCK_PAGES - (2 * BLOCK_PAGES >> order)
        sizes = classes.sizes[:, :, :, first : first + n].transpose(0, 1, 3, 2)[zero]
        if len(sizes):
            medians[order] = np.median(sizes, axis=0)
        elif order:
            medians[order] = 2 * medians[order - 1]
    return medians


def run_sums(classes: ContentClasses) -> npt.NDArray[np.uint64]:
    """What whole prototypes take in a pool, as `RUN_WHOLE` says, by codec and scale; shape (classes, 256, 3, 32)."""
    pool = size_classes()
    measured = classes.sizes[..., :BLOCK_PAGES].astype(np.uint32)
    ordinary = (classes.same == PageKind.ORDINARY)[:, :, None, :]
    by_class = np.arange(len(classes.names), dtype=np.uint64)[:, None, None] << np.uint64(RUN_CLASS_SHIFT)
    same_at_all_levels = by_class | ordinary.sum(-1).astype(np.uint64) << np.uint64(RUN_OBJECTS_SHIFT)
    sums = np.empty((*measured.shape[:3], SCALES), dtype=np.uint64)
    for level, factor in enumerate(scale_factors()):
        size = np.clip(measured * np.uint32(factor) >> np.uint32(SCALE_SHIFT), 1, PAGE_BYTES)
        huge = ordinary & (size >= pool.huge_threshold_bytes)
        size[huge] = PAGE_BYTES
        share = (pool.shares[size + 7 >> 4] * ordinary).sum(-1, dtype=np.uint64)
        compressed = (size * ordinary).sum(-1, dtype=np.uint64) << np.uint64(RUN_COMPRESSED_SHIFT)
        huge_pages = huge.sum(-1, dtype=np.uint64) << np.uint64(RUN_HUGE_SHIFT)
        sums[..., level] = share | compressed | huge_pages | same_at_all_levels | np.uint64(RUN_WHOLE)
    return sums


def build_model(classes: ContentClasses) -> npt.NDArray[np.uint8]:
    """Lay out a model.

    Parameters
    ----------
    classes : ContentClasses
        At most 31 classes.

    Returns
    -------
    uint8 array
        Its memory, a multiple of `MODEL_BYTES` long.
    """
    kinds = (classes.same.astype(np.uint16).reshape(-1, 2, 8) << (2 * np.arange(8, dtype=np.uint16))).sum(2)
    arrays: dict[str, npt.NDArray[Any]] = {
        "o_sizes": classes.sizes,
        "o_kind": kinds.astype(np.uint16),
        "o_gain": classes.gain_q15,
        "o_edges": classes.edges,
        "o_region": np.minimum(classes.region_q16, 0xFFFF).astype(np.uint16),
        "o_run": np.minimum(classes.run_q16, 0xFFFF).astype(np.uint16),
        "o_scale": scale_factors(),
        "o_zero": zero_block_bytes(classes),
        "o_sums": run_sums(classes),
    }
    at = MODEL_BYTES
    placed = {}
    for name, array in arrays.items():
        placed[name] = at
        at += -(-array.nbytes // MODEL_BYTES) * MODEL_BYTES
    memory = np.zeros(at, dtype=np.uint8)
    header = memory.view(MODEL)[0]
    header["n_classes"] = len(classes.names)
    for name, array in arrays.items():
        header[name] = placed[name] // array.itemsize
        memory[placed[name] : placed[name] + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return memory


@cache
def no_model() -> npt.NDArray[np.uint8]:
    """A model without classes, for programs whose contents are all in a table."""
    none = ContentClasses(
        (),
        np.zeros((0, PROTOTYPES, len(CODECS), PROTOTYPE_SIZES), np.uint16),
        np.zeros((0, PROTOTYPES, BLOCK_PAGES), np.uint8),
        np.zeros((0, len(CODECS), GAIN_BINS - 1), np.uint16),
        np.zeros((0, len(CODECS), GAIN_ORDERS, GAIN_BINS, GAIN_KNOTS), np.uint16),
        np.zeros(0, np.uint32),
        np.zeros(0, np.uint32),
    )
    memory = build_model(none)
    memory.setflags(write=False)
    return memory
