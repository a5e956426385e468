"""Faults of processes: anonymous memory, fork, unmapping."""
