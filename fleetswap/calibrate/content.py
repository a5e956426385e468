"""Sizes of simulated pages and blocks of a class, as the content model yields them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.arena import Arena, Blueprint
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.host_calls import measure_blocks
from fleetswap_kernels.device.regions import PMD_PAGES
from fleetswap_kernels.layout import operations as ops
from fleetswap_kernels.layout import words as bits
from fleetswap_kernels.layout.codecs import CODECS
from fleetswap_kernels.layout.content_model import ContentClasses
from fleetswap_kernels.layout.device import Sizes
from fleetswap_kernels.layout.pages import PAGE_BYTES, PAGE_SHIFT
from fleetswap_kernels.layout.size_classes import SizeClasses, size_classes

from ..workload.laid_out import seed_fields
from .ranks import percentiles, rank_correlation

Sizes64 = npt.NDArray[np.int64]
START_PAGE = 1 << 32 >> PAGE_SHIFT << bits.MAX_ORDER
"""First page of the region that is measured: aligned to every block."""
RUN_PAGES = 1 << 20
"""Pages of one process; more are measured as several."""


@dataclass(frozen=True)
class BlockSizes:
    """Blocks of one class, codec and order.

    Parameters
    ----------
    raw, stored, members : int64 arrays of shape (blocks,)
        Bytes of the codec's output, of what zram stores (0 if same-filled, the whole block if it does not compress),
        and the sum of the output for the block's pages one by one.
    stored_members, pool_members : int
        Bytes that zram and zsmalloc take for the pages one by one.
    """

    raw: Sizes64
    stored: Sizes64
    members: Sizes64
    stored_members: int
    pool_members: int


def simulate_blocks(
    library: ContentClasses, name: str, codec: str, order: int, blocks: int, seed: int = 0, scaled: bool = False
) -> BlockSizes:
    """Fill memory with contents of a class and size its blocks.

    Parameters
    ----------
    library : ContentClasses
    name : str
        A class of it.
    codec : str
        One of `CODECS`.
    order : int
        Block order, 0 to 9.
    blocks : int
        How many.
    seed : int
        Seed of the contents.
    scaled : bool
        Whether processes differ in scale.
    """
    parts: list[tuple[Sizes64, Sizes64, Sizes64]] = []
    pages = np.zeros(PAGE_BYTES + 1, dtype=np.int64)
    most = RUN_PAGES >> order
    for process, first in enumerate(range(0, blocks, most)):
        n = min(most, blocks - first)
        arena = _filled(library.model, library.names.index(name), codec, order, n << order, seed, scaled, process)
        part = (np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64))
        measure_blocks(arena.records, arena.base, arena.models, order, *part, pages)
        parts.append(part)
    raw, stored, members = (np.concatenate(column) for column in zip(*parts, strict=True))
    by_size = np.repeat(np.arange(PAGE_BYTES + 1), pages)
    return BlockSizes(raw, stored, members, int(by_size.sum()), pool_bytes(by_size, 0))


def _filled(
    model: npt.NDArray[np.uint8],
    content_class: int,
    codec: str,
    order: int,
    pages: int,
    seed: int,
    scaled: bool,
    d: int,
) -> Arena:
    """A device with one process that has written a region once."""
    sizes = Sizes(
        slots=16,
        ptes=-(-pages // 16) * 16,
        pmds=pages // PMD_PAGES + 2,
        frames=pages + 1024,
        content_map=(1 << order) + 1,
        swap_cache=False,
        verify=False,
    )
    policy = {
        "codec": CODECS.index(codec),
        "huge_bytes": size_classes().huge_threshold_bytes,
        "huge_block_bytes": size_classes(block_order=order).huge_block_bytes,
        **seed_fields(seed),
        "scale_by_process": int(scaled),
    }
    blueprint = Blueprint(sizes, policy, np.zeros(2, np.uint32), np.ones((1 << order) + 1, np.uint32), model=model)
    arena = Arena([(blueprint, 1)], ONE_THREAD, first_id=d)
    program = np.zeros((3, ops.OP_WORDS), dtype=np.uint32)
    program[0, :2] = ops.PROC, 0
    program[1] = ops.MAP, 0, 0, pages, START_PAGE, bits.VMA_NOHUGEPAGE, 0, 0
    program[2] = ops.TOUCH, 0, 0, 0, pages, ops.WRITE, content_class, ops.MODELLED
    arena.init()
    arena.run(program, 0, len(program))
    return arena


def pool_bytes(stored: Sizes64, order: int) -> int:
    """zsmalloc memory of objects, zspages counted full: each has its share of the pages of a zspage of its class.

    Parameters
    ----------
    stored : int64 array
        Stored sizes of blocks of one order; 0 needs no object, a whole block is kept as it is.
    order : int
        Order of the blocks.
    """
    classes = size_classes(block_order=order)
    block = PAGE_BYTES << order
    total = float(np.count_nonzero(stored == block) * block)
    objects = stored[(stored > 0) & (stored < block)]
    index = class_of(classes, objects)
    per_class = np.bincount(index, minlength=len(classes.class_bytes))
    total += float((per_class * (classes.class_pages.astype(float) * PAGE_BYTES / classes.class_objects)).sum())
    return round(total)


def class_of(classes: SizeClasses, object_bytes: Sizes64) -> npt.NDArray[np.int64]:
    """Size class of objects that are not raw."""
    step_bytes = 16 << classes.block_order
    steps = np.clip(-(-(object_bytes + 8 - PAGE_BYTES) // step_bytes), 0, 256)
    small = classes.class_of_bytes[np.minimum(object_bytes, PAGE_BYTES)]
    return np.where(object_bytes > PAGE_BYTES, classes.class_of_step[steps], small).astype(np.int64)


def describe(classes: list[BlockSizes], order: int) -> dict[str, Any]:
    """Totals and quantiles of blocks of one or several classes, each with as many blocks.

    Returns
    -------
    dict
        ``blocks``, ``original_bytes``, then for the blocks and, under ``same_pages_4k``, for their pages one by one:
        ``raw_bytes``, ``stored_bytes``, ``zsmalloc_bytes``, ratios, ``mean_bytes`` and ``quantiles_bytes`` of a
        block (1 to 99 %); ``neighbour_rank_correlation`` of the raw sizes of adjacent blocks, mean over the classes.
    """
    raw = np.concatenate([blocks.raw for blocks in classes])
    stored = np.concatenate([blocks.stored for blocks in classes])
    members = np.concatenate([blocks.members for blocks in classes])
    original = len(raw) * PAGE_BYTES << order
    correlation = [rank_correlation(blocks.raw[:-1], blocks.raw[1:]) for blocks in classes if len(blocks.raw) > 2]
    stored_apart = sum(blocks.stored_members for blocks in classes)
    apart = _totals(members, stored_apart, sum(blocks.pool_members for blocks in classes), original)
    return {
        "blocks": len(raw),
        "pages": len(raw) << order,
        "original_bytes": original,
        **_totals(raw, int(stored.sum()), pool_bytes(stored, order), original),
        "same_filled_blocks": int(np.count_nonzero(stored == 0)),
        "incompressible_blocks": int(np.count_nonzero(stored == PAGE_BYTES << order)),
        "neighbour_rank_correlation": float(np.mean(correlation)) if correlation else None,
        "size_over_same_pages_4k": int(raw.sum()) / int(members.sum()),
        "same_pages_4k": {name: total for name, total in apart.items() if name != "ratio_zsmalloc"},
    }


def _totals(raw: Sizes64, stored_bytes: int, pool: int, original: int) -> dict[str, Any]:
    return {
        "raw_bytes": int(raw.sum()),
        "stored_bytes": stored_bytes,
        "zsmalloc_bytes": pool,
        "ratio_raw": original / int(raw.sum()),
        "ratio_zsmalloc": original / max(pool, 1),
        "mean_bytes": float(raw.mean()),
        "quantiles_bytes": percentiles(raw),
    }
