"""Recounts of a device: what it keeps against what is there."""
