"""GPUs the performance model knows: figures of their data sheets and of published measurements."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fleetswap_kernels.backend.warps import WARP

from ..errors import InputError
from ..scenario.problems import validate_table
from ..scenario.toml import read_toml

LINE_BYTES = 128
SECTOR_BYTES = 32
"""Cache lines and their sectors, on every GPU since Volta."""
WARP_REGISTERS = 256
"""Registers are given to a warp in pieces of so many (CUDA occupancy calculator)."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(_Model):
    """A number and the public document it comes from."""

    value: float = Field(gt=0)
    source: str = Field(min_length=1)


def _figure(text: str, default: Any = ...) -> Any:
    return Field(default, description=text)


class Gpu(_Model):
    """One GPU."""

    title: str
    compute_capability: str = Field(pattern=r"^[0-9]+\.[0-9]$", description="MAJOR.MINOR")
    sms: Figure = _figure("Streaming multiprocessors")
    clock_mhz: Figure = _figure("Clock that it holds under load")
    memory_bytes: Figure = _figure("Size of its memory")
    memory_bandwidth_bytes_per_s: Figure = _figure("Bandwidth of its memory")
    l2_bytes: Figure = _figure("Size of L2, all of it")
    l1_bytes: Figure = _figure("Size of L1 of one SM; the kernels use no shared memory")
    registers_per_sm: Figure = _figure("32-bit registers")
    threads_per_sm: Figure = _figure("Most resident threads")
    blocks_per_sm: Figure = _figure("Most resident blocks")
    integer_results_per_clock: Figure = _figure("32-bit integer results of one SM in a cycle")
    alu_latency_cycles: Figure = _figure("From an integer instruction to one that needs its result")
    l1_lines_per_clock: Figure = _figure("Cache lines one SM can look up in a cycle")
    l1_latency_cycles: Figure = _figure("Latency of a load that hits L1")
    l2_latency_cycles: Figure = _figure("Latency of a load that hits L2")
    memory_latency_cycles: Figure = _figure("Latency of a load that hits neither")
    l2_bytes_per_clock: Figure | None = _figure("What L2 gives in a cycle; without it this ceiling is left out", None)

    @property
    def capability(self) -> tuple[int, int]:
        """Compute capability as numbers."""
        major, minor = self.compute_capability.split(".")
        return int(major), int(minor)

    @property
    def clock_hz(self) -> float:
        """Cycles a second."""
        return self.clock_mhz.value * 1e6

    def resident_threads(self, registers: int, block_threads: int) -> int:
        """Threads of one SM, whole blocks, that its registers suffice for.

        Parameters
        ----------
        registers : int
            Per thread.
        block_threads : int
            Threads of a block, a multiple of a warp.
        """
        of_warp = -(-registers * WARP // WARP_REGISTERS) * WARP_REGISTERS
        warps = min(int(self.registers_per_sm.value) // of_warp, int(self.threads_per_sm.value) // WARP)
        blocks = min(warps // (block_threads // WARP), int(self.blocks_per_sm.value))
        return blocks * block_threads


def gpu_names() -> tuple[str, ...]:
    """Names of the built-in GPUs."""
    return tuple(sorted(path.name[: -len(".toml")] for path in _folder().iterdir() if path.name.endswith(".toml")))


def _folder() -> Any:
    return resources.files("fleetswap") / "data" / "gpus"


def load_gpu(name: str) -> Gpu:
    """Read a GPU.

    Parameters
    ----------
    name : str
        A built-in name, or the path of a .toml file with the keys of the built-in ones.

    Raises
    ------
    InputError
        If there is none of that name, or the file has a key or value that cannot be.
    """
    path = Path(name)
    if name in gpu_names():
        path = Path(str(_folder() / f"{name}.toml"))
    elif path.suffix != ".toml":
        raise InputError(f"GPU {name!r}: unknown; allowed are {', '.join(gpu_names())}, or a .toml file")
    return validate_table(Gpu, read_toml(path), path)
