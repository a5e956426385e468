"""Executes operations on a device: the one engine behind scripts and generators."""

import numpy as np

from ...compile.decorators import device
from ...compile.views import runs_short
from ...layout.counters import WRONG_CONTENTS
from ...layout.device import (
    PROC_ANONPAGES, PROC_CPU, PROC_DRAWS, PROC_MAJFLT, PROC_PMD, PROC_PTE, PROC_RAND, PROC_SWAPENTS, PROC_USED,
    Q_VERDICT, VMA_FLAGS, VMA_PAGES, VMA_PMD, VMA_PTE, VMA_RA_HITS, VMA_RA_PAGE, VMA_RA_WIN, VMA_START, W_VERDICT_LEFT,
)  # fmt: skip
from ...layout.errors import BAD_OP
from ...layout.operations import (
    ADVISE, CPU, DONTNEED, EXIT, FAULT_BEGIN, FAULT_END, FORK, GAUGE, MAP, PAGEOUT, PROC, RANDOM, SRAND, SWITCH, THP,
    TOUCH, UNMAP, VERDICT, ZSWAP,
)  # fmt: skip
from ...layout.phone import PHONE_OP
from ...layout.words import VMA_USED
from ..access import count, fail, fill_words, set_quad, set_word, word
from ..content.identity import new_identity
from ..faults.fork import fork_process
from ..faults.unmap import exit_process, unmap_regions
from ..figures.gauges import take_gauges
from ..phone.phases import next_op
from ..pressure.room import Room, make_room, resumes_operation, waits_for_room
from ..regions import proc_at, vma_at
from ..rng import glibc_seed
from ..swap.allocator import reclaim_worker
from ..swap.swap_cache import RA_HITS_INITIAL
from ..swap.swapout import madvise_pageout
from ..zram.rewrite import rewrite_sparse_blocks
from .page_walk import halt_or_resume_fault, walk_pages


@device
def create_process(dev, p):
    """A process without regions, on CPU 0, its rand() unseeded."""
    o = proc_at(dev, p)
    set_word(dev, o + PROC_USED, 1)
    set_word(dev, o + PROC_CPU, 0)
    set_word(dev, o + PROC_MAJFLT, 0)
    set_word(dev, o + PROC_DRAWS, 0)
    set_word(dev, o + PROC_ANONPAGES, 0)
    set_word(dev, o + PROC_SWAPENTS, 0)
    new_identity(dev, o)
    glibc_seed(dev.w, o + PROC_RAND, 1)


@device
def map_region(dev, p, v, pages, start, flags, pte, pmd):
    """mmap of a private anonymous region; its PTEs are empty.

    Parameters
    ----------
    p, v : int64
        Process, and number of the region in it.
    pages, start : int64
        Length of the region, and its first virtual page.
    flags : int64
        Its flags (`words.VMA_HUGEPAGE` and others).
    pte, pmd : int64
        Its first PTE and its first 2 MiB range, counted from those of the process.
    """
    o = vma_at(dev, p, v)
    o_proc = proc_at(dev, p)
    set_word(dev, o + VMA_FLAGS, flags | VMA_USED)
    set_word(dev, o + VMA_START, start)
    set_word(dev, o + VMA_PAGES, pages)
    set_word(dev, o + VMA_PTE, word(dev, o_proc + PROC_PTE) + pte)
    set_word(dev, o + VMA_PMD, word(dev, o_proc + PROC_PMD) + pmd)
    set_word(dev, o + VMA_RA_PAGE, 0)
    set_word(dev, o + VMA_RA_WIN, 0)
    set_word(dev, o + VMA_RA_HITS, RA_HITS_INITIAL)
    if dev.n_expect:
        fill_words(dev, np.int64(dev.o_expect) + word(dev, o + VMA_PTE), pages, 0)


