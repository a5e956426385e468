"""Extras: optional packages of this distribution, and the command that installs them, the same wherever it is told."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

CLONE = Path(__file__).resolve().parents[3]
"""Of the source, if this is one: no package index has fleetswap, so that nothing but a clone can be installed."""


PIP_INSTALL = f"{shlex.quote(sys.executable)} -m pip install"
"""For the interpreter that runs."""


def install_command(extra: str) -> str:
    """What to type to get an extra of `pyproject.toml`."""
    if (CLONE / "pyproject.toml").is_file():
        return f"{PIP_INSTALL} -e {shlex.quote(f'{CLONE}[{extra}]')}"
    return f"{PIP_INSTALL} -e '.[{extra}]' in a clone of fleetswap"
