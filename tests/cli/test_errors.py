"""Errors travel between processes: every class of ours comes out of a pickle as it went in."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import fleetswap
import fleetswap_cluster
import fleetswap_kernels
from fleetswap_kernels.backend.arena import DeviceError
from fleetswap_kernels.layout.errors import MESSAGES, NO_FRAMES

VALUES = {"int": 7, "str": "a word"}
"""An argument for each type that errors take."""


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def _classes() -> list[type[BaseException]]:
    packages = (fleetswap, fleetswap_kernels, fleetswap_cluster)
    return sorted(
        {
            value
            for package in packages
            for module in _modules(package)
            for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == module.__name__
        },
        key=lambda one: one.__qualname__,
    )


def _example(kind: type[BaseException]) -> BaseException:
    if "__init__" not in vars(kind):
        return kind("a message")
    parameters = list(inspect.signature(kind).parameters.values())
    return kind(*(VALUES[parameter.annotation] for parameter in parameters))


def test_all_are_found() -> None:
    names = {kind.__name__ for kind in _classes()}
    assert {"InputError", "DeviceError", "StorageError", "CorruptShardError", "BackendMissingError"} <= names


@pytest.mark.parametrize("kind", _classes(), ids=lambda kind: kind.__name__)
def test_every_error_survives_a_pickle(kind: type[BaseException]) -> None:
    error = _example(kind)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 (made here)
    assert type(copy) is kind
    assert (str(copy), copy.args, vars(copy)) == (str(error), error.args, vars(error))
    assert str(error)


def test_a_device_error_keeps_what_it_says() -> None:
    copy = pickle.loads(pickle.dumps(DeviceError(3, NO_FRAMES, 5)))  # noqa: S301 (made here)
    assert (copy.device, copy.code, copy.detail) == (3, NO_FRAMES, 5)
    assert str(copy) == f"device 3: {MESSAGES[NO_FRAMES]} (code {NO_FRAMES}, 5)"
