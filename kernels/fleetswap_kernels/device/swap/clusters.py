"""Clusters and their lists: the movements of a cluster as its slots are taken and given back (spec 02 §2.7)."""

import numpy as np

from ...compile.decorators import device
from ...layout.device import W_FRAG_NR, W_LIST_HEAD, W_LIST_TAIL
from ...layout.words import (
    CLUSTER_COUNT, CLUSTER_FLAGS_SHIFT, CLUSTER_ORDER_SHIFT, CLUSTER_SLOTS, FLAG_FREE, FLAG_FULL,
    FLAG_NONFULL, LIST_FRAG, LIST_FREE, LIST_FULL, LIST_NONFULL, NIL,
)  # fmt: skip
from ..access import set_word, word


@device
def order_served(info):
    """Order that a cluster word holds: that of the entries the cluster serves."""
    return info >> CLUSTER_ORDER_SHIFT & 15


@device
def list_of_cluster(info):
    """The one list a cluster with this word is on (spec 01 §1.4)."""
    flags = info >> CLUSTER_FLAGS_SHIFT
    order = order_served(info)
    if flags == FLAG_FREE:
        return LIST_FREE
    if flags == FLAG_FULL:
        return LIST_FULL
    if flags == FLAG_NONFULL:
        return LIST_NONFULL + order
    return LIST_FRAG + order


@device
def list_head(dev, which):
    """First cluster of a list, or NIL."""
    return word(dev, W_LIST_HEAD + which)


@device
def list_append(dev, which, c):
    """Put a cluster at the tail of a list; nothing is ever put at a head."""
    tail = word(dev, W_LIST_TAIL + which)
    set_word(dev, dev.o_cluster_prev + c, tail)
    set_word(dev, dev.o_cluster_next + c, NIL)
    if tail == NIL:
        set_word(dev, W_LIST_HEAD + which, c)
    else:
        set_word(dev, dev.o_cluster_next + tail, c)
    set_word(dev, W_LIST_TAIL + which, c)
    if which >= LIST_FRAG:
        o = W_FRAG_NR + which - LIST_FRAG
        set_word(dev, o, word(dev, o) + 1)


@device
def list_remove(dev, which, c):
    """Take a cluster off its list."""
    before = word(dev, dev.o_cluster_prev + c)
    after = word(dev, dev.o_cluster_next + c)
    if before == NIL:
        set_word(dev, W_LIST_HEAD + which, after)
    else:
        set_word(dev, dev.o_cluster_next + before, after)
    if after == NIL:
        set_word(dev, W_LIST_TAIL + which, before)
    else:
        set_word(dev, dev.o_cluster_prev + after, before)
    if which >= LIST_FRAG:
        o = W_FRAG_NR + which - LIST_FRAG
        set_word(dev, o, word(dev, o) - 1)


@device
def cluster_set(dev, c, count, order, flags):
    """Write a cluster's word and move the cluster to the tail of the list that the word names.

    Parameters
    ----------
    c : int64
        Cluster.
    count : int64
        Slots of it in use.
    order : int64
        Order it serves.
    flags : int64
        FLAG_FREE, FLAG_NONFULL, FLAG_FRAG or FLAG_FULL.
    """
    old = list_of_cluster(word(dev, dev.o_cluster + c))
    info = count | (order << CLUSTER_ORDER_SHIFT) | (flags << CLUSTER_FLAGS_SHIFT)
    set_word(dev, dev.o_cluster + c, info)
    list_remove(dev, old, c)
    list_append(dev, list_of_cluster(info), c)


@device
def cluster_take(dev, c, n, order):
    """Account `n` slots of a cluster as used (spec 02 §2.4; mm/swapfile.c cluster_alloc_range)."""
    info = word(dev, dev.o_cluster + c)
    flags = info >> CLUSTER_FLAGS_SHIFT
    count = (info & CLUSTER_COUNT) + n
    served = order if flags == FLAG_FREE else order_served(info)
    if count == CLUSTER_SLOTS:
        cluster_set(dev, c, count, served, FLAG_FULL)
    elif flags == FLAG_FREE:
        cluster_set(dev, c, count, served, FLAG_NONFULL)
    else:
        set_word(dev, dev.o_cluster + c, info + n)


@device
def cluster_give(dev, c, n):
    """Account `n` slots of a cluster as free again (mm/swapfile.c dec_cluster_info_page)."""
    info = word(dev, dev.o_cluster + c)
    count = (info & CLUSTER_COUNT) - n
    if count == 0:
        cluster_set(dev, c, 0, 0, FLAG_FREE)
    elif info >> CLUSTER_FLAGS_SHIFT == FLAG_NONFULL:
        set_word(dev, dev.o_cluster + c, info - n)
    else:
        cluster_set(dev, c, count, order_served(info), FLAG_NONFULL)


@device
def clusters_setup(dev):
    """Initial lists at swapon, in 32 columns (spec 01 §1.7; mm/swapfile.c setup_clusters)."""
    n = np.int64(dev.n_clusters)
    n_slots = np.int64(dev.n_slots)
    for which in range(LIST_FRAG + 10):
        set_word(dev, W_LIST_HEAD + which, NIL)
        set_word(dev, W_LIST_TAIL + which, NIL)
    rows = (n + 31) // 32
    for column in range(32):
        for row in range(rows):
            c = 32 * row + column
            if c < n:
                used = 1 if c == 0 else 0
                if c == n - 1:
                    used += CLUSTER_SLOTS * n - n_slots
                flags = FLAG_NONFULL if used > 0 else FLAG_FREE
                set_word(dev, dev.o_cluster + c, used | (flags << CLUSTER_FLAGS_SHIFT))
                list_append(dev, LIST_NONFULL if used > 0 else LIST_FREE, c)
