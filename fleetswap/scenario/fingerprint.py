"""Fingerprints: hashes of resolved scenarios, and of the files that they name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

FILES = (".toml", ".npz")
"""Endings of cost profiles and content libraries."""


def file_or_name(name: str) -> str:
    """The hash of a file, or a name as it is."""
    path = Path(name)
    if path.suffix in FILES and path.is_file():
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return name


def digest_of(resolved: dict[str, Any]) -> str:
    """Hash of a resolved scenario."""
    return hashlib.sha256(json.dumps(resolved, sort_keys=True).encode()).hexdigest()
