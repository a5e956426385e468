"""Conformance of a script: every dump a real kernel left, against the simulated one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.contract import Backend

from ..errors import InputError
from ..script.language import Script, ScriptError, load_script
from ..script.replay import replay
from .difference import Difference, differences
from .recording import Recording, load_recording

SHOWN_LINES = 40
"""Script lines shown since the last dump that matched."""


@dataclass(frozen=True)
class Mismatch:
    """One thing that a simulated dump has otherwise than the recorded one.

    Parameters
    ----------
    script : str
    line : int
        Line of the script whose dump differs.
    label : str
        Label of that dump.
    where : str
        Process, region and page; or slot, cluster list, counter, operation.
    expected, got : str
        What the real kernel had there, and what the simulated device has.
    matched : str or None
        Label of the nearest earlier dump that still matched; None if there is none.
    matched_line : int
        Its line; 0 if there is none.
    executed : tuple of str
        The script's lines since then, with their numbers.
    """

    script: str
    line: int
    label: str
    where: str
    expected: str
    got: str
    matched: str | None
    matched_line: int
    executed: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """Result of comparing a script's dumps.

    Parameters
    ----------
    script : str
    dumps : int
        Dumps recorded for it.
    mismatches : tuple of Mismatch
        All of the first dump that differs; later ones follow from it.
    """

    script: str
    dumps: int
    mismatches: tuple[Mismatch, ...]


def find_scripts(paths: Iterable[str | Path]) -> list[Path]:
    """The scripts among files and, recursively, in folders; each once.

    Raises
    ------
    InputError
        If a path does not exist, is no script, or is a folder without scripts.
    """
    scripts: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(path.rglob("*.ops"))
            if not inside:
                raise InputError(f"{path}: the folder contains no scripts (*.ops)")
            scripts.update(dict.fromkeys(inside))
        elif path.exists() and path.suffix != ".ops":
            raise InputError(f"{path}: is no script; expected a file NAME.ops or a folder of them")
        else:
            scripts[path] = None
    return list(scripts)


def load_case(path: str | Path) -> tuple[Script, Recording]:
    """A script and its recorded dumps.

    Raises
    ------
    InputError
        If one of them cannot be used, or their numbers of dumps differ.
    """
    script = load_script(path)
    recording = load_recording(path)
    dumps = [op for op in script.ops if op.name in ("dump", "summary")]
    if len(dumps) != len(recording.dumps):
        n = len(recording.dumps)
        raise InputError(f"{recording.path}:{max(1, n)}: {n} dumps are recorded, but {script.path} makes {len(dumps)}")
    if not dumps:
        raise InputError(f"{script.path}:{len(script.lines)}: the script ends without a dump; nothing to compare")
    return script, recording


def conform(path: str | Path, backend: Backend = ONE_THREAD) -> Outcome:
    """Replay a script and compare its dumps with the recorded ones, up to the first that differs.

    Raises
    ------
    InputError
        If the script or its recorded dumps cannot be used.
    """
    script, recording = load_case(path)
    mismatches = _first_mismatches(script, recording, backend)
    return Outcome(script.path, len(recording.dumps), mismatches)


def _first_mismatches(script: Script, recording: Recording, backend: Backend) -> tuple[Mismatch, ...]:
    forked = any(op.name == "fork" for op in script.ops)
    asked = [op for op in script.ops if op.name in ("dump", "summary")]
    simulated = replay(script, backend)
    before: tuple[str | None, int] = (None, 0)
    for index, recorded in enumerate(recording.dumps):
        line, label = asked[index].line, asked[index].text
        executed = _executed(script.lines, before[1], line)
        found: list[Difference] = []
        try:
            dump = next(simulated)
        except ScriptError as error:
            # The script was accepted: this is the device's failure, not the user's.
            found = [Difference(f"line {error.line}", "a dump", error.message)]
        else:
            if recorded != dump:
                recording.check(index)
                found = differences(recorded, dump, script.lines, forked)
        if found:
            at = (script.path, line, label)
            return tuple(Mismatch(*at, d.where, d.expected, d.got, *before, executed) for d in found)
        before = (label, line)
    return ()


def _executed(lines: Sequence[str], after: int, before: int) -> tuple[str, ...]:
    """The operations between two lines."""
    numbered = [(at, lines[at - 1].split("#", 1)[0].split()) for at in range(after + 1, before)]
    return tuple(f"{at}: {' '.join(words)}" for at, words in numbered if words)


def describe(outcome: Outcome) -> list[str]:
    """Lines that describe to a person all that differs; none if everything matches."""
    if not outcome.mismatches:
        return []
    first = outcome.mismatches[0]
    lines = [f"{first.script}:{first.line}: dump {first.label!r} differs"]
    lines += [f"  {m.where}: expected {m.expected}, got {m.got}" for m in outcome.mismatches]
    if first.matched is None:
        lines.append("  no earlier dump; executed so far:")
    else:
        lines.append(f"  dump {first.matched!r} (line {first.matched_line}) still matched; executed since:")
    hidden = len(first.executed) - SHOWN_LINES
    if hidden > 0:
        lines.append(f"    ... {hidden} lines")
    lines += [f"    {line}" for line in first.executed[max(0, hidden) :]]
    return lines
