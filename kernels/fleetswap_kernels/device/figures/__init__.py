"""Figures of a device: prices, metrics, gauges, bins."""
