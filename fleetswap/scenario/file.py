"""Scenario files of fleets: found, inherited, changed by settings and checked once; errors are one line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import InputError
from .experiments import BUILT_IN as OTHERS
from .limits import broken_limits
from .model import FleetScenario
from .problems import word_problems
from .schema import OF_COMMAND_LINE, default_table, is_one_value, is_section, json_schema
from .toml import read_setting, read_toml
from .units import Key, near, not_possible, shown_value

__all__ = ["built_in", "json_schema", "load_fleet_scenario", "notes"]

MAX_ANCESTORS = 8
MAX_DEPTH = 8
"""No key lies deeper in tables."""
OF_FILES = ("inherits", "replaces")
"""Keys that say how a file is read; they are no part of a scenario."""
CLASSES = ("device_class", "app_class")

Table = dict[str, Any]


@dataclass(frozen=True)
class _Layer:
    """One source of values: a file, or the command line."""

    label: str
    table: Table
    folder: Path
    replaces: Any = ()


@dataclass(frozen=True)
class _Problem:
    source: str
    key: Key
    text: str

    def __str__(self) -> str:
        return ": ".join((self.source, *((_dotted(self.key),) if self.key else ()), self.text))


@cache
def _built_in_files() -> dict[str, Path]:
    folder = Path(str(resources.files("fleetswap") / "data" / "scenarios"))
    return dict(sorted((path.stem, path) for path in folder.glob("*.toml")))


def built_in() -> tuple[str, ...]:
    """Names of the built-in fleets."""
    return tuple(_built_in_files())


def load_fleet_scenario(
    name_or_path: str,
    settings: Sequence[str] = (),
    devices: int | None = None,
    seed: int = 0,
    swept: Sequence[str] = (),
) -> FleetScenario:
    """Read a scenario of a fleet.

    Parameters
    ----------
    name_or_path : str
        A built-in name, or a path that ends in .toml. A file's key ``inherits`` names the scenario that has what the
        file leaves out. Sections merge key by key, except those that ``replaces`` names, such as "device_class"; a
        table that is a value, such as ``policy.mthp``, replaces the one inherited (`schema.is_one_value`).
    settings : sequence of str
        ``KEY=VALUE``, with dotted keys: ``app_class.video.hot_percent=40``. They change what the files say; of a table
        that is a value, ``policy.mthp.16K=always`` changes one entry, and a new table replaces the whole.
    devices : int, optional
        Devices of the fleet; the scenario's own number by default.
    seed : int
    swept : sequence of str
        Further settings, those of a point of a sweep: problems of them are told as of ``--over``.

    Raises
    ------
    InputError
        If something cannot be used: one line with every problem, each with its file, key, value and what is allowed.
    """
    layers = _layers(name_or_path)
    name = layers[-1].label if name_or_path in built_in() else Path(name_or_path).stem
    problems: list[_Problem] = []
    merged: Table = {}
    sources: dict[Key, str] = {}
    for layer in layers:
        _add(layer, merged, sources, problems)
    options = {f"{layers[-1].label} --set": settings, f"{layers[-1].label} --over": swept}
    for label, texts in options.items():
        for text in texts:
            _set(text, label, merged, sources, problems)
    if devices is not None:
        merged["devices"] = devices
        sources["devices",] = f"{layers[-1].label} --devices"
    sources["seed",] = f"{layers[-1].label} --seed"
    merged |= {"name": name, "seed": seed}
    scenario, broken = _check(merged, {problem.key for problem in problems})
    order = [*(layer.label for layer in layers), *options]
    problems += (_Problem(_source(sources, key, order, layers[-1].label), key, text) for key, text in broken)
    if problems or scenario is None:
        raise InputError("; ".join(map(str, problems)))
    return scenario


def notes(name_or_path: str) -> dict[Key, str]:
    """The comment behind each value, or above it, of the files a scenario is read from."""
    comments: dict[Key, str] = {}
    for layer in _layers(name_or_path):
        replaced = [*filter(is_one_value, _tables(layer.table)), *(tuple(key.split(".")) for key in layer.replaces)]
        comments = {
            key: text for key, text in comments.items() if not any(key[: len(prefix)] == prefix for prefix in replaced)
        }
        path = _built_in_files().get(layer.label, Path(layer.label))
        table: Key = ()
        above = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            header = re.fullmatch(r"\[([A-Za-z0-9_.-]+)\]\s*(?:#.*)?", line)
            if header:
                table = tuple(header[1].split("."))
            elif line.startswith("# "):
                above = line[2:]
                continue
            else:
                value = re.fullmatch(
                    r"""([A-Za-z0-9_.-]+)\s*=\s*(?:"[^"]*"|'[^']*'|[^"'#]+|\{[^#]*\})\s*(?:# ?(.*))?""", line
                )
                if value:
                    comments[(*table, *value[1].split("."))] = value[2] or above
            above = ""
    return comments


