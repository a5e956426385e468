"""CPU entry points: loops over devices that a thread runs on its share of a fleet."""

import numpy as np

from .access import counter_value, set_word, word
from .bits import PTE_PAYLOAD
from .compressed import block_bytes, page_bytes
from .counters import N_COUNTERS
from .figures import METRIC_BASE, METRIC_PART, METRIC_WORDS, PARTS, RESUME, fold_device, value_of_metric
from .interpreter import run_program
from .jit import device_at, entry, model_at
from .log_bin import BINS, LAST_BIN, bin_number
from .price import PAID_WORDS, PRICE_WORDS, price_row
from .setup import setup_device
from .tally import (
    BASE_HIGH, BASE_LOW, DEVICES, GREATEST, HIGH, LEAST, LOW, N_FACTS, TOP_HIGH, TOP_LOW,
)  # fmt: skip


@entry
def init_devices(arena, base, models, ids, first, end, header_content):
    """Set up the devices `first` to `end` - 1 of an arena."""
    for d in range(first, end):
        setup_device(device_at(arena, base, d), model_at(models), header_content, ids[d])


@entry
def run_devices(arena, base, models, first, end, program, marks, counted):
    """Run the parts of a program that lie between marks on the devices `first` to `end` - 1 of an arena.

    A device does all parts before the next one begins, while its memory is in the processor's caches.

    Parameters
    ----------
    marks : int64 array of shape (parts + 1,)
        Positions in the program.
    counted : int64 array of shape (parts or fewer, devices, counters.N_COUNTERS)
        Filled with the counters of a device after each part.
    """
    for d in range(first, end):
        dev = device_at(arena, base, d)
        for part in range(len(marks) - 1):
            run_program(dev, model_at(models), program, marks[part], marks[part + 1])
            if part < len(counted):
                for i in range(N_COUNTERS):
                    counted[part, d, i] = counter_value(dev, i)


@entry
def fold_devices(
    counted, groups, columns, prices, metrics, since, change, sums, parts, bins, facts, totals, mode, steps
):
    """Measure devices by what they counted and add them to a tally; all arrays are flat (`tally.Folding`)."""
    n_metrics = len(metrics) // METRIC_WORDS
    for d in range(len(groups)):
        group = groups[d]
        p = group * PRICE_WORDS
        at = d * N_COUNTERS
        fold_device(counted, at, d, columns, prices, p, metrics, n_metrics, since, change, sums, parts, mode, steps)
        if mode == RESUME:
            continue
        for i in range(N_COUNTERS):
            totals[group * N_COUNTERS + i] += change[d * N_COUNTERS + i]
        for m in range(n_metrics):
            row = group * n_metrics + m
            o = row * N_FACTS
            top = parts[d * PARTS + metrics[METRIC_WORDS * m + METRIC_PART]]
            facts[o + TOP_HIGH] += top >> 32
            facts[o + TOP_LOW] += top & 0xFFFFFFFF
            base_part = metrics[METRIC_WORDS * m + METRIC_BASE]
            if base_part >= 0:
                bottom = parts[d * PARTS + base_part]
                facts[o + BASE_HIGH] += bottom >> 32
                facts[o + BASE_LOW] += bottom & 0xFFFFFFFF
                if bottom <= 0:
                    continue
            value = value_of_metric(metrics, m, parts, d * PARTS)
            facts[o + DEVICES] += 1
            facts[o + HIGH] += value >> 32
            facts[o + LOW] += value & 0xFFFFFFFF
            facts[o + LEAST] = min(facts[o + LEAST], value)
            facts[o + GREATEST] = max(facts[o + GREATEST], value)
            bins[row * BINS + LAST_BIN + bin_number(value)] += 1


@entry
def price_rows(rows, prices, paid):
    """Price rows of counters by one list of prices; all arrays are flat (`price.price_row`)."""
    for row in range(len(paid) // PAID_WORDS):
        price_row(rows, row * N_COUNTERS, prices, 0, paid, row * PAID_WORDS)


@entry
def measure_blocks(arena, base, models, order, sizes, stored, members, pages):
    """Sizes of the aligned blocks of 2^order pages in the first region of device 0, all of whose pages are present.

    The device's content map must have room for a block and a page.

    Parameters
    ----------
    sizes, stored, members : int64 arrays of shape (blocks,)
        Filled with the codec's output, with what zram stores (0 if same-filled, the block's own bytes if it does not
        compress), and with the sum of the pages' own sizes.
    pages : int64 array of shape (4097,)
        Counts pages by what zram stores for each alone.
    """
    dev = device_at(arena, base, 0)
    model = model_at(models)
    n = np.int64(1) << order
    # The contents of a block side by side, in the content map, which identities do not need; one page alone before it.
    scratch = np.int64(dev.o_content_map) + 1
    for block in range(len(sizes)):
        total = np.int64(0)
        for i in range(n):
            frame = word(dev, np.int64(dev.o_pte) + block * n + i) & PTE_PAYLOAD
            content = word(dev, np.int64(dev.o_content) + frame)
            set_word(dev, scratch + i, content)
            set_word(dev, scratch - 1, content)
            total += block_bytes(dev, model, scratch - 1, np.int64(0), 0)
            pages[page_bytes(dev, model, content)] += 1
        size = block_bytes(dev, model, scratch, np.int64(order), 0)
        members[block] = total
        sizes[block] = size
        if order == 0:
            stored[block] = page_bytes(dev, model, word(dev, scratch))
        elif block_bytes(dev, model, scratch, np.int64(order), 1) == 0:
            stored[block] = 0
        else:
            stored[block] = 4096 << order if size >= np.int64(dev.huge_block_bytes) else size
