"""Executes operations on a device: the one engine behind scripts and generators."""

import numpy as np

from ...compile.decorators import device
from ...compile.views import runs_short
from ...layout.counters import PAGE_EVENTS, WRONG_CONTENTS
from ...layout.device import (
    CPU_FAULT, CPU_WORDS, FAULT_FRAME, FAULT_PAGE, FAULT_PROC, FAULT_VMA, FAULT_WRITE, PROC_ANONPAGES, PROC_CPU,
    PROC_DRAWS, PROC_MAJFLT, PROC_PMD, PROC_PTE, PROC_RAND, PROC_SWAPENTS, PROC_USED, Q_VERDICT, VMA_FLAGS,
    VMA_PAGES, VMA_PMD, VMA_PTE, VMA_RA_HITS, VMA_RA_PAGE, VMA_RA_WIN, VMA_START, W_VERDICT_LEFT,
)  # fmt: skip
from ...layout.errors import BAD_OP
from ...layout.operations import (
    ADVISE, CPU, DONTNEED, EAGAIN, ENOMEM, EXIT, FAULT_BEGIN, FAULT_END, FORK, GAUGE, MAP, MODELLED, PAGEOUT, PROC,
    RANDOM, READ, SRAND, SWITCH, THP, TOUCH, UNMAP, VERDICT, WRITE, ZSWAP,
)  # fmt: skip
from ...layout.phone import PHONE_OP
from ...layout.streams import Stream
from ...layout.words import (
    CONTENT_ZERO, KIND_SHIFT, NONE, PRESENT, PTE_DIRTY, PTE_EXCLUSIVE, PTE_PAYLOAD, SWAP, VMA_USED, ZERO,
)  # fmt: skip
from ..access import count, fail, fill_words, set_quad, set_word, word
from ..content.identity import block_identity, is_new, new_identity, page_kinds, page_of_block, rewritten_page
from ..faults.fault import BEGIN, END, WHOLE, handle_fault
from ..faults.fork import fork_process
from ..faults.unmap import exit_process, release_zapped, unmap_regions, zap_pages
from ..figures.gauges import take_gauges
from ..memory.generation import stamp, stamp_folio
from ..phone.phases import next_op
from ..pressure.room import MADE, REFUSED, UNASKED, half_done, has_room, make_room, taken_up
from ..regions import proc_at, pte_at, vma_at
from ..rng import glibc_next, glibc_seed, philox_block
from ..swap.allocator import reclaim_worker
from ..swap.swap_cache import RA_HITS_INITIAL
from ..swap.swapout import madvise_pageout
from ..zram.rewrite import rewrite_sparse_blocks


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
    """mmap of a private anonymous region; its PTEs are empty."""
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
def fault_and_reclaim(dev, p, o_vma, page, write, phase):
    """A fault and the deferred work it made due.

    Returns
    -------
    bool
        Whether the access can go on. If not, the operation waits for room, or its errno is set.
    """
    if runs_short(dev):
        room = has_room(dev, o_vma)
        if room != MADE:
            if room == REFUSED:
                dev.op_errno = np.uint32(ENOMEM)
            return False
    errno = handle_fault(dev, p, o_vma, page, write, phase)
    if dev.reclaim_pending:
        reclaim_worker(dev)
    if errno != 0:
        dev.op_errno = np.uint32(errno)
        return False
    if runs_short(dev):
        stamp_folio(dev, o_vma, page)
    return True


@device
def touch_pages(dev, model, p, o_vma, page, pages, first, mode, entry, advance):
    """Read, write or poke whole pages, ascending from the `first` of them on, with the faults that takes.

    Returns
    -------
    int64
        The page whose fault waits for room, or the end of the pages.
    """
    o_pte = pte_at(dev, o_vma, np.int64(0))
    o_expect = np.int64(dev.o_expect) + word(dev, o_vma + VMA_PTE)
    o_content = np.int64(dev.o_content)
    o_entry = np.int64(dev.o_content_map) + entry
    verify = dev.n_expect != 0
    start = word(dev, o_vma + VMA_START)
    end = page + pages
    block_start = np.int64(-1)
    block = np.int64(0)
    kinds = np.int64(0)
    for at in range(first, end):
        pte = word(dev, o_pte + at)
        kind = pte >> KIND_SHIFT
        if mode == READ:
            faults = kind == NONE or kind == SWAP
        else:
            faults = kind != PRESENT or pte & PTE_EXCLUSIVE == 0
        if faults:
            if not fault_and_reclaim(dev, p, o_vma, at, mode != READ, WHOLE):
                if half_done(dev):
                    return at
                if dev.error != 0:
                    break
                continue
            pte = word(dev, o_pte + at)
        if mode == READ:
            if verify:
                content = np.int64(CONTENT_ZERO)
                if pte >> KIND_SHIFT == PRESENT:
                    content = word(dev, o_content + (pte & PTE_PAYLOAD))
                if content != max(word(dev, o_expect + at), np.int64(CONTENT_ZERO)):
                    dev.op_bad = np.uint32(np.int64(dev.op_bad) + 1)
            continue
        if pte & PTE_DIRTY == 0:
            set_word(dev, o_pte + at, pte | PTE_DIRTY)
        if mode == WRITE:
            o = o_content + (pte & PTE_PAYLOAD)
            if advance == MODELLED:
                member = start + at & 15
                old = word(dev, o)
                if is_new(entry & 31, at - member >= page and at - member + 16 <= end, old):
                    if start + at - member != block_start:
                        block_start = start + at - member
                        block = block_identity(dev, model, p, block_start >> 4, entry & 31, entry >> 5)
                        kinds = page_kinds(model, block)
                    content = page_of_block(block, kinds, member)
                else:
                    content = rewritten_page(dev, model, p, start + at, entry >> 5, old)
            else:
                content = word(dev, o_entry + at * advance)
            set_word(dev, o, content)
            if verify:
                set_word(dev, o_expect + at, content)
    return end


