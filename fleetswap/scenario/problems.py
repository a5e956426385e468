"""Problems of a table that pydantic refuses, in our words: what a key may be is read from the model's JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from ..errors import InputError
from .units import Key, near, not_possible, verb

_Model = TypeVar("_Model", bound=BaseModel)
Node = Mapping[str, Any]
"""A part of a JSON schema."""


def validate_table(model: type[_Model], table: object, place: object, extra_keys: tuple[str, ...] = ()) -> _Model:
    """Make a model of a table.

    Parameters
    ----------
    model : subclass of pydantic's BaseModel
    table : object
        What a file holds.
    place : object
        What an error begins with: the file.
    extra_keys : tuple of str
        Keys that a file may have besides those of the model, for the error of an unknown one.

    Raises
    ------
    InputError
        With one problem: its key, value and what is allowed.
    """
    try:
        return model.model_validate(table)
    except ValidationError as error:
        problems = word_problems(model, error, (*schema_of(model)["properties"], *extra_keys))
        # An unknown key often is why another one is missing.
        key, text = min(problems.items(), key=lambda problem: not problem[1].startswith("unknown key"))
        raise InputError(": ".join(filter(None, (str(place), ".".join(key), text)))) from None


def word_problems(model: type, error: ValidationError, top_keys: tuple[str, ...]) -> dict[Key, str]:
    """The problem of each key; `top_keys` are those that a file may have outside of all tables."""
    problems: dict[Key, str] = {}
    for problem in error.errors(include_url=False):
        key = tuple(str(part) for part in problem["loc"])
        if key[-1:] == ("[key]",):
            key = key[:-1]
        problems.setdefault(key, _word_problem(schema_of(model), key, dict(problem), top_keys))
    return problems


def _word_problem(schema: Node, key: Key, problem: Mapping[str, Any], top_keys: tuple[str, ...]) -> str:
    if problem["type"] == "extra_forbidden":
        known = tuple(node_of(schema, key[:-1]).get("properties", {})) if len(key) > 1 else top_keys
        return f"unknown key; {near(key[-1], known)}"
    node = node_of(schema, key)
    allowed = _word_allowed(schema, node)
    if problem["type"] == "missing":
        return f"is missing; allowed {verb(allowed)}"
    value = problem["input"]
    if problem["type"] == "allowed":
        return not_possible(value, problem["ctx"]["allowed"])
    if isinstance(value, dict) and "minProperties" in node:
        many = f"{len(value)} table{'' if len(value) == 1 else 's'}"
        return f"{many} {'is' if len(value) == 1 else 'are'} not possible; allowed are {allowed}"
    return not_possible(value, allowed)


@cache
def schema_of(model: type) -> Node:
    """The JSON schema of a model."""
    return TypeAdapter(model).json_schema()


def node_of(schema: Node, key: Key) -> Node:
    """The part of a schema that describes a key."""
    node = schema
    for part in key:
        node = _target(schema, node)
        inner = node.get("properties", {}).get(part)
        node = inner_node(node) if inner is None else inner
    return _target(schema, node)


def inner_node(node: Node) -> Node:
    """The part of a schema that describes whatever a table or list holds."""
    inside = node.get("additionalProperties") or node.get("items")
    return inside or next(iter(node.get("patternProperties", {}).values()), {})


def _target(schema: Node, node: Node) -> Node:
    """The node that a reference inside of a schema refers to."""
    parts = [node, *node.get("allOf", []), *node.get("anyOf", [])]
    references = [part["$ref"] for part in parts if "$ref" in part]
    return schema["$defs"][references[0].rpartition("/")[2]] if references else node


def _word_allowed(schema: Node, node: Node) -> str:
    """The values that a part of a schema allows, in words."""
    if "x-allowed" in node:
        return str(node["x-allowed"])
    if "enum" in node:
        return ", ".join(str(value) for value in node["enum"])
    kind = node.get("type")
    if kind == "array":
        many = f"{node['minItems']} " if "minItems" in node else ""
        return f"lists of {many}{_word_allowed(schema, _target(schema, inner_node(node)))}"
    if kind == "object" and "minProperties" in node:
        return f"{node['minProperties']} to {node['maxProperties']} tables"
    names = {"boolean": "true, false", "integer": "whole numbers", "number": "numbers", "string": "texts"}
    if kind not in names:
        inner = _target(schema, inner_node(node))
        return f"a table whose values are {_word_allowed(schema, inner)}" if inner else "a table"
    if "minimum" in node:
        return f"{names[kind]} {node['minimum']} to {node['maximum']}"
    if "exclusiveMinimum" in node:
        return f"{names[kind]} above {node['exclusiveMinimum']:g}"
    if "pattern" in node:
        return f"texts of the form {node['pattern'].strip('^$')}"
    if "maxLength" in node:
        return f"texts of {node['minLength']} to {node['maxLength']} characters"
    return names[kind]
