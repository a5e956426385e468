"""The interpreter that executes operations on a device."""
