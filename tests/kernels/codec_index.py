"""Where a device counts the work of the codec."""

from __future__ import annotations

from fleetswap_kernels.layout.counters import CODEC, CODEC_FIRST


def codec_index(name: str, content_class: int) -> int:
    """Index of a counter of the codec's work."""
    return CODEC_FIRST + len(CODEC) * content_class + CODEC.index(name)
