"""Checks of zram: what its counters, blocks and pool must say about the slots (spec 08 §8.1-8.5)."""

from __future__ import annotations

import numpy as np

from fleetswap_kernels.device.content.identity import IDENTITY
from fleetswap_kernels.device.content.sizes import HUGE_BYTES
from fleetswap_kernels.device.zram.blocks import IN_BLOCK
from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout import device as layout
from fleetswap_kernels.layout import words as bits
from fleetswap_kernels.layout.content_model import RUN_COMPRESSED_SHIFT, RUN_HUGE_SHIFT, RUN_OBJECTS_SHIFT, RUN_SHARE
from fleetswap_kernels.layout.size_classes import HANDLE_BYTES, size_classes

from .arrays import Array, DeviceArrays
from .findings import Findings


def check_zram(dev: DeviceArrays, findings: Findings) -> None:
    """mm_stat, recounted from the slots and blocks; zspages and their groups (spec 08 §8.1-8.5)."""
    full = dev.stored.nonzero()[0]
    stored = dev.stored_bytes[full].astype(np.int64) if len(dev.stored_bytes) else np.zeros(len(full), dtype=np.int64)
    in_block = full[stored == IN_BLOCK]
    objects = full[(stored > 0) & (stored != IN_BLOCK)]
    size = dev.stored_bytes[objects].astype(np.int64) if len(objects) else np.zeros(0, dtype=np.int64)
    handle = dev.zhandle[objects] if len(dev.zhandle) else np.zeros(len(objects), dtype=np.uint32)
    blocks, block_size = _check_blocks(dev, in_block, findings)
    pool = int(dev.counter[counters.POOL_PAGES])
    findings.compare(int(dev.counter[counters.PAGES_STORED]), len(full), "pages_stored")
    findings.compare(int(dev.counter[counters.SAME_PAGES]), np.count_nonzero(stored == 0), "same_pages")
    findings.compare(int(dev.counter[counters.HUGE_PAGES]), np.count_nonzero(size == HUGE_BYTES), "huge_pages")
    total = int(size.sum()) + int(block_size.sum())
    findings.compare(int(dev.counter[counters.COMPR_DATA_SIZE]), total, "compr_data_size")
    table = full[dev.stored[full] < IDENTITY]
    if len(table) and dev.stored[table].max() >= len(dev.content_bytes):
        findings.report("zram stores a content that does not exist")
        return
    if len(table) and not len(dev.block):
        content_size = dev.content_bytes[dev.stored[table]]
        have = dev.stored_bytes[table] if len(dev.stored_bytes) else np.zeros(len(table), dtype=np.int64)
        findings.forbid(content_size != have, "a slot stores its page with another size than its content has")
    limit = dev.scalar("mem_limit_pages")
    if pool > int(dev.counter[counters.MAX_USED_PAGES]) or (limit and pool > limit):
        findings.report(f"the pool has {pool} pages, more than its peak or its limit")
    size = np.concatenate([size, block_size])
    handle = np.concatenate([handle, blocks])
    if not len(dev.zspage):
        _check_packed(dev, size, findings)
        _check_runs(dev, findings)
        return
    used = np.bincount(handle, minlength=len(dev.zspage))
    if len(used) != len(dev.zspage):
        findings.report("an object lives in a zspage that does not exist")
        return
    info, after = dev.zspage[:, layout.ZSPAGE_INFO], dev.zspage[:, layout.ZSPAGE_NEXT]
    findings.forbid(info[handle] >> 16 != _classes(dev, size), "an object lives in a zspage of another class")
    findings.forbid(info & 0xFFFF != used, "the objects of a zspage differ from the slots that store in it")
    pages = 0
    unused = np.ones(len(dev.zspage), dtype=bool)
    for group in (dev.zgroup != bits.NIL).nonzero()[0].tolist():
        size_class, fullness = divmod(group, layout.ZGROUPS)
        zclass = int(dev.zclass[size_class, layout.ZCLASS_INFO])
        room = zclass & 0xFFFF
        name = f"zspage group {fullness} of class {size_class}"
        for z in findings.walk_list(int(dev.zgroup[group]), after, dev.zspage[:, layout.ZSPAGE_PREV], name):
            unused[z] = False
            pages += zclass >> 16
            n = int(used[z])
            want = 11 if n == room else 100 * n // room // 10 + 1
            if want != fullness or int(info[z]) >> 16 != size_class or not 0 < n <= room:
                findings.report(f"zspage {z} with {n} of {room} objects is in {name}")
    findings.compare(pool, pages, "pool_pages")
    findings.forbid(unused & (used > 0), "a zspage with objects is in no group")
    rest = unused.nonzero()[0]
    chain = np.bincount(np.append(after[rest], dev.scalar("zspage_unused")) + 1 & bits.NIL, minlength=len(unused) + 1)
    if not np.array_equal(chain[1:] > 0, unused) or chain[0] != 1:
        findings.report("the chain of unused zspages does not hold each of them once")


