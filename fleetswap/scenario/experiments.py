"""Scenarios: named workloads with parameters, checked once and resolved before anything runs."""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from fleetswap_kernels.layout.codecs import CODECS
from fleetswap_kernels.layout.pages import MIB_PAGES, PAGE_KIB, SIZES_KIB

from ..errors import InputError
from .content_library import class_names
from .device_limits import KERNELS, MAX_CPUS

BUILT_IN = ("allocator-test", "breakeven")
MAX_DIGITS = 18
"""Longer numbers are no parameter."""
MAX_REGION_MIB = 128
MAX_TOUCHED_MIB = 4096
"""Memory that an iteration touches or discards."""
POLICIES = ("off", "on")
"""Large swap-in off and on: a run compares both, on the same devices and random numbers."""
DEVICES = 1000
"""Devices of an allocator test whose number is not given."""


class ScenarioError(InputError):
    """A scenario cannot be run; the message names scenario, key, bad value and an allowed one."""


@dataclass(frozen=True)
class AllocatorTest:
    """Parameters of the test; the defaults are those of the posting.

    Parameters
    ----------
    region_mib : int
        Region with large folios (60).
    small_region_mib : int
        Region without, used if `small_folios` (4).
    zram_mib : int
        Size of the zram device (64).
    folio_kib : int
        The one enabled folio size (64).
    swapin_mib : int
        How much is touched at random, every iteration (16).
    dontneed_mib : int
        How much is discarded and rewritten at random, in folio-sized blocks (16).
    small_swapin_mib : int
        How much of the small region is touched, every iteration (1).
    aligned : bool
        Touch whole folios (option -a of the test).
    small_folios : bool
        Swap out the small region as well (option -s).
    iterations : int
        Iterations after the warm-up (17).
    cpus : int
        CPUs of the device; the test runs on CPU 0.
    kernel : str
        Preset of rules, "6.12" or "v7" (spec 07).
    large_swapin : bool
        Whether large folios are swapped in as a whole.
    content : str
        What pages hold: "fill", the 0x11 of the test program, or a class of the built-in content library.
    codec : str
        Compression algorithm of zram; it matters to contents of a class only.
    block_kib : int
        zram compresses blocks of this size, 4 to 1024, where folios cover them.
    cost : str
        Cost profile that prices what the devices count: a built-in name or a file.
    random : str
        "philox": every device has its own numbers, from the seed. "glibc": all draw like an unseeded C program.
    seed : int
        Seed of the fleet.
    """

    region_mib: int = 60
    small_region_mib: int = 4
    zram_mib: int = 64
    folio_kib: int = 64
    swapin_mib: int = 16
    dontneed_mib: int = 16
    small_swapin_mib: int = 1
    aligned: bool = False
    small_folios: bool = False
    iterations: int = 17
    cpus: int = 1
    kernel: str = "6.12"
    large_swapin: bool = True
    content: str = "fill"
    codec: str = "lz4"
    block_kib: int = 4
    cost: str = "patch-phone"
    random: str = "philox"
    seed: int = 0


@dataclass(frozen=True)
class Breakeven:
    """Parameters of the question when large compression blocks pay; a resolved scenario by itself.

    Parameters
    ----------
    devices : int
        Devices of the fleet, each with its own contents and luck.
    memory_mib : int
        Anonymous memory of a device.
    rounds : int
        How often it is written, swapped out, and read again.
    step_percent : int
        Distance of the simulated success rates of large-folio allocation, from 0 to 100 %.
    cost : str
        Cost profile: a built-in name or a file.
    content : str
        What memory holds: "patch-mix", a class of the built-in library, or a library file, whose classes have equal
        shares.
    seed : int
        Seed of the fleet.
    """

    devices: int = 4
    memory_mib: int = 256
    rounds: int = 2
    step_percent: int = 10
    cost: str = "patch-phone"
    content: str = "patch-mix"
    seed: int = 0

    def resolved(self) -> dict[str, Any]:
        """Every parameter, defaults included; of a file what is in it, not where it is."""
        parameters = {"scenario": "breakeven", **asdict(self)}
        return parameters | {key: file_or_name(parameters[key]) for key in ("cost", "content")}

    def digest(self) -> str:
        """Hash of the resolved scenario."""
        return digest_of(self.resolved())


def file_or_name(name: str) -> str:
    """The hash of a file, or a name as it is."""
    path = Path(name)
    if path.suffix in (".toml", ".npz") and path.is_file():
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return name


