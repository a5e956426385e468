"""Experiments: scenarios that are no fleets of phones, with parameters, checked once and resolved before any runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, ValidationError
from pydantic.dataclasses import dataclass as parameters

from fleetswap_kernels.layout.codecs import CODECS
from fleetswap_kernels.layout.pages import PAGE_KIB, SIZES_KIB

from ..errors import InputError
from .content_library import class_names
from .device_limits import KERNELS, MAX_CPUS
from .fingerprint import FILES, digest_of, file_or_name
from .problems import word_problems
from .toml import read_setting
from .units import MAX_DEVICES, MAX_SEED, listed_rule, near, number, refusal

BUILT_IN = ("allocator-test", "breakeven")
MAX_REGION_MIB = 128
MAX_TOUCHED_MIB = 4096
"""Memory that an iteration touches or discards."""
POLICIES = ("off", "on")
"""Large swap-in off and on: a run compares both, on the same devices and random numbers."""
DEVICES, BREAKEVEN_DEVICES = 1000, 4
"""Devices of an allocator test, and of the other question, whose number is not given."""


class ScenarioError(InputError):
    """A scenario cannot be run; the message names scenario, key, bad value and an allowed one."""


def _known_content(value: str) -> str:
    if value != "fill" and value not in class_names():
        raise refusal(", ".join(("fill", *class_names())))
    return value


@parameters(frozen=True, config=ConfigDict(strict=True))
class AllocatorTest:
    """Parameters of the test; the defaults are those of the posting."""

    region_mib: int = number(60, 1, MAX_REGION_MIB, "Region with large folios")
    small_region_mib: int = number(4, 1, MAX_REGION_MIB, "Region without, used if `small_folios`")
    zram_mib: int = number(64, 1, 65_536, "Size of the zram device")
    folio_kib: Annotated[int, listed_rule(SIZES_KIB[:-1])] = 64
    """The one enabled folio size."""
    swapin_mib: int = number(16, 0, MAX_TOUCHED_MIB, "How much is touched at random, every iteration")
    dontneed_mib: int = number(16, 0, MAX_TOUCHED_MIB, "Discarded and rewritten at random, in blocks of a folio's size")
    small_swapin_mib: int = number(1, 0, MAX_TOUCHED_MIB, "Touched of the small region, every iteration")
    aligned: bool = False
    """Touch whole folios (option -a of the test)."""
    small_folios: bool = False
    """Swap out the small region as well (option -s)."""
    iterations: int = number(17, 1, 10_000, "Iterations after the warm-up")
    cpus: int = number(1, 1, MAX_CPUS, "CPUs of the device; the test runs on CPU 0")
    kernel: Annotated[str, listed_rule(KERNELS)] = "6.12"
    """Preset of rules (spec 07)."""
    large_swapin: bool = True
    """Whether large folios are swapped in as a whole."""
    content: Annotated[str, AfterValidator(_known_content)] = "fill"
    """What pages hold: "fill", the 0x11 of the test program, or a class of the built-in content library."""
    codec: Annotated[str, listed_rule(CODECS)] = "lz4"
    """Compression algorithm of zram; it matters to contents of a class only."""
    block_kib: Annotated[int, listed_rule((PAGE_KIB, *SIZES_KIB[:-1]))] = PAGE_KIB
    """zram compresses blocks of this size, where folios cover them."""
    cost: str = "patch-phone"
    """Cost profile that prices what the devices count: a built-in name or a file."""
    random: Annotated[str, listed_rule(("philox", "glibc"))] = "philox"
    """philox: every device has its own numbers, from the seed. glibc: all draw like an unseeded C program."""
    seed: int = number(0, 0, MAX_SEED, "Seed of the fleet")


@parameters(frozen=True, config=ConfigDict(strict=True))
class Breakeven:
    """Parameters of the question when large compression blocks pay; a resolved scenario by itself."""

    name: ClassVar[str] = "breakeven"
    warnings: ClassVar[tuple[str, ...]] = ()
    devices: int = BREAKEVEN_DEVICES
    """Devices of the fleet, each with its own contents and luck."""
    memory_mib: int = number(256, 1, 1024, "Anonymous memory of a device")
    rounds: int = number(2, 1, 1000, "How often it is written, swapped out, and read again")
    step_percent: Annotated[int, listed_rule((1, 2, 4, 5, 10, 20, 25, 50, 100))] = 10
    """Distance of the simulated success rates of large-folio allocation, from 0 to 100 %; it divides 100."""
    cost: str = "patch-phone"
    """Cost profile: a built-in name or a file."""
    content: str = "patch-mix"
    """What memory holds: "patch-mix", a class of the built-in library, or a library file, whose classes share it."""
    seed: int = number(0, 0, MAX_SEED, "Seed of the fleet")

    def resolved(self) -> dict[str, Any]:
        """Every parameter, defaults included; of a file what is in it, not where it is."""
        table = {"scenario": "breakeven", **asdict(self)}
        return table | {key: file_or_name(table[key]) for key in ("cost", "content")}

    def digest(self) -> str:
        """Hash of the resolved scenario."""
        return digest_of(self.resolved())


def _absolute(value: Any) -> Any:
    """A file by its whole path: workers of a cluster read it too, wherever they were started."""
    is_file = isinstance(value, str) and Path(value).suffix in FILES
    return str(Path(value).absolute()) if is_file else value


@dataclass(frozen=True)
class AllocatorScenario:
    """The allocator test on a fleet, under every policy.

    Parameters
    ----------
    test : AllocatorTest
        The workload; its `large_swapin` is set by the policy.
    devices : int
        Devices of the fleet.
    """

    name: ClassVar[str] = "allocator-test"
    warnings: ClassVar[tuple[str, ...]] = ()
    test: AllocatorTest
    devices: int

    @property
    def seed(self) -> int:
        """Of all random numbers."""
        return self.test.seed

    def policy(self, name: str) -> AllocatorTest:
        """The workload under one policy of `POLICIES`."""
        return replace(self.test, large_swapin=name == "on")

    def resolved(self) -> dict[str, Any]:
        """Every parameter, defaults included; what a policy decides is left out."""
        test = asdict(self.test)
        del test["large_swapin"]
        test["cost"] = file_or_name(test["cost"])
        return {"scenario": self.name, "devices": self.devices, "policies": list(POLICIES), **test}

    def digest(self) -> str:
        """Hash of the resolved scenario."""
        return digest_of(self.resolved())


def is_posted(resolved: Mapping[str, Any]) -> bool:
    """Whether a resolved scenario is the allocator test as the patch's posting ran it, on any devices."""
    own = ("cost", "iterations", "random", "seed", "large_swapin", "kernel")
    test = {key: value for key, value in asdict(AllocatorTest()).items() if key not in own}
    return all(resolved.get(key) == value for key, value in test.items())


