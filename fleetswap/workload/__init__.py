"""Generators of operations: what the devices of a fleet do."""
