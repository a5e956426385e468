"""A bench phone: a tiny one that runs no apps and does what it is told."""

from __future__ import annotations

import numba
import numpy as np

from fleetswap.check.device import Checker
from fleetswap.workload import metrics
from fleetswap_kernels.compile.cpu_linker import WholeProgramCompiler
from fleetswap_kernels.compile.views import device_at
from fleetswap_kernels.device.memory.buddy import frames_give, frames_take
from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout import device as layout
from fleetswap_kernels.layout import operations as ops
from fleetswap_kernels.layout import words as bits
from tests.properties.contents import wrong_pages
from tests.properties.phones import ready, tiny

COLUMN = metrics.columns()


def folio_frames(dev):
    """Frames of all folios that a PTE maps or the swap cache holds, each once."""
    present = dev.pte[dev.pte >> bits.KIND_SHIFT == bits.PRESENT] & bits.PTE_PAYLOAD
    cached = dev.cache[dev.cache != 0] - 1
    frames = np.concatenate([present, cached]).astype(np.int64)
    order = dev.frame[frames].astype(np.int64) >> bits.FRAME_ORDER_SHIFT & 15
    heads = set(zip((frames >> order << order).tolist(), order.tolist(), strict=True))
    return sum(1 << order for _, order in heads)


def out_of_reach(dev):
    """Mapped pages none of whose PTEs lies in a block that reclaim looks at."""
    generations = dev.by[dev.scalar("o_gen") :][: dev.scalar("n_gens")]
    present = (dev.pte >> bits.KIND_SHIFT == bits.PRESENT).nonzero()[0]
    frame = dev.pte[present] & bits.PTE_PAYLOAD
    seen = np.bincount(frame, weights=generations[present // layout.GEN_PTES] > 0, minlength=dev.frames)
    return np.count_nonzero(seen[frame] == 0)


# Rules of memory that runs short, by hand. A bench phone runs no apps: every operation is given.

SMALL_ONLY = ("policy.mthp.16K=never", "policy.mthp.64K=never")


FOLIOS_64K = ("policy.mthp.16K=never",)


SWAP = ("device_class.phone.zram=200p",)


"""2048 slots: clusters that large folios can have to themselves."""


ROOM = ("app_class.large.anon_5min_mib=330",)


"""Makes room for more than 500 PTEs in a process."""


CALM = {"min_free": 0, "low_free": 0, "high_free": 0}


FRAMES = 512


"""Half of 1 GiB, in pages of 1 MiB."""


START = 0x10000


WRITTEN = 32


"""Content class 0, version 1."""


# As the entry points are: linked any other way, a call of a rare function may end in the code of another program.
compiled = numba.njit(pipeline_class=WholeProgramCompiler, error_model="numpy")


@compiled
def take_frames(arena, base, order):
    return frames_take(device_at(arena, base, 0), order, counters.BROKEN_BY_FOLIOS)


@compiled
def give_frames(arena, base, frame, order):
    frames_give(device_at(arena, base, 0), frame, order)


class Bench:
    """A tiny phone that does what it is told."""

    def __init__(self, *chosen, swap_cache=True, **fields):
        self.scenario = tiny("policy.lmkd.enabled=false", *chosen)
        self.arena, _ = ready(self.scenario, swap_cache=swap_cache)
        self.record = self.arena.records[0]
        self.set(**CALM | fields)
        self.checker = Checker(self.arena.view(0))
        self.dev = self.checker.dev
        self.do((ops.PROC, 0))

    def set(self, **fields):
        for name, value in fields.items():
            self.record[name] = value
        return self

    def get(self, name):
        return self.dev.scalar(name)

    def count(self, name):
        return int(self.dev.counter[COLUMN[name]])

    def do(self, *rows):
        """Execute operations; the device must be sound after each."""
        for row in rows:
            program = np.zeros((1, ops.OP_WORDS), dtype=np.uint32)
            program[0, : len(row)] = row
            self.arena.run(program, 0, 1)
            assert self.checker.violations() == [], row
            assert len(wrong_pages(self.checker)) == 0
        return self

    def map(self, p, v, pages, at=0):
        """A region whose first PTE and page are number `at`."""
        return self.do((ops.MAP, p, v, pages, START + at, 0, at, at // 512 + 2 * v))

    def poke(self, p, v, page, n=1):
        """Make pages of zeros: what is swapped out of them needs no pool."""
        return self.do((ops.TOUCH, p, v, page, n, ops.POKE))

    def write(self, p, v, page, n=1):
        return self.do((ops.TOUCH, p, v, page, n, ops.WRITE, WRITTEN, ops.MODELLED))

    def read(self, p, v, page, n=1):
        return self.do((ops.TOUCH, p, v, page, n, ops.READ))

    def force(self, p, v, page, pages):
        """A fault that has to evict so many pages first."""
        self.set(min_free=self.get("frames_free") + pages, direct_pages=pages)
        self.poke(p, v, page)
        self.set(min_free=0)
        return self

    def kinds(self, p, first, n):
        """Kinds of PTEs of a process."""
        at = p * (len(self.dev.pte) // self.dev.procs) + first
        return (self.dev.pte[at : at + n] >> bits.KIND_SHIFT).tolist()

    def present(self, p, first, n):
        return self.kinds(p, first, n).count(bits.PRESENT)

    def swapped(self, p, first, n):
        return self.kinds(p, first, n).count(bits.SWAP)

    def take(self, order):
        """A block of frames for a folio; -1 if there is none."""
        frame = take_frames(self.arena.records, self.arena.base, order)
        if frame >= 0:
            self.dev.frame[frame : frame + (1 << order)] = order << bits.FRAME_ORDER_SHIFT
        return frame

    def give(self, frame, order):
        give_frames(self.arena.records, self.arena.base, frame, order)

    def generation(self, p, block):
        """Byte of a block of 16 PTEs of a process: 0 for one that reclaim does not look at."""
        return int(self.dev.by[self.get("o_gen") + p * (len(self.dev.pte) // self.dev.procs) // 16 + block])