def load_scenario(
    name: str, devices: int | None, seed: int, settings: tuple[str, ...]
) -> AllocatorScenario | Breakeven:
    """Resolve an experiment.

    Parameters
    ----------
    name : str
        One of `BUILT_IN`.
    devices : int or None
        Devices of the fleet; the scenario's own number if None.
    seed : int
        Seed of all random numbers, below 2^63.
    settings : tuple of str
        ``KEY=VALUE``, by the parameters of the scenario.

    Raises
    ------
    ScenarioError
        With every problem found, one line.
    """
    if name not in BUILT_IN:
        raise ScenarioError(f"unknown scenario {name!r}; built in are {', '.join(BUILT_IN)}")
    if devices is None:
        devices = BREAKEVEN_DEVICES if name == "breakeven" else DEVICES
    if not 1 <= devices <= MAX_DEVICES:
        raise ScenarioError(f"devices: {devices} is not possible; allowed are 1 to {MAX_DEVICES}")
    model: type[AllocatorTest | Breakeven] = Breakeven if name == "breakeven" else AllocatorTest
    known = tuple(f.name for f in fields(model) if f.name not in ("seed", "large_swapin", "devices"))
    problems: list[str] = []
    values: dict[str, Any] = {"seed": seed}
    for setting in settings:
        key, equals, word = setting.partition("=")
        if not equals:
            problems.append(f"bad setting {setting!r}; expected KEY=VALUE")
        elif key not in known:
            problems.append(f"unknown key {key!r}; {near(key, known)}")
        else:
            values[key] = _absolute(read_setting(word))
    scenario: AllocatorScenario | Breakeven | None = None
    try:
        if model is Breakeven:
            scenario = Breakeven(devices=devices, **values)
        else:
            scenario = AllocatorScenario(AllocatorTest(**values), devices)
    except ValidationError as error:
        problems += [": ".join((*key, text)) for key, text in word_problems(model, error, known).items()]
    if problems or scenario is None:
        raise ScenarioError(f"{name}: " + "; ".join(problems))
    return scenario
