"""Recordings of a real kernel and published tables, compared with simulated ones."""
