"""How device functions are compiled and linked, on the CPU and for CUDA."""
