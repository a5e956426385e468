"""The JSON schema of scenario files, and which of their keys are sections, values or defaults."""

from __future__ import annotations

from functools import cache
from typing import Any

from .model import FleetScenario
from .problems import Node, inner_node, node_of, schema_of
from .units import Key

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
    return "properties" in node or "$ref" in inner_node(node)


def is_one_value(key: Key) -> bool:
    """Whether a key is a table that is a value as a whole, as ``{ 16K = "always" }``: what it holds is data."""
    return _node(key).get("type") == "object" and not is_section(key)


def default_table(key: Key) -> dict[str, Any]:
    """The content of a table that no file has: the default of a table that is a value, else nothing."""
    return dict(_node(key).get("default", {})) if is_one_value(key) else {}


def _node(key: Key) -> Node:
    """The part of a scenario's schema that describes a key."""
    return node_of(schema_of(FleetScenario), key)
