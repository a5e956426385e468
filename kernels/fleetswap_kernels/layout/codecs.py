"""Codecs: the compression algorithms of zram that the simulator knows, in the order of their numbers."""

CODECS = ("lz4", "lzo-rle", "zstd")
SIZING_CODECS = ("lz4", "zstd")
"""Those that can size any page here; lzo-rle sizes contents of measured classes only."""
