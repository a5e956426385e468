"""The recorded dumps of a script: found beside it, read and checked."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from ..errors import InputError
from ..scenario.problems import validate_table
from ..scenario.units import Rule

SUFFIXES = (".jsonl.gz", ".jsonl")
"""Endings of the file that holds the dumps of NAME.ops."""

_RUNS = {"n": [str, int, int], "z": [str, int, int], "s": [str, int, int, int], "p": [str, int, int, int, int, str]}
"""Types of a run's elements by the kind of its pages, which is the first element."""


def _read_run(value: object) -> list[Any]:
    kind = str(value[0]) if isinstance(value, list) and value else ""
    if not isinstance(value, list) or [type(element) for element in value] != _RUNS.get(kind):
        raise ValueError(value)
    return value


_Run = Annotated[list[Any], Rule(_read_run, "runs of pages n, z, s or p", {"type": "array"}, str)]
_Pair = Annotated[list[int], Field(min_length=2, max_length=2)]
_Piece = Annotated[list[int], Field(min_length=3, max_length=3)]
_Five = Annotated[list[int], Field(min_length=5, max_length=5)]


class _Table(BaseModel):
    """An object of a dump, with the fields that comparing takes for granted."""

    model_config = ConfigDict(strict=True)


class _Heading(_Table):
    line: int
    label: str


class _SummaryProcess(_Table):
    majflt: int
    regions: dict[str, dict[str, Any]]


class _Region(_Table):
    pages: int
    vpn: int
    runs: list[_Run]


class _Process(_Table):
    majflt: int
    regions: dict[str, _Region]


class _SlotCache(_Table):
    slots: list[int]
    ret: list[int]


class _Kernel(_Table):
    max: int
    swap_map: list[_Piece]
    zeromap: list[_Pair]
    clusters: list[_Five]
    free: list[_Piece]
    full: list[_Piece]
    nonfull: dict[str, list[_Piece]]
    frag: dict[str, list[_Piece]]
    frag_nr: list[int]
    percpu_next: list[list[int]]
    slot_cache: list[_SlotCache]


class _State(_Heading):
    vmstat: dict[str, int]
    mthp: dict[str, dict[str, int]]
    mm_stat: list[int]
    io_stat: list[int]
    ops: list[_Five]


class _Summary(_State):
    procs: dict[str, _SummaryProcess]


class _Dump(_State):
    procs: dict[str, _Process]
    kernel: _Kernel


@dataclass(frozen=True)
class Recording:
    """Dumps of a real kernel that ran a script.

    Parameters
    ----------
    path : str
        File it was read from.
    dumps : tuple of dict
        Dumps and summaries in the order of the script.
    """

    path: str
    dumps: tuple[dict[str, Any], ...]

    def check(self, index: int) -> None:
        """Check the fields of a dump; reading checks only that it is one.

        Raises
        ------
        InputError
            If a field is missing or has another type than the corpus gives it.
        """
        dump = self.dumps[index]
        validate_table(_Dump if "dump" in dump else _Summary, dump, f"{self.path}:{index + 1}: the dump is corrupt")


def load_recording(script: str | Path) -> Recording:
    """Read the dumps recorded for a script.

    Parameters
    ----------
    script : path
        ``NAME.ops``; the dumps are ``NAME.jsonl.gz`` or ``NAME.jsonl`` in the same folder.

    Raises
    ------
    InputError
        If there is no such file, or it cannot be read, is truncated or corrupt.
    """
    stem = Path(script).with_suffix("")
    candidates = [stem.parent / (stem.name + suffix) for suffix in SUFFIXES]
    path = next((candidate for candidate in candidates if candidate.exists()), None)
    if path is None:
        raise InputError(f"{script}: no recorded dumps beside it; expected {' or '.join(c.name for c in candidates)}")
    lines = _read(path).split(b"\n")
    if lines[-1]:
        raise InputError(f"{path}:{len(lines)}: the file is truncated: its last line has no end")
    return Recording(str(path), tuple(_parse(path, at, line) for at, line in enumerate(lines[:-1], 1)))


def _read(path: Path) -> bytes:
    """Contents of a file, uncompressed."""
    parts: list[bytes] = []
    reason = ""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            # One piece at a time: what came before an error tells its line.
            while part := file.read1(1 << 13):
                parts.append(part)
    except EOFError:
        reason = "the file is truncated: its compressed data end too early"
    except (gzip.BadGzipFile, zlib.error):
        reason = "the file is corrupt: its compressed data are no gzip, or damaged"
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    data = b"".join(parts)
    if reason:
        line = data.count(b"\n") + 1
        raise InputError(f"{path}:{line}: {reason}")
    return data


def _parse(path: Path, at: int, line: bytes) -> dict[str, Any]:
    try:
        dump = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError(f"{path}:{at}: the dump is corrupt, no JSON") from None
    if not isinstance(dump, dict) or not ("dump" in dump or "summary" in dump):
        raise InputError(f"{path}:{at}: the dump is corrupt: expected an object with `dump` or `summary`")
    validate_table(_Heading, dump, f"{path}:{at}: the dump is corrupt")
    return dump
