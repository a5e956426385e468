"""Table of a TOML file; a broken file is bad input, with an error that names its line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from ..errors import InputError

MAX_FILE_BYTES = 1 << 20


def read_toml(path: Path, asked: str = "") -> dict[str, Any]:
    """The table of a file.

    Parameters
    ----------
    path : Path
    asked : str
        Text before the file's name in errors: the file and key that name it.

    Raises
    ------
    InputError
        If it cannot be read, or is no TOML.
    """
    try:
        with path.open("rb") as opened:
            raw = opened.read(MAX_FILE_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        raise InputError(f"{asked}{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{asked}{path}: line {line}: byte {raw[error.start]:#x} is not possible; allowed is UTF-8"
        ) from None
    except ValueError:
        raise InputError(f"{asked}{str(path)!r} is not possible; allowed are paths") from None
    if len(raw) > MAX_FILE_BYTES:
        raise InputError(f"{asked}{path}: is too large; allowed are up to {MAX_FILE_BYTES} bytes")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{asked}{path}: is nested too deeply; allowed are 8 levels") from None
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"\(at line ([0-9]+), column ([0-9]+)\)$", str(error))
        lines = text.count("\n") + (not text.endswith("\n"))
        where = f"line {match[1]}, column {match[2]}" if match else f"line {max(1, lines)}"
        raise InputError(
            f"{asked}{path}: {where}: is no TOML; allowed are [SECTION] and KEY = VALUE, each once"
        ) from None
    except ValueError:
        raise InputError(f"{asked}{path}: is no TOML: a number is too long") from None


def read_setting(word: str) -> Any:
    """A TOML value, or the word itself; no key takes a fraction or a date, so that ``kernel=6.12`` is a name."""
    try:
        table = tomllib.loads(f"value = {word}")
    except (ValueError, RecursionError):
        return word
    value = table.get("value")
    return value if len(table) == 1 and isinstance(value, (bool, int, str, list, dict)) else word
