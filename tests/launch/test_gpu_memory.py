"""How the memory of a GPU is shared out, by hand."""

from __future__ import annotations

import pytest

from fleetswap_kernels.counters import N_COUNTERS
from fleetswap_kernels.gpu_memory import GpuMemory
from fleetswap_kernels.launch import DeviceMemoryError

# An H100: 132 multiprocessors of 2048 threads (NVIDIA H100 white paper); 79 GiB free of 80.
H100 = GpuMemory(79 << 30, 80 << 30, 132 * 2048, 512 << 30)


def test_what_is_kept_by_hand():
    # 270,336 stacks of 4 KiB are 1,107,296,256 bytes; 256 MiB of code; a 32nd of 84,825,604,096 bytes.
    assert H100.kept_bytes == 1_107_296_256 + 268_435_456 + 2_650_800_128
    assert H100.device_bytes == 84_825_604_096 - 4_026_531_840


def test_devices_at_once_by_hand():
    # Each takes its state, its counters of 8 bytes, and 16 for where and who it is.
    each = 78_336 + 8 * N_COUNTERS + 16
    assert H100.at_once(1000, 78_336_000) == 80_799_072_256 // each


def test_a_million_processes_fit_an_h100():
    # The bound of this project: processes of 4096 PTEs, all included, in 80 GB: 75,000 bytes each leave room.
    assert H100.at_once(1, 75_000) > 1_000_000


def test_results_may_take_half_of_the_host():
    small = GpuMemory(79 << 30, 80 << 30, 132 * 2048, 16 << 30)
    # 8 GiB for ten copies of the counters.
    assert small.at_once(1, 4096) == (8 << 30) // (10 * 8 * N_COUNTERS)


@pytest.mark.parametrize("free", [0, 1 << 30, (1 << 30) + (256 << 20)])
def test_too_little_memory_for_anything(free):
    memory = GpuMemory(free, 80 << 30, 132 * 2048, 512 << 30)
    assert memory.device_bytes == 0
    with pytest.raises(DeviceMemoryError, match="a device takes"):
        memory.at_once(1, 768)


def test_parts_of_a_byte_count_as_one():
    # Two devices of 3 bytes together: room for two each, not for one and a half.
    one = GpuMemory(1 << 33, 1 << 33, 0, 1 << 40)
    assert one.at_once(2, 3) == one.at_once(1, 2)
