"""Bodies of the batch kernels: what is done for one unit of work on arrays of anybody, once for every target."""
