"""Question: what is asked of fleets, and the answer that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..fleet.shard import FleetShard
from ..workload.laid_out import LaidOut

Shards = Iterable[tuple[int, FleetShard]]
"""What all devices yielded, in their order, each with the index of its fleet."""


@dataclass(frozen=True)
class Question:
    """What is asked, checked and laid out.

    Parameters
    ----------
    kind : str
        "run", "comparison" or "sweep" (`work.KINDS`).
    fleets : sequence of LaidOut
        To be simulated, the same devices in each; none where finished runs are compared.
    about : mapping
        What the answer needs besides; plain JSON, kept in the plan.
    check : bool
        Whether every device is recounted after every step.
    """

    kind: str
    fleets: Sequence[LaidOut]
    about: Mapping[str, Any]
    check: bool = False


@dataclass(frozen=True)
class Answer:
    """What came of a question.

    Parameters
    ----------
    summary : mapping
        Content of summary.json.
    result : object
        What `merge` of its kind made; None where the job was finished before.
    kind : str
        Of the question.
    """

    summary: Mapping[str, Any]
    result: Any = None
    kind: str = ""


Merge = Callable[[Sequence[LaidOut], Mapping[str, Any], Shards, Mapping[str, Any], Path], tuple[Answer, dict[str, Any]]]
"""Writes the files of an answer into a folder, all but summary and manifest, of which it gives the content.

Its arguments are the fleets, what the question is about, their shards, facts of the work, and the folder.
"""


@dataclass(frozen=True)
class Kind:
    """A kind of question.

    Parameters
    ----------
    command : str
        That asks it.
    merge : Merge
    """

    command: str
    merge: Merge