def _layers(name_or_path: str) -> list[_Layer]:
    """The file and what it inherits from, the last ancestor first."""
    layers: list[_Layer] = []
    label, folder, asked = name_or_path, Path(), ""
    while True:
        path = _built_in_files().get(label)
        if path is None:
            if not label.endswith(".toml"):
                known = built_in() if asked else (*built_in(), *OTHERS)
                raise InputError(
                    f"{asked}unknown scenario {shown_value(label)}; {near(label, known)} (files end in .toml)"
                )
            path = folder / label
            label = str(path)
        table = read_toml(path, asked)
        parent = table.pop("inherits", None)
        layers.insert(0, _Layer(label, table, path.parent, table.pop("replaces", [])))
        if parent is None:
            return layers
        if not isinstance(parent, str):
            allowed = f"{', '.join(built_in())}, or a .toml file"
            raise InputError(f"{label}: inherits: {not_possible(parent, allowed)}")
        asked = f"{label}: inherits: "
        if len(layers) > MAX_ANCESTORS:
            allowed = f"{MAX_ANCESTORS} ancestors, and none twice"
            raise InputError(f"{asked}{not_possible(parent, allowed)}")
        label, folder = parent, path.parent


def _add(layer: _Layer, merged: Table, sources: dict[Key, str], problems: list[_Problem]) -> None:
    """Merge a file over its ancestors."""
    if not (isinstance(layer.replaces, list) and all(isinstance(key, str) for key in layer.replaces)):
        text = not_possible(layer.replaces, 'a list of names of tables, as ["device_class"]')
        problems.append(_Problem(layer.label, ("replaces",), text))
    else:
        for dotted in layer.replaces:
            *parents, last = dotted.split(".")
            table = _inner(merged, parents)
            if table is None or not isinstance(table.get(last), dict):
                tables = tuple(_dotted(key) for key in _tables(merged))
                hint = near(dotted, tables) if tables else "this file inherits none"
                problems.append(
                    _Problem(layer.label, ("replaces",), f"{shown_value(dotted)} is no inherited table; {hint}")
                )
            else:
                table[last] = {}
                sources |= {key: layer.label for key in sources if key[: len(parents) + 1] == (*parents, last)}
    for key, why in OF_COMMAND_LINE.items():
        if key in layer.table:
            problems.append(_Problem(layer.label, (key,), f"cannot be set in a file; {why}"))
            del layer.table[key]
    _merge(merged, layer.table, (), layer, sources)


def _merge(into: Table, table: Table, at: Key, layer: _Layer, sources: dict[Key, str]) -> None:
    for name, value in table.items():
        key = (*at, name)
        if isinstance(value, dict) and len(key) <= MAX_DEPTH and not is_one_value(key):
            if not isinstance(into.get(name), dict):
                into[name] = {}
                sources[key] = layer.label
            _merge(into[name], value, key, layer, sources)
        else:
            into[name] = _absolute(value, key, layer.folder)
            for inner in [inner for inner in sources if inner[: len(key)] == key]:
                del sources[inner]
            sources[key] = layer.label


def _absolute(value: Any, key: Key, folder: Path) -> Any:
    """Files are named relative to the file that names them."""
    names_file = key == ("content_library",) or (len(key) == 3 and key[0] == "device_class" and key[2] == "cost")
    if names_file and isinstance(value, str) and value.endswith((".toml", ".npz")) and "\0" not in value:
        return str((folder / value).absolute())
    return value


def _inner(table: Table, path: Sequence[str]) -> Table | None:
    """A table inside of tables."""
    for part in path:
        value = table.get(part)
        if not isinstance(value, dict):
            return None
        table = value
    return table


