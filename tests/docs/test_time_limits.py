"""No test has a time limit of its own: all pass on a machine of any speed. What hangs is shown by faulthandler."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parents[1]
LIMITS = {"timeout", "deadline"}
CLOCKS = {"monotonic", "perf_counter", "process_time", "time"}


def limits(source: str) -> Iterator[int]:
    """Lines that give a number to a limit, wait for a number of seconds, or compare a clock."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg in LIMITS and isinstance(node.value, ast.Constant):
            if node.value.value is not None:
                yield node.value.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("wait", "join"):
            if any(isinstance(a, ast.Constant) and isinstance(a.value, int | float) for a in node.args):
                # An event that is waited for in a loop sets a pace, no limit.
                if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "stop"):
                    yield node.lineno
        elif isinstance(node, ast.Compare):
            calls = (n for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute))
            if any(call.func.attr in CLOCKS for call in calls):  # type: ignore[attr-defined]
                yield node.lineno


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("process.communicate(timeout=300)", True),
        ("process.wait(60)", True),
        ("assert time.monotonic() - begin < 60", True),
        ("settings(deadline=200)", True),
        ("settings(deadline=None)", False),
        ("process.wait()", False),
        ("', '.join(names)", False),
    ],
)
def test_limits_are_found(line: str, found: bool) -> None:
    assert bool(list(limits(line))) == found


def test_no_test_has_one() -> None:
    # Benchmarks that are run by hand measure time.
    paths = [path for path in TESTS.rglob("*.py") if path.parent.name != "benchmarks" or path.name.startswith("test_")]
    found = [f"{path.relative_to(TESTS)}:{line}" for path in paths for line in limits(path.read_text(encoding="utf-8"))]
    assert found == []


def test_hypothesis_has_none() -> None:
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check
