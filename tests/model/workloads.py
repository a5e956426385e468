"""What the model counts: operations on warm devices, the same that a run would execute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetswap.scenario.experiments import AllocatorTest
from fleetswap.scenario.file import load_fleet_scenario
from fleetswap.script.language import parse_script
from fleetswap.script.program import compile_script
from fleetswap.workload import allocator_test, phones
from fleetswap_kernels.backend.arena import Arena, Program
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.warps import WARP
from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout import operations as ops
from fleetswap_kernels.layout.device import HEADER_BYTES, Q_COUNTER
from fleetswap_kernels.layout.phone import PHONE_OP

from .machine import BASE, STACK_BYTES, Machine
from .ptx import Function

CONTENT = "java_app"
"""Class of the contents where pages are to compress."""
MID_DAY = 12
"""Steps of a phone's day that have passed when it is looked at."""
SWITCHES = 2
"""App switches of a phone that are looked at."""


@dataclass(frozen=True)
class Case:
    """Warm devices and what they do next.

    Parameters
    ----------
    kernel : str
        ``run_devices`` or ``run_phones``.
    arena : Arena
        Devices in the state before.
    program : uint32 array of shape (n, 8)
    first, end : int
        Operations that are looked at.
    """

    kernel: str
    arena: Arena
    program: Program
    first: int
    end: int

    def after(self) -> npt.NDArray[np.uint8]:
        """Memory of all devices when compiled CPU code has done the same."""
        before = self.arena.memory.copy()
        self.arena.run(self.program, self.first, self.end)
        after = self.arena.memory.copy()
        self.arena.memory = before
        return after


def allocator(test: AllocatorTest, devices: int = 1) -> Case:
    """The second iteration of the allocator test: the first one has mixed the slots."""
    laid_out = allocator_test.plan(test)
    arena = Arena([(laid_out.blueprint, devices)], ONE_THREAD)
    arena.init()
    arena.run(laid_out.program, 0, laid_out.marks[2])
    return Case("run_devices", arena, laid_out.program, laid_out.marks[2], laid_out.marks[3])


def phone_fleet(settings: Sequence[str], devices: int) -> Case:
    """Some switches of phones in the middle of their day, in the order of their numbers."""
    scenario = load_fleet_scenario("phones", settings, devices)
    laid_out = phones.lay_out(scenario)
    warm, order = laid_out.arena()
    warm.init()
    passed = min(MID_DAY, len(laid_out.marks) - 1)
    warm.run(laid_out.program, 0, laid_out.marks[passed])
    switches = int(laid_out.program[laid_out.marks[passed] - 2, 2]) + SWITCHES
    program = np.zeros((1, ops.OP_WORDS), dtype=np.uint32)
    program[0, [0, 2]] = ops.SWITCH, switches
    # An arena has the devices of a class together: put them back in the order of their numbers.
    place = np.argsort(order)
    arena = Arena([(warm.blueprints[d], 1) for d in place], ONE_THREAD, ids=np.arange(devices))
    for to, source in enumerate(place):
        arena.view(to).by[:] = warm.view(source).by
    return Case("run_phones", arena, program, 0, 1)


KINDS = """
cfg cpus 1
cfg thp 64=always
cfg page_cluster 0
cfg swapin large
cfg zram 16M lz4
cfg pool packed
map A 1024 9 hugepage
map B 512 9 nohugepage
map C 1024 9 hugepage
write A 0 1024 fill:0x11
write B 0 512 fill:0x11
write A 0 1024 fill:0x11
pageout B 0 512
pageout A 0 1024
pageout A 0 1024
read B 0 512
read A 0 1024
pageout A 0 1024
dontneed A 0 1024
dontneed B 0 512
write C 0 1024 class:java_app
pageout C 0 1024
read C 0 1024
fork child
@child write C 0 64 class:java_app
@child exit
"""
"""One operation for each kind of event, on pages in ascending order."""
KIND_NAMES = (
    "anonymous fault, 64 KiB", "anonymous fault, 4 KiB", "write to present pages", "swap-out, 4 KiB folios",
    "swap-out, 64 KiB folios", "MADV_PAGEOUT over swapped pages", "swap-in, 4 KiB", "swap-in, 64 KiB",
    "swap-out again, 64 KiB", "discard of swapped pages, 64 KiB", "discard of present pages, 4 KiB",
    "anonymous fault, 64 KiB, measured contents", "swap-out, 64 KiB, measured contents",
    "swap-in, 64 KiB, measured contents", "fork", "copy on write", "exit of the child",
)  # fmt: skip
_NOT_A_KIND = ("map",)


