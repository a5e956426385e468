"""Limits of a simulated device, and the kernels whose rules it can follow."""

KERNELS = ("6.12", "v7")
MAX_CPUS = 64
MIN_SLOTS = 10
"""The smallest swap area mkswap makes."""
MAX_SLOTS = 1 << 24
MAX_LIMIT_BYTES = 8 << 40
