"""Every dump that a real kernel left, field by field."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from fleetswap.conformance.difference import differences
from fleetswap.conformance.recording import Recording
from fleetswap.conformance.scripts import load_case
from fleetswap.script.language import Script, load_script
from fleetswap.script.replay import replay

HERE = Path(__file__).parent
CORPUS = sorted((HERE / "corpus").glob("*.ops"))
SCRIPTS = [*CORPUS, *sorted((HERE / "real_kernel").glob("*.ops"))]


def _dumps() -> list[Any]:
    """Every dump of every script."""
    params = []
    for path in SCRIPTS:
        labels = [op.text for op in load_script(path).ops if op.name in ("dump", "summary")]
        name = f"{path.parent.name}/{path.stem}"
        params += [pytest.param(path, i, id=f"{name}-{i}-{label}") for i, label in enumerate(labels)]
    return params


# The dumps of a script are tests in a row, so one replay serves them all.
@lru_cache(maxsize=1)
def _replayed(path: Path) -> tuple[Script, Recording, list[dict[str, Any]]]:
    script, recording = load_case(path)
    return script, recording, list(replay(script))


def test_the_public_corpus_is_complete() -> None:
    assert len(CORPUS) == 62
    assert sum(len(load_case(path)[1].dumps) for path in CORPUS) == 1289


@pytest.mark.parametrize(("path", "index"), _dumps())
def test_dump(path: Path, index: int) -> None:
    script, recording, dumps = _replayed(path)
    assert len(dumps) == len(recording.dumps)
    forked = any(op.name == "fork" for op in script.ops)
    assert differences(recording.dumps[index], dumps[index], script.lines, forked) == []
