"""Numeric core of fleetswap: devices as arrays, the kernel's rules as scalar functions, launch on CPU and CUDA."""
