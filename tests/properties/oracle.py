"""Runs a script and checks the device after every operation."""

from __future__ import annotations

import numpy as np

from fleetswap.check.device import Checker
from fleetswap.script.language import ScriptError, parse_script
from fleetswap.script.program import Compiled, Step, compile_script
from fleetswap_kernels.backend.arena import Arena, DeviceError
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.layout import counters
from fleetswap_kernels.layout import words as bits
from tests.properties.contents import wrong_pages

_MAX_FAULT_PAGES = 256


class UnsoundError(AssertionError):
    """A device broke a promise; the message holds a script that replays it."""


class _Run:
    """One script on one device, operation by operation."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self.arena = Arena([(compiled.blueprint, 1)], ONE_THREAD)
        self.arena.init()
        view = self.arena.view(0)
        self.checker = Checker(view)
        self.counter = self.checker.dev.counter
        self.ptes = int(view.n_ptes) // int(view.n_procs)
        self.wrong = np.empty(0, dtype=np.int64)

    def step(self, step: Step) -> list[str]:
        """Run one operation; what is wrong afterwards."""
        lost_before = self._may_lose()
        self.arena.run(self.compiled.program, step.first, step.end)
        found = self.checker.violations()
        if found:
            return found
        return self._contents(step, self._may_lose() - lost_before) + self._counters()

    def leaks(self) -> list[str]:
        """What is left once no process is, besides the swap header, what the slot caches hold and the swap cache.

        Reclaim alone would drop the first page of a folio that was split in the swap cache (mm/huge_memory.c).
        """
        dev = self.checker.dev
        kept = dev.stored.nonzero()[0]
        found = []
        if dev.stored[0] == 0 or (dev.map[kept[1:]] != bits.HAS_CACHE).any():
            found.append("zram keeps a page that neither a slot cache nor the swap cache holds, or lost the header")
        if dev.frames - dev.scalar("frames_free") != dev.scalar("swap_cache_pages"):
            found.append(f"{dev.frames - dev.scalar('frames_free')} frames are in use without a process")
        return found

    def _may_lose(self) -> int:
        """Pages that the modelled kernel may have mapped with wrong contents so far, by its own count."""
        stale = int(self.counter[counters.STALE_READS])
        return stale + _MAX_FAULT_PAGES * int(self.counter[counters.SILENT_MIXED_ZEROMAP])

    def _contents(self, step: Step, may_lose: int) -> list[str]:
        """Pages hold what was written to them, but for those that a modelled bug loses or a child inherits."""
        wrong = wrong_pages(self.checker)
        if not len(wrong) and not self.arena.records[0]["op_bad"]:
            self.wrong = wrong
            return []
        op = step.op
        record = self.arena.records[0]
        bad = int(record["op_bad"])
        found = []
        if op.name == "read" and not record["op_errno"]:
            process, regions = step.processes[op.process]
            first = process * self.ptes + next(r.pte for r in regions if r.name == op.region) + op.numbers[0]
            want = int(((wrong >= first) & (wrong < first + op.numbers[1])).sum())
        else:
            want = min(bad, len(wrong))
        if bad != want:
            found.append(f"the operation reports {bad} wrong pages, there are {want}")
        fresh = np.setdiff1d(wrong, self.wrong)
        if op.name == "fork":
            shift = (step.processes[op.text][0] - step.processes[op.process][0]) * self.ptes
            fresh = np.setdiff1d(fresh, self.wrong + shift)
        if op.name == "fault_end" and self.counter[counters.SILENT_MIXED_ZEROMAP]:
            # What its first half read, and counted then, is mapped only now.
            may_lose += _MAX_FAULT_PAGES
        if len(fresh) > may_lose:
            found.append(f"{len(fresh)} pages lost their contents, at most {may_lose} may: PTEs {fresh[:8].tolist()}")
        self.wrong = wrong
        return found

    def _counters(self) -> list[str]:
        """What no correct kernel ever counts (spec 07 §7.4)."""
        config = self.compiled.script.config
        never = [counters.FAILED_READS, counters.WRITESTALL]
        if config.kernel != "v7":
            never += [counters.WARN_MIXED_ZEROMAP, counters.SILENT_MIXED_ZEROMAP, counters.SIGBUS]
        if config.swapcache_prepare:
            never += [counters.STALE_READS]
        else:
            never += [counters.SWAPIN_WAITS]
        if not config.mem_limit_bytes:
            never += [counters.FAILED_WRITES]
        return [f"{counters.SCALAR_NAMES[n]} is {int(self.counter[n])}" for n in never if self.counter[n]]


def problem(text: str) -> str:
    """What goes wrong first when a script is replayed; empty if nothing does.

    Raises
    ------
    ScriptError
        If the script is not valid.
    """
    compiled = compile_script(parse_script(text))
    run = _Run(compiled)
    for step in compiled.steps:
        try:
            found = run.step(step)
        except DeviceError as error:
            found = [str(error)]
        if not found and not step.processes:
            found = run.leaks()
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            return f"line {step.op.line} `{compiled.script.lines[step.op.line - 1]}`: {found[0]}{more}"
    return ""


def check(text: str) -> None:
    """Replay a script and check everything after every operation.

    Raises
    ------
    UnsoundError
    """
    what = problem(text)
    if what:
        raise UnsoundError(f"{what}\nReplay it as an .ops script:\n{text}")


def check_reduced(text: str) -> None:
    """As `check`, but the script in the message has lost every line that the problem does not need.

    Raises
    ------
    UnsoundError
    """
    if problem(text):
        check(reduced(text))


def reduced(text: str) -> str:
    """A script as short as leaving out lines makes it, that still has a problem."""
    lines = text.splitlines()
    size = len(lines) // 2
    while size >= 1:
        at = 0
        while at < len(lines):
            fewer = "\n".join(lines[:at] + lines[at + size :]) + "\n"
            try:
                still = problem(fewer)
            except ScriptError:
                still = ""
            if still:
                del lines[at : at + size]
            else:
                at += size
        size //= 2
    return "\n".join(lines) + "\n"
