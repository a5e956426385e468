"""Warps of a GPU: how many devices share one, each on a lane of its own; results do not depend on it."""

from __future__ import annotations

WARP = 32
"""Threads of a GPU that run the same instruction, or wait for those that do."""
MOST_PER_WARP = 8
"""Devices part so often that a warp of 32 takes them nearly one after the other; fewer have more of the caches too
(docs/gpu-model.md, "Divergence")."""


def devices_per_warp(devices: int, warps: int) -> int:
    """The fewest, as a power of two, with which all devices run at once on so many warps; or the most."""
    fewest = -(-devices // warps)
    return min(1 << (fewest - 1).bit_length(), MOST_PER_WARP)
