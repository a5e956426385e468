"""Matplotlib's own folder: where it keeps settings and fonts, or a temporary one."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from pathlib import Path


def place_matplotlib() -> None:
    """Give it a temporary folder where a home cannot be written, before it is loaded: it would tell of that twice."""
    if "MPLCONFIGDIR" in os.environ:
        return
    for variable, folder in (("XDG_CONFIG_HOME", "~/.config"), ("XDG_CACHE_HOME", "~/.cache")):
        # That of pathlib raises an error for a user without a home.
        own = Path(os.environ.get(variable) or os.path.expanduser(folder)) / "matplotlib"  # noqa: PTH111 (see above)
        try:
            own.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=own):
                pass
        except OSError:
            with contextlib.suppress(OSError):  # where nothing can be written, matplotlib says what it needs
                os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="fleetswap-")
                atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)
            return