def kinds() -> tuple[Case, list[tuple[str, int, int]]]:
    """A device before the first of the kinds, and name, operation range of each."""
    compiled = compile_script(parse_script(KINDS, "kinds"))
    blueprint = replace(compiled.blueprint, sizes=replace(compiled.blueprint.sizes, verify=False))
    arena = Arena([(blueprint, 1)], ONE_THREAD)
    arena.init()
    steps = [step for step in compiled.steps if step.op.name not in _NOT_A_KIND]
    ranges = [(name, step.first, step.end) for name, step in zip(KIND_NAMES, steps, strict=True)]
    arena.run(compiled.program, 0, steps[0].first)
    return Case("run_devices", arena, compiled.program, steps[0].first, steps[-1].end), ranges


class Runner:
    """A case on a machine.

    Parameters
    ----------
    case : Case
    functions : dict of str to Function
        Its kernel's PTX.
    observer : Any
        Made by the caller for addresses from `BASE` on.
    """

    def __init__(self, case: Case, functions: dict[str, Function], observer: Any) -> None:
        self.case = case
        arena = case.arena
        self._model = arena.models.view(np.uint8)
        failed = np.full(1, np.iinfo(np.int64).max)
        self.machine = Machine(functions, [arena.memory, arena.base, self._model, failed, case.program], observer)

    def run(self, device: int, first: int, end: int) -> None:
        """Run operations on one device: its thread, if every lane of a warp has one."""
        arena, program = self.case.arena, self.case.program
        machine = self.machine
        machine.run(
            device,
            machine.arguments(
                (0, (len(arena.memory) // HEADER_BYTES,), HEADER_BYTES),
                (1, arena.base.shape, 8),
                (2, (1,), self._model.nbytes),
                (3, (1,), 8),
                (4, program.shape, 4),
                first,
                end,
                WARP,
            ),
        )

    def operation_places(self, device: int) -> frozenset[int]:
        """Addresses at which the first word of a device's next operation can stand.

        They are the program's rows, and where a phone puts down its own operations, for which a row ``SWITCH`` stands.
        """
        program = self.machine.places[4]
        places = set(range(program, program + self.case.program.nbytes, 4 * ops.OP_WORDS))
        header = self.case.arena.header(device)
        if header["n_phone"]:
            places.add(BASE + int(self.case.arena.base[device]) * HEADER_BYTES + 4 * int(header["o_phone"] + PHONE_OP))
        return frozenset(places)

    def memory(self) -> npt.NDArray[np.uint8]:
        """Memory of all devices."""
        return self.machine.memory[BASE : BASE + len(self.case.arena.memory)]

    def counter(self, device: int, index: int) -> int:
        """A counter of a device."""
        at = int(self.case.arena.base[device]) * HEADER_BYTES + 8 * (Q_COUNTER + index)
        return int(self.memory()[at : at + 8].view(np.uint64)[0])

    def page_events(self, device: int) -> int:
        """Page events of a device so far."""
        return self.counter(device, counters.PAGE_EVENTS)


def addresses(case: Case) -> tuple[int, int, int]:
    """First and last address of the devices' memory on a machine, and the end of local memory."""
    return BASE, BASE + len(case.arena.memory), STACK_BYTES
