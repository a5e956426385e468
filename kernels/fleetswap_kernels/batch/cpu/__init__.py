"""The batch kernels for the CPU; each module is the twin of a file in ``cuda/``, function by function."""
