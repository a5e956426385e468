"""Operations that go over pages of a region, with the faults and the waits for room that takes."""

import numpy as np

from ...compile.decorators import device
from ...compile.views import runs_short
from ...layout.counters import PAGE_EVENTS
from ...layout.device import (
    CPU_FAULT, FAULT_FRAME, FAULT_PAGE, FAULT_PROC, FAULT_VMA, FAULT_WRITE, PROC_DRAWS, PROC_RAND, VMA_PAGES, VMA_PTE,
    VMA_START,
)  # fmt: skip
from ...layout.operations import DONTNEED, EAGAIN, ENOMEM, FAULT_END, MODELLED, RANDOM, READ, WRITE
from ...layout.streams import Stream
from ...layout.words import CONTENT_ZERO, KIND_SHIFT, NONE, PRESENT, PTE_DIRTY, PTE_EXCLUSIVE, PTE_PAYLOAD, SWAP, ZERO
from ..access import count, fill_words, set_word, word
from ..content.identity import block_identity, is_new, page_kinds, page_of_block, rewritten_page
from ..cpus import this_cpu_at
from ..faults.fault import Phase, handle_fault
from ..faults.unmap import release_zapped, zap_pages
from ..memory.generation import stamp_folio, stamp_pages
from ..pressure.room import Room, has_room, resumes_operation, waits_for_room
from ..regions import proc_at, pte_at, vma_at
from ..rng import draw_words, glibc_next, word_of_draw
from ..swap.allocator import reclaim_worker


@device(cuda="inline")
def fault_and_reclaim(dev, p, o_vma, page, write, phase):
    """A fault and the deferred work it made due.

    Parameters
    ----------
    p, o_vma : int64
        Process, and word offset of the record of its region.
    page : int64
        Page of the region, counted from its first.
    write : bool
        Whether the access writes.
    phase : Phase

    Returns
    -------
    bool
        Whether the access can go on. If not, the operation waits for room, or its errno is set.
    """
    if runs_short(dev):
        room = has_room(dev, o_vma)
        if room != Room.MADE:
            if room == Room.REFUSED:
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

    Parameters
    ----------
    p, o_vma : int64
        Process, and word offset of the record of its region.
    page, pages : int64
        First page of the range, counted from the region's first, and how many it has.
    first : int64
        Page to begin with; those before it are done.
    mode : int64
        READ, WRITE or POKE.
    entry : int64
        Content map entry of the region's first page; with MODELLED a content class plus 32 times the version.
    advance : int64
        1 if the entry advances with the page, else 0; or MODELLED.

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
            if not fault_and_reclaim(dev, p, o_vma, at, mode != READ, Phase.WHOLE):
                if waits_for_room(dev):
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
    """MADV_DONTNEED.

    Parameters
    ----------
    p, o_vma : int64
        Process, and word offset of the record of its region.
    page, pages : int64
        First page of the range, counted from the region's first, and how many it has.
    """
    if zap_pages(dev, p, o_vma, page, pages):
        release_zapped(dev, o_vma, page, pages)
    if dev.n_expect and pages > 0:
        fill_words(dev, np.int64(dev.o_expect) + word(dev, o_vma + VMA_PTE) + page, pages, 0)


@device
def walk_pages(dev, model, p, op, a, b, c, d, e, f):
    """TOUCH, DONTNEED and RANDOM: the operations that go over pages of a region.

    One loop serves them, so that the code behind a touch and behind a discard is compiled once. A step that has to wait
    for room leaves in the header which one it is, its first page, and the page it has come to.

    Parameters
    ----------
    p, op : int64
        Process and code of the operation.
    a, b, c, d, e, f : int64
        Its arguments, which mean what `operations` says of the code.
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
    resumed = resumes_operation(dev)
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
                    r0, r1, r2, r3 = draw_words(dev, Stream.OPERATION, p, 0, draw >> 2)
                page = (word_of_draw(draw, r0, r1, r2, r3) * blocks >> 32) * pages
                draw += 1
        if not resumed:
            at = page
            if op == DONTNEED or (op == RANDOM and d != 0):
                discard_pages(dev, p, o_vma, page, pages)
        if op != DONTNEED:
            if not resumed:
                count(dev, PAGE_EVENTS, pages)
                if runs_short(dev):
                    stamp_pages(dev, o_vma, page, pages)
            at = touch_pages(dev, model, p, o_vma, page, pages, at, mode, e, f)
            if waits_for_room(dev):
                dev.half_step = np.uint32(step)
                dev.half_first = np.uint32(page)
                dev.half_page = np.uint32(at)
                break
        resumed = False
        step += 1
    set_word(dev, o_proc + PROC_DRAWS, draw)


@device(cuda="call")
def halt_or_resume_fault(dev, p, op, v, page, write):
    """FAULT_BEGIN and FAULT_END.

    Parameters
    ----------
    p, op : int64
        Process and code of the operation.
    v : int64
        Number of the region in the process.
    page : int64
        Page of the region, counted from its first.
    write : int64
        1 if the access writes, else 0.
    """
    o_halted = this_cpu_at(dev) + CPU_FAULT
    phase = Phase.BEGIN
    if op == FAULT_END:
        phase = Phase.END
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
