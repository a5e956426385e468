"""Swap: clusters and slots, swap-out, swap cache, swap-in, reasons of fallbacks."""
