"""Array kernels over millions of processes, on the CPU and on a GPU: census, block uniformity, accounting, reductions.

They take arrays of anybody, such as /proc/PID/pagemap words of a real phone; nothing here knows a simulated device.
Every kernel exists twice, as a Numba function (``cpu/``) and in CUDA C++ (``cuda/``), file by file and function by
function; tests compare the two. The public functions (`census`, `uniformity`, `accounting`, `values`) are written once
and take a `contract.Launch`, which says where they run.
"""
