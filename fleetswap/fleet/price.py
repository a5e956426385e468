"""Price of what devices counted, by a cost profile.

The device counts events; a profile prices them afterwards. Both are integers, so a fleet is simulated once and priced
for any number of machines, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.host_calls import price_rows
from fleetswap_kernels.device.figures.price import (
    CAUSES,
    DECOMPRESSED_BYTES,
    PAID_WORDS,
    PERMILLE,
    PRICES,
    STALL_END,
    SWAPOUT_END,
    Cause,
)  # fmt: skip
from fleetswap_kernels.layout import counters

from ..errors import InputError
from ..scenario.cost import CostProfile

Events = npt.NDArray[np.int64]
"""Counters of devices, shape (..., counters.N_COUNTERS)."""


@dataclass(frozen=True)
class Price:
    """What a device's events cost, int64 arrays with one entry a device.

    Parameters
    ----------
    stall_ns : int64 array
        Time that faulting processes wait for their pages.
    swapout_ns : int64 array
        CPU time of swap-out: whoever reclaims pays it. Pages of sparse blocks that are stored again count here.
    background_ns : int64 array
        CPU time of nobody's request: sparse blocks decompressed to be rewritten.
    decompressed_bytes : int64 array
        What the codec put out for faults.
    parts : dict of str to int64 array
        The same time by cause, ns.
    """

    stall_ns: Events
    swapout_ns: Events
    background_ns: Events
    decompressed_bytes: Events
    parts: dict[str, Events]


def price_list(profile: CostProfile, codec: str, block_order: int, classes: tuple[str, ...] = ()) -> Events:
    """What events cost a device, as the kernels read it.

    Parameters
    ----------
    profile : CostProfile
    codec : str
        Of the device's zram.
    block_order : int
        Of the device's zram.
    classes : tuple of str
        Names of the content classes, in the order of the library.

    Returns
    -------
    int64 array of shape (price.PRICE_WORDS,)

    Raises
    ------
    InputError
        If the profile does not know the codec.
    """
    if codec not in profile.codecs:
        known = ", ".join(profile.codecs)
        raise InputError(f"cost profile {profile.name}: has no times of codec {codec!r}; it has {known}")
    cost = profile.codecs[codec]
    of_codec = {
        "rewrite_block": cost.decompress_ns[block_order] + profile.object_read_ns,
        "block_order": block_order,
        "compress_page": cost.compress_ns[0],
        "decompress_page": cost.decompress_ns[0],
        "compress_block": cost.compress_ns[block_order],
        "decompress_block": cost.decompress_ns[block_order],
    }
    names = (*classes, *[""] * (counters.N_CLASSES - len(classes)))
    shares = [
        table.get(name, PERMILLE) for table in (cost.compress_permille, cost.decompress_permille) for name in names
    ]
    # All others stand in the profile as they are.
    words = [of_codec[word] if word in of_codec else getattr(profile, f"{word}_ns") for word in PRICES]
    return np.array([*words, *profile.alloc_ns, *shares], dtype=np.int64)


def price(events: Events, profile: CostProfile, codec: str, block_order: int, classes: tuple[str, ...] = ()) -> Price:
    """Price the counters of devices.

    Parameters
    ----------
    events : int64 array of shape (..., counters.N_COUNTERS)
        Counters, or what a step changed in them.
    profile : CostProfile
    codec : str
        Of the devices' zram.
    block_order : int
        Of the devices' zram.
    classes : tuple of str
        Names of the content classes, in the order of the library.

    Raises
    ------
    InputError
        If the profile does not know the codec.
    """
    prices = price_list(profile, codec, block_order, classes)
    shape = events.shape[:-1]
    paid = np.zeros((*shape, PAID_WORDS), dtype=np.int64)
    price_rows(np.ascontiguousarray(events, dtype=np.int64).reshape(-1), prices, paid.reshape(-1))
    return Price(
        stall_ns=paid[..., :STALL_END].sum(-1),
        swapout_ns=paid[..., STALL_END:SWAPOUT_END].sum(-1),
        background_ns=paid[..., Cause.REWRITE],
        decompressed_bytes=paid[..., DECOMPRESSED_BYTES],
        parts={cause: paid[..., i] for i, cause in enumerate(CAUSES)},
    )
