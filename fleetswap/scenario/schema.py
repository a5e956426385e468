"""The JSON schema of scenario files, and errors in words, made from it: what a key may be is said in one place."""

from __future__ import annotations

from functools import cache
from typing import Any

from .model import FleetScenario
from .units import Key, near, not_possible, verb

OF_COMMAND_LINE = {"name": "the file's name gives it", "seed": "it is given with --seed"}
"""Keys of a scenario that no file has."""
INHERITS = (
    "Scenario that has what this file leaves out. Sections merge key by key; a table whose keys are data (mthp, "
    "swapin_sizes, content) is one value and replaces the one inherited"
)


@cache
def json_schema() -> dict[str, Any]:
    """JSON schema of scenario files.

    No key is required: what a file must give depends on what it inherits. ``x-allowed`` says in words what a schema
    cannot.
    """
    schema = FleetScenario.model_json_schema()
    for table in (schema, *schema["$defs"].values()):
        table.pop("required", None)
    for key in OF_COMMAND_LINE:
        del schema["properties"][key]
    schema["properties"] |= {
        "inherits": {"type": "string", "description": INHERITS},
        "replaces": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Sections that replace those inherited, instead of merging with them",
        },
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def is_section(key: Key) -> bool:
    """Whether a key is a table of fields, or of classes, which are such tables."""
    node = _node(key)
    return "properties" in node or "$ref" in _inner_node(node)


def is_one_value(key: Key) -> bool:
    """Whether a key is a table that is a value as a whole, as ``{ 16K = "always" }``: what it holds is data."""
    return _node(key).get("type") == "object" and not is_section(key)


def default_table(key: Key) -> dict[str, Any]:
    """What a table holds where nobody gives it: of one that is a value its default."""
    return dict(_node(key).get("default", {})) if is_one_value(key) else {}


def wording(key: Key, error: dict[str, Any]) -> str:
    """What is wrong with one key, in our words."""
    if error["type"] == "extra_forbidden":
        known = _node(key[:-1]) if len(key) > 1 else json_schema()
        return f"unknown key; {near(key[-1], tuple(known.get('properties', {})))}"
    node = _node(key)
    if error["type"] == "missing":
        return f"is missing; allowed {verb(_allowed(node))}"
    value = error["input"]
    if error["type"] == "allowed":
        return not_possible(value, error["ctx"]["allowed"])
    if isinstance(value, dict) and "minProperties" in node:
        many = f"{len(value)} table{'' if len(value) == 1 else 's'}"
        return f"{many} {'is' if len(value) == 1 else 'are'} not possible; allowed are {_allowed(node)}"
    return not_possible(value, _allowed(node))


@cache
def _schema() -> dict[str, Any]:
    return FleetScenario.model_json_schema()


def _node(key: Key) -> dict[str, Any]:
    """The part of the schema that describes a key."""
    schema = _schema()
    node = schema
    for part in key:
        node = _target(schema, node)
        inner = node.get("properties", {}).get(part)
        node = _inner_node(node) if inner is None else inner
    return _target(schema, node)


def _inner_node(node: dict[str, Any]) -> dict[str, Any]:
    """The part of the schema that describes whatever a table holds."""
    return node.get("additionalProperties") or next(iter(node.get("patternProperties", {}).values()), {})


def _target(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """What a reference inside of the schema refers to."""
    parts = [node, *node.get("allOf", [])]
    references = [part["$ref"] for part in parts if "$ref" in part]
    return schema["$defs"][references[0].rpartition("/")[2]] if references else node


def _allowed(node: dict[str, Any]) -> str:
    """What a part of the schema allows, in words."""
    if "x-allowed" in node:
        return str(node["x-allowed"])
    if "enum" in node:
        return ", ".join(str(value) for value in node["enum"])
    kind = node.get("type")
    if kind == "boolean":
        return "true, false"
    if kind == "integer":
        return f"whole numbers {node['minimum']} to {node['maximum']}"
    if kind == "string":
        return f"texts of {node['minLength']} to {node['maxLength']} characters"
    if "minProperties" in node:
        return f"{node['minProperties']} to {node['maxProperties']} tables"
    return "a table"