def _tables(table: Table, at: Key = ()) -> Iterator[Key]:
    """Every table inside of one."""
    for name, value in table.items():
        if isinstance(value, dict) and len(at) < MAX_DEPTH:
            yield (*at, name)
            yield from _tables(value, (*at, name))


def _set(setting: str, label: str, merged: Table, sources: dict[Key, str], problems: list[_Problem]) -> None:
    """Apply a setting of the command line."""
    dotted, equals, word = setting.partition("=")
    key = tuple(part.strip() for part in dotted.split("."))
    if not equals or not all(key) or len(key) > MAX_DEPTH:
        problems.append(_Problem(label, (), f"{shown_value(setting)} is not possible; expected KEY=VALUE"))
        return
    if key[0] in (*OF_FILES, *OF_COMMAND_LINE):
        why = OF_COMMAND_LINE.get(key[0], "only a file has it")
        problems.append(_Problem(label, key, f"cannot be set; {why}"))
        return
    if key[0] in CLASSES and len(key) > 2:
        classes = merged.get(key[0])
        if isinstance(classes, dict) and key[1] not in classes:
            problems.append(_Problem(label, key[:2], f"unknown class; {near(key[1], tuple(classes))}"))
            return
    value = read_setting(word)
    # A section that is given whole would drop, or keep, what is not in it: neither is what everybody means.
    new_class = key[0] in CLASSES and len(key) == 2 and key[1] not in (_inner(merged, key[:1]) or {})
    if is_section(key) and not (new_class and isinstance(value, dict)):
        text = not_possible(value, f"settings of its keys, as {_dotted(key)}.KEY=VALUE")
        problems.append(_Problem(label, key, text))
        return
    table = merged
    for end, part in enumerate(key[:-1], 1):
        if not isinstance(table.get(part), dict):
            table[part] = default_table(key[:end])
            sources[key[:end]] = label
        table = table[part]
    _merge(table, {key[-1]: value}, key[:-1], _Layer(label, {}, Path()), sources)


def _check(merged: Table, known: set[Key]) -> tuple[FleetScenario | None, list[tuple[Key, str]]]:
    """The scenario, or all that is wrong with it; `known` are keys that are wrong already."""
    texts: dict[Key, str] = {}
    scenario = None
    try:
        scenario = FleetScenario.model_validate(merged)
    except ValidationError as error:
        texts = word_problems(FleetScenario, error, tuple(json_schema()["properties"]))
    # What is right is checked against each other, even if something else is wrong.
    checked = scenario or _rest(merged, set(texts))
    if checked is not None:
        broken = known | set(texts)
        for limit in broken_limits(checked):
            if not any(_touches(key, bad) for key in (limit.key, *limit.others) for bad in broken):
                texts[limit.key] = limit.text
                broken.add(limit.key)
    return scenario, list(texts.items())


def _touches(key: Key, bad: Key) -> bool:
    """Whether one of two keys lies inside of the other."""
    shared = min(len(key), len(bad))
    return key[:shared] == bad[:shared]


def _rest(merged: Table, broken: set[Key]) -> FleetScenario | None:
    """The scenario without its broken keys, and without classes that have some."""
    rest = _copy(merged)
    for key in broken:
        short = key[:2] if key[0] in CLASSES else key
        table = _inner(rest, short[:-1])
        if table is not None:
            table.pop(short[-1], None)
    rest |= {text: "none" for text in ("title", "description") if (text,) in broken}
    try:
        return FleetScenario.model_validate(rest)
    except ValidationError:
        return None


def _copy(table: Table, levels: int = MAX_DEPTH) -> Table:
    """A copy of a table and of those inside, as deep as keys can be broken."""
    return {k: _copy(v, levels - 1) if isinstance(v, dict) and levels else v for k, v in table.items()}


def _dotted(key: Key) -> str:
    """A key as TOML writes it."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"' for part in key)


def _source(sources: dict[Key, str], key: Key, order: list[str], file: str) -> str:
    """The source of a value: of a table the last that changed it, of a missing key that of its table, else the file."""
    inside = [label for inner, label in sources.items() if len(inner) > len(key) and inner[: len(key)] == key]
    if inside:
        return max(inside, key=order.index)
    for end in range(len(key), 0, -1):
        if key[:end] in sources:
            return sources[key[:end]]
    return file
