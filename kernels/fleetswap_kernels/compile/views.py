"""Views of memory: what a device function gets of an array of devices, compiled or as ordinary Python."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import overload

from ..layout.content_model import ModelView
from ..layout.device import SHORT, DeviceView


def device_at(arena: Any, base: Any, d: int) -> Any:
    """The device `d` of an arena: what differs between compiled and interpreted runs.

    Interpreted, the aliases of a device have its exact length, so that a wild index is an error.
    """
    first = int(base[d])
    return DeviceView(arena[first : int(base[d + 1])].view(np.uint8))


@overload(device_at)
def _device_at_compiled(arena: Any, base: Any, d: int) -> Any:
    def record(arena: Any, base: Any, d: int) -> Any:
        return arena[base[d]]

    return record


def runs_short(dev: Any) -> bool:
    """Whether the memory of a device can run short (`device.Sizes.pressure`).

    Compiled code knows it from the type of the header: what only such devices do is not in the code of others, where
    it would take registers.
    """
    return int(dev.n_gens) != 0


def runs_short_by_type(dev: Any) -> Any:
    """The compiled `runs_short`: a constant."""
    if SHORT in dev.fields:

        def short(dev: Any) -> bool:
            return True

        return short

    def ample(dev: Any) -> bool:
        return False

    return ample


overload(runs_short)(runs_short_by_type)


def model_at(models: Any) -> Any:
    """The one content model in an array of them; interpreted, with an alias of its exact length."""
    return ModelView(models.view(np.uint8))


@overload(model_at)
def _model_at_compiled(models: Any) -> Any:
    def record(models: Any) -> Any:
        return models[0]

    return record
