"""What is installed: versions and a hash of the sources, which every worker of a run must have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..fleet.directory import versions


@dataclass(frozen=True)
class Installation:
    """What results, or the bytes they are stored in, may depend on.

    Parameters
    ----------
    sources : str
        Hash of the sources of `fleetswap` and `fleetswap_kernels`; the version alone does not see an edited checkout.
    fleetswap, python, numpy, numba, pyarrow : str
        Versions.
    """

    sources: str
    fleetswap: str
    python: str
    numpy: str
    numba: str
    pyarrow: str

    def told(self) -> dict[str, str]:
        """As a plain mapping."""
        return asdict(self)

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """What another one has otherwise, in words."""
        return [
            f"{name} {other.get(name)}, not {own_version}"
            for name, own_version in self.told().items()
            if other.get(name) != own_version
        ]


@cache
def installation() -> Installation:
    """What is installed here."""
    digest = hashlib.sha256()
    for package in ("fleetswap", "fleetswap_kernels"):
        spec = find_spec(package)
        folder = Path(spec.origin or "").parent if spec else Path()
        for source in sorted(folder.rglob("*.py")):
            digest.update(source.relative_to(folder).as_posix().encode() + b"\0" + source.read_bytes())
    known = versions()
    known |= {"sources": digest.hexdigest()[:16], "python": known["python"].rpartition(".")[0]}
    return Installation(**{field.name: known[field.name] for field in fields(Installation)})
