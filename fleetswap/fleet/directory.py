"""The run directory: its manifest, and the digest of what it holds."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1


def versions() -> dict[str, str]:
    """Versions of everything a result may depend on."""
    import numba
    import pyarrow

    return {
        "fleetswap": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "pyarrow": pyarrow.__version__,
        "platform": platform.platform(),
    }


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the manifest of a folder: facts, versions, and the hash of every file that is in it.

    Raises
    ------
    OSError
    """
    files = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    manifest = {"schema_version": SCHEMA_VERSION, "versions": versions(), **facts, "files": files}
    write_json(folder / "manifest.json", manifest)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON document.

    Raises
    ------
    OSError
    """
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _columns(table: pa.Table) -> dict[str, bytes]:
    """Content of every column, whatever pieces it is stored in."""
    import pyarrow as pa

    content = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if pa.types.is_integer(column.type) and column.null_count == 0:
            content[name] = np.ascontiguousarray(column.to_numpy(zero_copy_only=False)).tobytes()
        else:
            content[name] = json.dumps(column.to_pylist(), default=str).encode()
    return content


def read_finished(folder: Path) -> dict[str, Any]:
    """The manifest of a finished run, comparison or sweep.

    Raises
    ------
    InputError
        If the folder is none, or one of its files is not the one that was written.
    """
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["schema_version"]
        if version != SCHEMA_VERSION:
            raise InputError(f"{path}: schema_version: {version} is not possible; allowed is {SCHEMA_VERSION}")
        for name, checksum in manifest["files"].items():
            if _sha256(folder / name) != checksum:
                raise InputError(f"{folder / name}: differs from what the run wrote; run it again")
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: cannot be read: {error.strerror}; expected a finished run"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is not the manifest of a run") from None
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished run. See `read_finished`."""
    manifest = read_finished(folder)
    if manifest.get("kind", "run") != "run":
        raise InputError(f"{folder}: is a {manifest['kind']}; expected a finished run")
    if not isinstance(manifest.get("scenario"), dict) or "scenario" not in manifest["scenario"]:
        raise InputError(f"{folder / 'manifest.json'}: is not the manifest of a run")
    return manifest


def digest_run(folder: Path) -> str:
    """One hash of a run's content, equal for equal results however they were sharded or computed.

    Raises
    ------
    InputError
        If the folder is not a finished run, or one of its files is not the one that was written.
    """
    import pyarrow.parquet as pq

    manifest = read_manifest(folder)
    try:
        digest = hashlib.sha256(manifest["scenario_hash"].encode())
        for name in ("devices.parquet", "series.parquet"):
            for column_name, column in sorted(_columns(pq.read_table(folder / name)).items()):
                digest.update(column_name.encode() + b"\0" + column)
        digest.update((folder / "summary.json").read_bytes())
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be read: {error.strerror or 'damaged'}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder / 'manifest.json'}: is not the manifest of a run") from None
    return digest.hexdigest()
