"""Checks of zram: what its counters and its pool must say about the slots (spec 08 §8.1-8.3)."""

from __future__ import annotations

import numpy as np

from fleetswap_kernels import bits, counters, layout

from .arrays import DeviceArrays
from .findings import Findings


def check_zram(dev: DeviceArrays, found: Findings) -> None:
    """mm_stat, recounted from the slots; zspages and their groups (spec 08 §8.1-8.3)."""
    if len(dev.content_bytes) <= dev.stored.max():
        found.say("zram stores a content that does not exist")
        return
    full = dev.stored.nonzero()[0]
    size = dev.content_bytes[dev.stored[full]]
    objects = full[size > 0]
    size = size[size > 0].astype(np.int64)
    pool = int(dev.counter[counters.POOL_PAGES])
    found.same(int(dev.counter[counters.PAGES_STORED]), len(full), "pages_stored")
    found.same(int(dev.counter[counters.SAME_PAGES]), len(full) - len(objects), "same_pages")
    found.same(int(dev.counter[counters.HUGE_PAGES]), np.count_nonzero(size == 4096), "huge_pages")
    found.same(int(dev.counter[counters.COMPR_DATA_SIZE]), int(size.sum()), "compr_data_size")
    limit = dev.scalar("mem_limit_pages")
    if pool > int(dev.counter[counters.MAX_USED_PAGES]) or (limit and pool > limit):
        found.say(f"the pool has {pool} pages, more than its peak or its limit")
    if not len(dev.zspage):
        return
    home = dev.zhandle[objects]
    used = np.bincount(home, minlength=len(dev.zspage))
    if len(used) != len(dev.zspage):
        found.say("an object lives in a zspage that does not exist")
        return
    info, after = dev.zspage[:, layout.ZSPAGE_INFO], dev.zspage[:, layout.ZSPAGE_NEXT]
    found.none(info[home] >> 16 != dev.zraw[size], "an object lives in a zspage of another class")
    found.none(info & 0xFFFF != used, "the objects of a zspage differ from the slots that store in it")
    pages = 0
    unused = np.ones(len(dev.zspage), dtype=bool)
    for group in (dev.zgroup != bits.NIL).nonzero()[0].tolist():
        size_class, fullness = divmod(group, layout.ZGROUPS)
        room = int(dev.zclass[size_class]) & 0xFFFF
        name = f"zspage group {fullness} of class {size_class}"
        for z in found.walk(int(dev.zgroup[group]), after, dev.zspage[:, layout.ZSPAGE_PREV], name):
            unused[z] = False
            pages += int(dev.zclass[size_class]) >> 16
            n = int(used[z])
            want = 11 if n == room else 100 * n // room // 10 + 1
            if want != fullness or int(info[z]) >> 16 != size_class or not 0 < n <= room:
                found.say(f"zspage {z} with {n} of {room} objects is in {name}")
    found.same(pool, pages, "pool_pages")
    found.none(unused & (used > 0), "a zspage with objects is in no group")
    rest = unused.nonzero()[0]
    chain = np.bincount(np.append(after[rest], dev.scalar("zspage_unused")) + 1 & bits.NIL, minlength=len(unused) + 1)
    if not np.array_equal(chain[1:] > 0, unused) or chain[0] != 1:
        found.say("the chain of unused zspages does not hold each of them once")