def digest_of(resolved: dict[str, Any]) -> str:
    """Hash of a resolved scenario."""
    return hashlib.sha256(json.dumps(resolved, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Scenario:
    """A resolved scenario.

    Parameters
    ----------
    name : str
    test : AllocatorTest
        The workload; its `large_swapin` is set by the policy.
    devices : int
        Devices of the fleet.
    """

    name: str
    test: AllocatorTest
    devices: int

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


def load_scenario(name: str, devices: int | None, seed: int, settings: tuple[str, ...]) -> Scenario | Breakeven:
    """Resolve a built-in scenario.

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
        devices = Breakeven.devices if name == "breakeven" else DEVICES
    if devices < 1:
        raise ScenarioError(f"devices: {devices} is not possible; allowed are 1 and more")
    if not 0 <= seed < 1 << 63:
        raise ScenarioError(f"seed: {seed} is out of range; allowed are 0 to {(1 << 63) - 1}")
    problems: list[str] = []
    parameters: type[AllocatorTest | Breakeven] = Breakeven if name == "breakeven" else AllocatorTest
    known = {f.name: f.type for f in fields(parameters) if f.name not in ("seed", "large_swapin", "devices")}
    values: dict[str, Any] = {"seed": seed}
    for setting in settings:
        try:
            key, value = _setting(setting, known)
            values[key] = value
        except ValueError as error:
            problems.append(str(error))
    resolved: Scenario | Breakeven
    if name == "breakeven":
        resolved = Breakeven(devices=devices, **values)
        problems += _breakeven_problems(resolved)
    else:
        resolved = Scenario(name, AllocatorTest(**values), devices)
        problems += _problems(resolved.test)
    if problems:
        raise ScenarioError(f"{name}: " + "; ".join(problems))
    return resolved


def _setting(text: str, known: dict[str, Any]) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"bad setting {text!r}; expected KEY=VALUE")
    if key not in known:
        near = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise ValueError(f"unknown key {key!r}; {hint}")
    if known[key] == "bool":
        if value not in ("true", "false"):
            raise ValueError(f"{key}: bad value {value!r}; allowed are true, false")
        return key, value == "true"
    if known[key] == "int":
        if not (value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS):
            raise ValueError(f"{key}: bad value {value!r}; expected a number")
        return key, int(value)
    return key, value


def _breakeven_problems(test: Breakeven) -> list[str]:
    """Problems of the parameters of the question."""
    problems = []
    for key, least, most in (("memory_mib", 1, 1024), ("rounds", 1, 1000), ("step_percent", 1, 100)):
        value = getattr(test, key)
        if not least <= value <= most:
            problems.append(f"{key}: {value!r} is not possible; allowed are {least} to {most}")
    if 100 % max(1, test.step_percent):
        problems.append(
            f"step_percent: {test.step_percent} does not divide 100; allowed are 1, 2, 4, 5, 10, 20, 25, 50, 100"
        )
    return problems


def _problems(test: AllocatorTest) -> list[str]:
    """Problems of the parameters of a test."""
    problems = []

    def check(key: str, good: bool, allowed: str) -> None:
        if not good:
            problems.append(f"{key}: {getattr(test, key)!r} is not possible; allowed are {allowed}")

    check("region_mib", 1 <= test.region_mib <= MAX_REGION_MIB, f"1 to {MAX_REGION_MIB}")
    check("small_region_mib", 1 <= test.small_region_mib <= MAX_REGION_MIB, f"1 to {MAX_REGION_MIB}")
    check("zram_mib", 1 <= test.zram_mib <= 65536, "1 to 65536")
    check("folio_kib", test.folio_kib in SIZES_KIB[:-1], ", ".join(map(str, SIZES_KIB[:-1])))
    check("swapin_mib", 0 <= test.swapin_mib <= MAX_TOUCHED_MIB, f"0 to {MAX_TOUCHED_MIB}")
    check("dontneed_mib", 0 <= test.dontneed_mib <= MAX_TOUCHED_MIB, f"0 to {MAX_TOUCHED_MIB}")
    check("small_swapin_mib", 0 <= test.small_swapin_mib <= MAX_TOUCHED_MIB, f"0 to {MAX_TOUCHED_MIB}")
    check("iterations", 1 <= test.iterations <= 10_000, "1 to 10000")
    check("cpus", 1 <= test.cpus <= MAX_CPUS, f"1 to {MAX_CPUS}")
    check("kernel", test.kernel in KERNELS, ", ".join(KERNELS))
    check("content", test.content == "fill" or test.content in class_names(), f"fill, {', '.join(class_names())}")
    check("codec", test.codec in CODECS, ", ".join(CODECS))
    check("block_kib", test.block_kib in (PAGE_KIB, *SIZES_KIB[:-1]), ", ".join(map(str, (PAGE_KIB, *SIZES_KIB[:-1]))))
    check("random", test.random in ("philox", "glibc"), "philox, glibc")
    if test.region_mib >= 1 and test.folio_kib in SIZES_KIB:
        check("folio_kib", test.region_mib * MIB_PAGES * PAGE_KIB >= test.folio_kib, "sizes up to the region's")
    return problems
