"""Measure one's own memory and codecs."""
