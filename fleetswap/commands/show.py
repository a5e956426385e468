"""`fleetswap show`: a scenario with every value and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..scenario.model import FleetScenario
    from ..scenario.units import Key


@click.command()
@click.argument("scenario", default="phones")
@click.option("--devices", type=int, help="Devices of the fleet.  [default: the scenario's own]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Change a parameter; may be repeated.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of scenario files instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def show(scenario: str, devices: int | None, seed: int, settings: tuple[str, ...], schema: bool, as_json: bool) -> None:
    """Show what a scenario says, every default included.

    SCENARIO is a built-in name or a .toml file; the default is phones. What is printed for a fleet is a scenario file:
    each value with its meaning and the comment of the file that gave it. Copy it to edit it.
    """
    from ..scenario.file import json_schema, notes
    from ..scenario.kinds import load_any_scenario
    from ..scenario.model import FleetScenario
    from ..scenario.units import toml_value

    if schema:
        click.echo(json.dumps(json_schema(), indent=None if as_json else 2))
        return
    known = load_any_scenario(scenario, settings, devices, seed)
    resolved, digest = known.resolved(), known.digest()
    if as_json:
        click.echo(json.dumps({"resolved": resolved, "digest": digest, "warnings": known.warnings}))
        return
    for warning in known.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"# {known.name}, digest {digest}")
    if isinstance(known, FleetScenario):
        said = notes(scenario) | {tuple(text.partition("=")[0].split(".")): "set with --set" for text in settings}
        if devices is not None:
            said["devices",] = "set with --devices"
        click.echo("\n".join(scenario_lines(known, said)))
    else:
        click.echo("\n".join(f"{key} = {toml_value(value)}" for key, value in resolved.items()))


def scenario_lines(fleet: FleetScenario, said: dict[Key, str]) -> Iterator[str]:
    """A fleet as the lines of a scenario file.

    Parameters
    ----------
    said : dict of keys to str
        What is known of where values come from; a value that no file gives is a default.
    """
    yield "# Behind a value: what its file says about it. seed is given with --seed."
    yield f"# seed = {fleet.seed}"
    yield from _table_lines(fleet, fleet.model_dump(mode="json", exclude={"name", "seed"}), (), said)


def _table_lines(model: Any, shown: dict[str, Any], at: Key, said: dict[Key, str]) -> Iterator[str]:
    """The lines of one table: its values first, then the tables inside of it."""
    from ..scenario.units import toml_value

    fields = type(model).model_fields
    tables = []
    for name, value in shown.items():
        inner = getattr(model, name)
        if hasattr(inner, "model_fields_set") or (isinstance(inner, dict) and name.endswith("_class")):
            tables.append((name, value, inner))
            continue
        key = (*at, name)
        given = said.get(key) or "; ".join(text for other, text in said.items() if other[:-1] == key)
        note = given or ("" if name in model.model_fields_set else "default")
        yield f"# {fields[name].description}"
        yield f"{name} = {toml_value(value)}{f'  # {_printable(note)}' if note else ''}"
    for name, value, inner in tables:
        for part in value if isinstance(inner, dict) else [""]:
            key = (*at, name, part) if part else (*at, name)
            yield ""
            yield f"# {(type(inner[part]).__doc__ if part else fields[name].description)!s}".splitlines()[0].rstrip(".")
            yield f"[{'.'.join(key)}]"
            yield from _table_lines(inner[part] if part else inner, value[part] if part else value, key, said)


def _printable(text: str) -> str:
    """A text without control characters, which no comment may have."""
    return "".join(c if c.isprintable() else " " for c in text)
