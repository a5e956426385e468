"""The GPU leaves the same bytes as the CPU: scenarios, scripts, phones under pressure, and the real kernel's dumps."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from fleetswap.conformance.scripts import conform, find_scripts
from fleetswap.script.language import load_script, parse_script
from fleetswap.script.program import Compiled, compile_script
from fleetswap_kernels.backend.arena import Arena
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.backend.contract import Backend
from tests.batch import samples
from tests.parity.run_fleets import FLEETS, TESTS, simulate
from tests.parity.test_phones import PHONES, SHORT
from tests.parity.test_targets import CORPUS, GROUPS, NAMED
from tests.properties.phones import ready, tiny
from tests.properties.programs import random_script

CONFORMANCE = Path(__file__).parents[1] / "conformance"
SCRIPTS = {str(path.relative_to(CONFORMANCE)): path for path in find_scripts([CONFORMANCE])}
FEW = ("corpus/t01_order0.ops", "corpus/p05_fork_tree.ops", "corpus/z01_mem_limit.ops", "real_kernel/c00.ops")


@pytest.mark.parametrize("name", [*TESTS, *FLEETS])
def test_scenarios(name: str, gpu: Backend) -> None:
    found, told = simulate(name, gpu)
    expected, known = simulate(name, ONE_THREAD)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)
    assert told == known


def same_memory(compiled: Compiled, gpu: Backend, devices: int) -> None:
    """Every byte of equal devices, which have numbers of their own, and every counter."""
    arenas = [Arena([(compiled.blueprint, devices)], backend=backend) for backend in (gpu, ONE_THREAD)]
    for arena in arenas:
        arena.init()
        arena.run(compiled.program, 0, len(compiled.program))
    assert np.array_equal(arenas[0].memory, arenas[1].memory)
    assert np.array_equal(arenas[0].counters(), arenas[1].counters())


@pytest.mark.parametrize("group", [*GROUPS, *NAMED])
def test_scripts(group: str, gpu: Backend) -> None:
    scripts = [load_script(CORPUS / f"{name}.ops") for name in GROUPS.get(group, [])]
    scripts += [parse_script(NAMED[group])] if group in NAMED else []
    for script in scripts:
        same_memory(compile_script(script), gpu, 130)


@pytest.mark.parametrize("share", range(4))
def test_random_scripts(share: int, gpu: Backend) -> None:
    for i in range(10):
        text = random_script(Random(f"gpu {share} {i}"), 30)  # noqa: S311 (no secrets here)
        same_memory(compile_script(parse_script(text)), gpu, 3)


@pytest.mark.parametrize("name", PHONES)
def test_phones_under_pressure(name: str, gpu: Backend) -> None:
    found = []
    for backend in (gpu, ONE_THREAD):
        arena, laid_out = ready(tiny(*SHORT, *PHONES[name], devices=200, seed=3), backend, verify=False)
        for first, end in zip(laid_out.marks, laid_out.marks[1:], strict=False):
            arena.run(laid_out.program, first, end)
        found.append((arena.memory, arena.counters()))
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])


def test_batches(gpu: Backend) -> None:
    for found, expected in zip(samples.found_by(gpu), samples.found_by(ONE_THREAD), strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("name", SCRIPTS)
def test_conformance(name: str, real_gpu: Backend) -> None:
    outcome = conform(SCRIPTS[name], real_gpu)
    assert outcome.dumps > 0
    assert outcome.mismatches == ()


@pytest.mark.parametrize("name", FEW)
def test_conformance_through_the_stand_in(name: str, gpu: Backend) -> None:
    outcome = conform(SCRIPTS[name], gpu)
    assert outcome.dumps > 0
    assert outcome.mismatches == ()