@device(cuda="inline")
def execute(dev, model, op, p, a, b, c, d, e, f):
    """Execute one operation; its errno, fault counts and wrong pages are in the header afterwards.

    One that has ended half done is taken up.

    Parameters
    ----------
    op, p : int64
        Code and process of the operation.
    a, b, c, d, e, f : int64
        Its arguments, which mean what `operations` says of the code.
    """
    if not resumes_operation(dev):
        dev.op_errno = np.uint32(0)
        dev.op_minflt = np.uint32(0)
        dev.op_majflt = np.uint32(0)
        dev.op_bad = np.uint32(0)
    dev.proc = np.uint32(p)
    if op != PROC:
        dev.cpu = np.uint32(word(dev, proc_at(dev, p) + PROC_CPU))
    if op == TOUCH or op == DONTNEED or op == RANDOM:
        walk_pages(dev, model, p, op, a, b, c, d, e, f)
    elif op == PAGEOUT:
        madvise_pageout(dev, model, p, vma_at(dev, p, a), b, c)
    elif op == UNMAP:
        unmap_regions(dev, p, a, a + 1)
    elif op == EXIT:
        exit_process(dev, p)
    elif op == FORK:
        fork_process(dev, p, a)
    elif op == PROC:
        create_process(dev, p)
    elif op == MAP:
        map_region(dev, p, a, b, c, d, e, f)
    elif op == ADVISE:
        o = vma_at(dev, p, a) + VMA_FLAGS
        set_word(dev, o, word(dev, o) & ~b | c)
    elif op == CPU:
        set_word(dev, proc_at(dev, p) + PROC_CPU, a)
    elif op == THP:
        dev.thp_always = np.uint32(a)
        dev.thp_madvise = np.uint32(b)
        dev.thp_inherit = np.uint32(c)
        dev.thp_global = np.uint32(d)
    elif op == SRAND:
        glibc_seed(dev.w, proc_at(dev, p) + PROC_RAND, a)
    elif op == FAULT_BEGIN or op == FAULT_END:
        halt_or_resume_fault(dev, p, op, a, b, c)
    elif op == ZSWAP:
        dev.zswap_ever = np.uint32(1)
    elif op == VERDICT:
        dev.verdicts = np.uint32(1)
        set_word(dev, W_VERDICT_LEFT + a, b)
        set_quad(dev, Q_VERDICT + a, c | d << 32)
    elif op == GAUGE:
        take_gauges(dev, a)
    else:
        fail(dev, BAD_OP, op)
    if waits_for_room(dev):
        return
    if runs_short(dev):
        dev.room = np.uint32(Room.UNASKED)
    if dev.reclaim_pending:
        reclaim_worker(dev)
    if dev.sparse_blocks:
        rewrite_sparse_blocks(dev, model)
    count(dev, WRONG_CONTENTS, np.int64(dev.op_bad))


@device(cuda="inline")
def run_program(dev, model, program, first, end):
    """Execute the operations `first` to `end` - 1 of a program; stops at an error, inside of a SWITCH as well.

    Parameters
    ----------
    program : uint32 array of shape (operations, operations.OP_WORDS)
    first, end : int64
        First operation, and the one behind the last.
    """
    i = np.int64(first)
    while i < end and dev.error == 0:
        op = np.int64(program[i, 0])
        p = np.int64(program[i, 1])
        a = np.int64(program[i, 2])
        b = np.int64(program[i, 3])
        c = np.int64(program[i, 4])
        d = np.int64(program[i, 5])
        e = np.int64(program[i, 6])
        f = np.int64(program[i, 7])
        of_switch = op == SWITCH
        if of_switch:
            if not resumes_operation(dev) and not next_op(dev, a):
                i += 1
                continue
            o = np.int64(dev.o_phone) + PHONE_OP
            op = word(dev, o)
            p = word(dev, o + 1)
            a = word(dev, o + 2)
            b = word(dev, o + 3)
            c = word(dev, o + 4)
            d = word(dev, o + 5)
            e = word(dev, o + 6)
            f = word(dev, o + 7)
        execute(dev, model, op, p, a, b, c, d, e, f)
        if waits_for_room(dev):
            make_room(dev, model)
        elif not of_switch:
            i += 1
