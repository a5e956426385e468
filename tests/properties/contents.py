"""What pages hold, against what was written to them last."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fleetswap.check.device import Checker
from fleetswap_kernels.layout import words as bits


def wrong_pages(checker: Checker) -> npt.NDArray[np.int64]:
    """PTE numbers of the pages that do not hold what their process wrote last; the device must be sound."""
    dev = checker.dev
    if not len(dev.expect):
        return np.empty(0, dtype=np.int64)
    checker._regions()
    kind = dev.pte >> bits.KIND_SHIFT
    payload = dev.pte & bits.PTE_PAYLOAD
    holds = np.full(len(dev.pte), bits.CONTENT_ZERO, dtype=np.uint32)
    at = (kind == bits.PRESENT).nonzero()[0]
    holds[at] = dev.content[payload[at]]
    at = (kind == bits.SWAP).nonzero()[0]
    slot = payload[at]
    inside = checker._slot_contents()[slot]
    if len(dev.cache):
        head = dev.cache[slot].astype(np.int64) - 1
        cached = (head >= 0).nonzero()[0]
        head = head[cached]
        inside[cached] = dev.content[head + slot[cached] - (dev.frame[head] & bits.FRAME_LINK)]
    holds[at] = inside
    wrong = holds != np.maximum(dev.expect, bits.CONTENT_ZERO)
    return np.flatnonzero(wrong & (checker.pmd_of >= 0))
