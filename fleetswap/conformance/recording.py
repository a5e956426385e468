"""The recorded dumps of a script: found beside it, read and checked."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError

SUFFIXES = (".jsonl.gz", ".jsonl")
"""Endings of the file that holds the dumps of NAME.ops."""

# What a dump must look like, so that it can be compared. A list has any number of elements of one shape, a tuple is a
# list of exactly these; a mapping with the key `str` has any keys.
_INTS = [int]
_PIECES = [(int, int, int)]
_RUNS = {"n": (str, int, int), "z": (str, int, int), "s": (str, int, int, int), "p": (str, int, int, int, int, str)}
_SUMMARY = {
    "line": int,
    "label": str,
    "procs": {str: {"majflt": int, "regions": {str: {}}}},
    "vmstat": {str: int},
    "mthp": {str: {str: int}},
    "mm_stat": _INTS,
    "io_stat": _INTS,
    "ops": [(int, int, int, int, int)],
}
_DUMP = {
    **_SUMMARY,
    "procs": {str: {"majflt": int, "regions": {str: {"pages": int, "vpn": int, "runs": [_RUNS]}}}},
    "kernel": {
        "max": int,
        "swap_map": _PIECES,
        "zeromap": [(int, int)],
        "clusters": [(int, int, int, int, int)],
        "free": _PIECES,
        "full": _PIECES,
        "nonfull": {str: _PIECES},
        "frag": {str: _PIECES},
        "frag_nr": _INTS,
        "percpu_next": [_INTS],
        "slot_cache": [{"slots": _INTS, "ret": _INTS}],
    },
}


@dataclass(frozen=True)
class Recording:
    """What a real kernel did with a script.

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
        flaw = _flaw(dump, _DUMP if "dump" in dump else _SUMMARY)
        if flaw:
            raise InputError(f"{self.path}:{index + 1}: the dump is corrupt: {flaw}")


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
    flaw = _flaw(dump, {"line": int, "label": str})
    if flaw:
        raise InputError(f"{path}:{at}: the dump is corrupt: {flaw}")
    return dump


def _flaw(value: Any, shape: Any, where: str = "") -> str:
    """What is wrong with a value; empty if it has the shape."""
    if shape is _RUNS:
        kind = str(value[0]) if isinstance(value, list) and value else ""
        shape = _RUNS.get(kind, int)  # a number is what no run is
    named = isinstance(shape, dict)
    container = isinstance(value, dict if named else list) and not isinstance(shape, type)
    if isinstance(shape, tuple):
        container = container and len(value) == len(shape)
    if not container and (not isinstance(shape, type) or not isinstance(value, shape) or isinstance(value, bool)):
        return f"{where.lstrip('.') or 'it'} cannot be {json.dumps(value)[:60]}"
    parts: list[tuple[Any, Any, Any]] = []
    if isinstance(shape, tuple):
        parts = list(zip(range(len(shape)), value, shape, strict=True))
    elif isinstance(shape, list):
        parts = [(i, element, shape[0]) for i, element in enumerate(value)]
    elif named and str in shape:
        parts = [(name, element, shape[str]) for name, element in value.items()]
    elif named:
        lacking = [name for name in shape if name not in value]
        if lacking:
            return f"it lacks {f'{where}.{lacking[0]}'.lstrip('.')}"
        parts = [(name, value[name], part) for name, part in shape.items()]
    return next((flaw for name, element, part in parts if (flaw := _flaw(element, part, f"{where}.{name}"))), "")
