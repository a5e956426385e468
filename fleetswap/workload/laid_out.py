"""A fleet laid out: its classes of devices, the program that all run, and what is reported of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetswap_kernels.backend.arena import Arena, Blueprint
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.contract import Backend

from ..scenario.kinds import AnyScenario
from .metrics import Metric, columns, kernel_columns

LOW = 0xFFFFFFFF


def deal_classes(shares: Sequence[int], first: int, end: int) -> npt.NDArray[np.int64]:
    """Index of the class at each of some places of a fleet.

    Places walk over the shares in golden-ratio steps, so that every range of places has all classes in about their
    shares.

    Parameters
    ----------
    shares : sequence of int
        Of each class.
    first, end : int
        The first place, and the one behind the last.
    """
    cumulative, total = np.cumsum(np.array(shares, dtype=object)), sum(shares)
    edges = np.array([edge * (1 << 32) // total for edge in cumulative], dtype=np.int64)
    places = (np.arange(first, end, dtype=np.uint64) * np.uint64(0x9E3779B9) & np.uint64(LOW)).astype(np.int64)
    return np.minimum(np.searchsorted(edges, places, side="right"), len(edges) - 1).astype(np.int64)


def seed_fields(seed: int) -> dict[str, int]:
    """A seed in the header of a device."""
    return {"seed_lo": seed & LOW, "seed_hi": seed >> 32}


@dataclass(frozen=True)
class Kind:
    """What the devices of a class have in common.

    Parameters
    ----------
    blueprint : Blueprint
    cost : str
        Cost profile that prices what they count: a built-in name or a file.
    codec : str
        Of their zram.
    block_order : int
        Of its blocks.
    share : int
        Of all shares together, where classes have shares.
    facets : mapping of str to (int, bool, str or None)
        What tells the class from others, for rows of results.
    """

    blueprint: Blueprint
    cost: str
    codec: str
    block_order: int
    share: int = 1
    facets: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LaidOut:
    """A fleet ready to be simulated: laid out once, and handed on.

    Parameters
    ----------
    scenario : AnyScenario
        What was asked.
    digest : str
        Hash of the resolved scenario.
    kinds : dict of str to Kind
        Device classes by name.
    program : uint32 array of shape (n, 8)
        The same for all devices.
    marks : tuple of int
        Program positions: start, end of every step of the time series.
    metrics : dict of str to Metric
        What is kept of every step and of the run.
    headline : str
        What is simulated, for people.
    library : Path, optional
        Content library; the built-in one by default.
    page_scale : int
        Real pages that a simulated one stands for.
    advises : bool
        Whether programs ask for huge pages.
    is_paired : bool
        Every device stands in each class once, with the same random numbers; else each has one class, by the shares.
    keeps_steps : bool
        Whether the metrics of each device are kept step by step; their quantiles are exact then.
    """

    # All else follows from the scenario.
    scenario: AnyScenario
    digest: str
    kinds: dict[str, Kind] = field(compare=False)
    program: npt.NDArray[np.uint32] = field(compare=False)
    marks: tuple[int, ...] = field(compare=False)
    metrics: dict[str, Metric] = field(compare=False)
    headline: str = field(compare=False)
    library: Path | None = field(compare=False, default=None)
    page_scale: int = field(compare=False, default=1)
    advises: bool = field(compare=False, default=False)
    is_paired: bool = field(compare=False, default=False)
    keeps_steps: bool = field(compare=False, default=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the device classes."""
        return tuple(self.kinds)

    @property
    def blueprints(self) -> tuple[Blueprint, ...]:
        """By class."""
        return tuple(kind.blueprint for kind in self.kinds.values())

    @property
    def devices(self) -> int:
        """Devices to simulate, those of all classes."""
        return self.scenario.devices * (len(self.kinds) if self.is_paired else 1)

    @property
    def steps(self) -> int:
        """Steps of the time series."""
        return len(self.marks) - 1

    @property
    def runs_short(self) -> bool:
        """Whether the memory of the devices can run short, as that of phones; only then is all counted."""
        return self.blueprints[0].sizes.pressure

    @property
    def columns(self) -> dict[str, int]:
        """Counters of a device by the name of their column."""
        return columns() if self.runs_short else kernel_columns()

    def resolved(self) -> dict[str, Any]:
        """How a summary begins: the resolved scenario, and its hash."""
        return {"scenario": self.scenario.resolved(), "digest": self.digest}

    def classes_of(self, first: int, end: int) -> npt.NDArray[np.int64]:
        """Index of the class of each of some devices, a pure function of its place in the fleet."""
        if self.is_paired:
            return np.arange(first, end, dtype=np.int64) % len(self.kinds)
        return deal_classes([kind.share for kind in self.kinds.values()], first, end)

    def numbers_of(self, first: int, end: int) -> npt.NDArray[np.int64]:
        """Number of each of some devices, which its random numbers come from, by its place in the fleet."""
        places = np.arange(first, end, dtype=np.int64)
        return places // len(self.kinds) if self.is_paired else places

    def arena(
        self, first: int = 0, end: int | None = None, backend: Backend = ONE_THREAD
    ) -> tuple[Arena, npt.NDArray[np.int64]]:
        """Memory of the devices at the places `first` to `end` - 1, all by default.

        Parameters
        ----------
        first : int
            Place of the first device.
        end : int, optional
            Place behind that of the last.
        backend : Backend
            What holds the memory and runs the kernels.

        Returns
        -------
        Arena
            Devices of one class stand together.
        int64 array of shape (devices,)
            The place of each device in the arena, less `first`.
        """
        end = self.devices if end is None else end
        classes = self.classes_of(first, end)
        order = np.argsort(classes, kind="stable")
        counts = np.bincount(classes, minlength=len(self.kinds)).tolist()
        standing = [(blueprint, n) for blueprint, n in zip(self.blueprints, counts, strict=True) if n]
        return Arena(standing, backend=backend, ids=self.numbers_of(first, end)[order]), order
