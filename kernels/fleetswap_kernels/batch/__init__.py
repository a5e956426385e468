"""Array kernels over millions of processes, on the CPU and on a GPU: census, block uniformity, accounting, reductions.

They take arrays of anybody, such as /proc/PID/pagemap words of a real phone; nothing here knows a simulated device.
What is done for one unit of work stands in `device.batch`. The public functions (`census`, `uniformity`, `accounting`,
`values`) lay out a batch of units and take a `contract.Backend`, which runs it.
"""
