"""Programs that tests start draw no figures, which is most of the time of a tiny run; Python finds this by itself."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

PLOTS = "fleetswap.report.plots"


class Undrawn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads the module that draws, but for its last step."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002 (signature of a finder)
        if name != PLOTS:
            return None
        sys.meta_path.remove(self)
        found = importlib.util.find_spec(name)
        if found is None or found.loader is None:
            return found
        self.own = found.loader
        found.loader = self
        return found

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.own.exec_module(module)
        setattr(module, "inline", lambda *_: "<svg></svg>")  # noqa: B010 (a module has no such attribute for type checkers)


sys.meta_path.insert(0, Undrawn())