def _classes(dev: DeviceArrays, size: Array) -> Array:
    """Size class of every object."""
    if not len(dev.block):
        return dev.zraw[size]
    return _by_size(size, dev.scalar("block_order"), dev.zraw, dev.zstep)


def _by_size(size: Array, order: int, of_bytes: Array, of_step: Array) -> Array:
    """What tables say of sizes: one of those up to a page by bytes, one of those above by steps of blocks."""
    steps = np.clip(-(-(size + HANDLE_BYTES - HUGE_BYTES) // (16 << order)), 0, 256)
    return np.where(size > HUGE_BYTES, of_step[steps], of_bytes[np.minimum(size, HUGE_BYTES)])


def _check_blocks(dev: DeviceArrays, in_block: Array, findings: Findings) -> tuple[Array, Array]:
    """Live slots and dead bytes of every block; zspages and sizes of those that are stored."""
    if not len(dev.block):
        findings.compare(len(in_block), 0, "slots of blocks")
        return np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.int64)
    order = dev.scalar("block_order")
    info = dev.block[:, layout.BLOCK_INFO].astype(np.int64)
    live = info >> layout.BLOCK_LIVE_SHIFT
    size = info & layout.BLOCK_BYTES
    recount = np.bincount(in_block >> order, minlength=len(info))
    findings.forbid(live != recount, "the live slots of a block differ from those that say they are in it")
    findings.forbid((live == 0) != (size == 0), "a block has bytes and no slot, or the other way round")
    findings.forbid(dev.map[in_block] == 0, "a block holds a slot that the swap layer has freed")
    dead = size * ((1 << order) - live) >> order
    findings.compare(int(dev.counter[counters.DEAD_BYTES]), int(dead[live > 0].sum()), "dead_bytes")
    waiting = dev.block[:, layout.BLOCK_NEXT]
    if dev.scalar("sparse_blocks") or waiting.any():
        findings.report("a block waits to be rewritten after the operation that made it sparse")
    stored = live > 0
    return dev.block[stored, layout.BLOCK_HANDLE], size[stored]


def _check_packed(dev: DeviceArrays, size: Array, findings: Findings) -> None:
    """A pool without zspage records has the bytes that its objects take of full zspages."""
    taken = int(_shares(size, dev.scalar("block_order")).sum())
    findings.compare(int(dev.counter[counters.POOL_BYTES]), taken, "pool_bytes")
    findings.compare(int(dev.counter[counters.POOL_PAGES]), -(-taken // HUGE_BYTES), "pool_pages")


def _shares(size: Array, order: int) -> Array:
    """Bytes that objects take of full zspages."""
    classes = size_classes(block_order=order)
    of_class = _by_size(size, order, classes.class_of_bytes, classes.class_of_step)
    objects = classes.class_objects[of_class].astype(np.int64)
    zspage_bytes = HUGE_BYTES * classes.class_pages[of_class].astype(np.int64)
    return np.floor(zspage_bytes / objects + 0.5).astype(np.int64)


def _check_runs(dev: DeviceArrays, findings: Findings) -> None:
    """The record of every whole run says what its slots do."""
    full_runs = dev.run.nonzero()[0]
    slots = full_runs[:, None] * layout.RUN_SLOTS + np.arange(layout.RUN_SLOTS)
    record = dev.run[full_runs].astype(np.int64)
    size = dev.stored_bytes[slots].astype(np.int64)
    findings.forbid((dev.stored[slots] == 0).any(1), "a whole run has an empty slot")
    recount = {
        "bytes of zspages": (record & RUN_SHARE, (_shares(size, 0) * (size > 0)).sum(1)),
        "compressed bytes": (record >> RUN_COMPRESSED_SHIFT & RUN_SHARE, size.sum(1)),
        "huge pages": (record >> RUN_HUGE_SHIFT & 31, (size == HUGE_BYTES).sum(1)),
        "objects": (record >> RUN_OBJECTS_SHIFT & 31, (size > 0).sum(1)),
    }
    for name, (have, want) in recount.items():
        findings.forbid(have != want, f"the {name} of a whole run differ from those of its slots")
