"""Runs a script on one simulated device and yields its dumps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fleetswap_kernels.backend.arena import Arena, DeviceError
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.contract import Backend

from .language import Script, ScriptError
from .program import compile_script
from .snapshot import Snapshot


def replay(script: Script, backend: Backend = ONE_THREAD) -> Iterator[dict[str, Any]]:
    """Replay a script.

    Yields
    ------
    dict
        A dump or summary in the corpus format, for every `dump` and `summary` of the script.

    Raises
    ------
    ScriptError
        If the script drives the device into a state that is not modelled; the message names the line.
    """
    compiled = compile_script(script)
    arena = Arena([(compiled.blueprint, 1)], backend=backend)
    arena.init()
    done: list[list[int]] = []
    number = 0
    for step in compiled.steps:
        op = step.op
        if op.name in ("dump", "summary"):
            snapshot = Snapshot(arena.view(0))
            state = snapshot.dump(step.processes) if op.name == "dump" else snapshot.summary(step.processes)
            yield {op.name: number, "line": op.line, "label": op.text, **state, "ops": done}
            done = []
            number += 1
            continue
        try:
            arena.run(compiled.program, step.first, step.end)
        except DeviceError as error:
            raise ScriptError(script.path, op.line, str(error)) from None
        if op.name not in ("thp", "zswap", "verdict"):
            record = arena.header(0)
            counted = (int(record[name]) for name in ("op_minflt", "op_majflt", "op_bad"))
            done.append([op.line, -int(record["op_errno"]), *counted])