@device
def discard_pages(dev, p, o_vma, page, pages):
    """MADV_DONTNEED."""
    if zap_pages(dev, p, o_vma, page, pages):
        release_zapped(dev, o_vma, page, pages)
    if dev.n_expect and pages > 0:
        fill_words(dev, np.int64(dev.o_expect) + word(dev, o_vma + VMA_PTE) + page, pages, 0)


@device
def walk_pages(dev, model, p, op, a, b, c, d, e, f):
    """TOUCH, DONTNEED and RANDOM: the operations that go over pages of a region.

    One loop serves them, so that the code behind a touch and behind a discard is compiled once. A step that has to wait
    for room leaves in the header which one it is, its first page, and the page it has come to.
    """
    o_vma = vma_at(dev, p, a)
    page = b
    pages = c
    steps = np.int64(1)
    mode = d
    if op == RANDOM:
        pages = b
        steps = c
        mode = np.int64(WRITE)
    blocks = word(dev, o_vma + VMA_PAGES) // pages
    o_proc = proc_at(dev, p)
    draw = word(dev, o_proc + PROC_DRAWS)
    r0 = r1 = r2 = r3 = np.int64(0)
    drawn = False
    resumed = taken_up(dev)
    step = np.int64(0)
    at = page
    if resumed:
        step = np.int64(dev.half_step)
        page = np.int64(dev.half_first)
        at = np.int64(dev.half_page)
    while step < steps:
        if op == RANDOM and not resumed:
            if dev.random_philox == 0:
                page = glibc_next(dev.w, o_proc + PROC_RAND) % blocks * pages
            else:
                if not drawn or draw & 3 == 0:
                    drawn = True
                    seed = np.int64(dev.seed_lo) | np.int64(dev.seed_hi) << 32
                    r0, r1, r2, r3 = philox_block(seed, Stream.OPERATION, np.int64(dev.device_id), p, 0, draw >> 2)
                r = r0
                if draw & 3 == 1:
                    r = r1
                elif draw & 3 == 2:
                    r = r2
                elif draw & 3 == 3:
                    r = r3
                page = (r * blocks >> 32) * pages
                draw += 1
        if not resumed:
            at = page
            if op == DONTNEED or (op == RANDOM and d != 0):
                discard_pages(dev, p, o_vma, page, pages)
        if op != DONTNEED:
            if not resumed:
                count(dev, PAGE_EVENTS, pages)
                if runs_short(dev):
                    stamp(dev, o_vma, page, pages)
            at = touch_pages(dev, model, p, o_vma, page, pages, at, mode, e, f)
            if half_done(dev):
                dev.half_step = np.uint32(step)
                dev.half_first = np.uint32(page)
                dev.half_page = np.uint32(at)
                break
        resumed = False
        step += 1
    set_word(dev, o_proc + PROC_DRAWS, draw)


@device(cuda="call")
def halt_or_resume_fault(dev, p, op, v, page, write):
    """FAULT_BEGIN and FAULT_END."""
    o_halted = np.int64(dev.o_cpu) + np.int64(dev.cpu) * CPU_WORDS + CPU_FAULT
    phase = BEGIN
    if op == FAULT_END:
        phase = END
        if word(dev, o_halted + FAULT_FRAME) == 0:
            dev.op_errno = np.uint32(EAGAIN)
            return
        v = word(dev, o_halted + FAULT_VMA)
        page = word(dev, o_halted + FAULT_PAGE)
        write = word(dev, o_halted + FAULT_WRITE)
        p = word(dev, o_halted + FAULT_PROC)
    else:
        pte = word(dev, pte_at(dev, vma_at(dev, p, v), page))
        if pte >> KIND_SHIFT == PRESENT and (write == 0 or pte & PTE_EXCLUSIVE):
            return
        if pte >> KIND_SHIFT == ZERO and write == 0:
            return
        set_word(dev, o_halted + FAULT_VMA, v)
        set_word(dev, o_halted + FAULT_PAGE, page)
        set_word(dev, o_halted + FAULT_WRITE, write)
        set_word(dev, o_halted + FAULT_PROC, p)
    fault_and_reclaim(dev, p, vma_at(dev, p, v), page, write, phase)


@device(cuda="inline")
def execute(dev, model, op, p, a, b, c, d, e, f):
    """Execute one operation; its errno, fault counts and wrong pages are in the header afterwards.

    One that has ended half done is taken up.
    """
    if not taken_up(dev):
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
    if half_done(dev):
        return
    if runs_short(dev):
        dev.room = np.uint32(UNASKED)
    if dev.reclaim_pending:
        reclaim_worker(dev)
    if dev.sparse_blocks:
        rewrite_sparse_blocks(dev, model)
    count(dev, WRONG_CONTENTS, np.int64(dev.op_bad))


@device(cuda="inline")
def run_program(dev, model, program, first, end):
    """Execute the operations `first` to `end` - 1 of a program; stops at an error, inside of a SWITCH as well."""
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
            if not taken_up(dev) and next_op(dev, a) == 0:
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
        if half_done(dev):
            make_room(dev, model)
        elif not of_switch:
            i += 1
