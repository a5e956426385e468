"""A device just after swapon: lists, frames, pool, empty processes (spec 01 §1.7)."""

import numpy as np

from ...compile.decorators import device
from ...layout.device import PROC_PMD, PROC_PTE
from ...layout.words import MAP_BAD
from ..access import set_byte, set_word
from ..memory.buddy import frames_setup
from ..regions import proc_at
from ..swap.clusters import clusters_setup
from ..zram.write import zram_write
from ..zram.zsmalloc import pool_setup


@device
def setup_device(dev, model, header_content, device_id):
    """Bring a zeroed device, whose sizes and policy stand in its header, to the state after swapon.

    Parameters
    ----------
    header_content : int64
        Content of the swap header page, which mkswap wrote to slot 0; 0 if zram is not to count it.
    device_id : int64
        Number of the device in its fleet.
    """
    dev.device_id = np.uint32(device_id)
    slots = np.int64(dev.n_slots)
    clusters_setup(dev)
    pool_setup(dev)
    # The first frame lends its content word; frames_setup comes after.
    if header_content != 0:
        set_word(dev, dev.o_content, header_content)
        zram_write(dev, model, np.int64(0), np.int64(dev.o_content), np.int64(1))
    frames_setup(dev)
    set_byte(dev, dev.o_map, MAP_BAD)
    dev.pages = np.uint32(slots - 1)
    dev.nr_swap_pages = np.uint32(slots - 1)
    dev.lowest_bit = np.uint32(1)
    dev.highest_bit = np.uint32(slots - 1)
    dev.cache_enabled = np.uint32(1)
    procs = np.int64(dev.n_procs)
    for p in range(procs):
        o = proc_at(dev, p)
        set_word(dev, o + PROC_PTE, p * (np.int64(dev.n_ptes) // procs))
        set_word(dev, o + PROC_PMD, p * (np.int64(dev.n_pmds) // procs))
