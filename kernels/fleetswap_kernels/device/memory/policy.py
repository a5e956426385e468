"""Which folio orders a fault may use: sysfs settings, advice of the region, its bounds (spec 05 §5.3, 06 §6.1-6.2)."""

import numpy as np

from ...compile.decorators import device
from ...layout.device import VMA_FLAGS, VMA_PAGES
from ...layout.words import THP_ALWAYS, THP_NEVER, VMA_HUGEPAGE, VMA_NOHUGEPAGE
from ..access import word
from ..orders import pages_of
from ..regions import aligned_page


@device
def allowed_orders(dev, o_vma):
    """Mask of the orders that sysfs and madvise allow in a region (thp_vma_allowable_orders)."""
    flags = word(dev, o_vma + VMA_FLAGS)
    if flags & VMA_NOHUGEPAGE:
        return np.int64(0)
    orders = np.int64(dev.thp_always)
    advised = flags & VMA_HUGEPAGE
    if advised:
        orders |= np.int64(dev.thp_madvise)
    if dev.thp_global == THP_ALWAYS or (advised and dev.thp_global != THP_NEVER):
        orders |= np.int64(dev.thp_inherit)
    return orders


@device
def block_start(dev, o_vma, page, order):
    """First page of the aligned block of 2^order pages around `page`, or -1 if the region does not hold it all."""
    first = aligned_page(dev, o_vma, page, order)
    if first < 0 or first + pages_of(order) > word(dev, o_vma + VMA_PAGES):
        return np.int64(-1)
    return first
