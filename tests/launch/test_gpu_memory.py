"""How the memory of a GPU is shared out, by hand."""

from __future__ import annotations

import pytest

from fleetswap_kernels.backend.contract import DeviceMemoryError
from fleetswap_kernels.backend.memory_plan import GpuMemory
from fleetswap_kernels.layout.counters import N_COUNTERS

# An H100: 132 multiprocessors of 2048 threads (NVIDIA H100 white paper); 79 GiB free of 80.
H100 = GpuMemory(79 << 30, 80 << 30, 132 * 2048, 512 << 30)


def test_what_is_kept_by_hand():
    # 270,336 stacks of 2 KiB are 553,648,128 bytes; 256 MiB of code; a 32nd of 84,825,604,096 bytes.
    assert H100.kept_bytes == 553_648_128 + 268_435_456 + 2_650_800_128
    assert H100.room_bytes == 84_825_604_096 - 3_472_883_712


def test_devices_at_once_by_hand():
    # Each takes its state, its counters of 8 bytes, and 16 for where and who it is.
    each = 78_336 + 8 * N_COUNTERS + 16
    assert H100.devices_at_once(78_336) == 81_352_720_384 // each


def test_a_million_processes_fit_an_h100():
    # The bound of this project: processes of 4096 PTEs, all included, in 80 GB: 75,000 bytes each leave room.
    assert H100.devices_at_once(75_000) > 1_000_000


def test_results_may_take_half_of_the_host():
    small = GpuMemory(79 << 30, 80 << 30, 132 * 2048, 16 << 30)
    # 8 GiB for ten copies of the counters.
    assert small.devices_at_once(4096) == (8 << 30) // (10 * 8 * N_COUNTERS)


@pytest.mark.parametrize("free", [0, 512 << 20, 800_000_000])
def test_too_little_memory_for_anything(free):
    memory = GpuMemory(free, 80 << 30, 132 * 2048, 512 << 30)
    assert memory.room_bytes == 0
    with pytest.raises(DeviceMemoryError, match="a device takes"):
        memory.devices_at_once(768)
