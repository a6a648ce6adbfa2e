"""``edge-agent drivers``."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from edge_agent.cli import table
from edge_agent.config.json_schema import tidied
from edge_agent.config.wording import did_you_mean
from edge_agent.driver import DriverSpec
from edge_agent.errors import EdgeAgentError
from edge_agent.registry import Registry


def list_drivers(drivers_path: Sequence[Path], *, as_json: bool) -> None:
    """Print protocol and origin of each driver; none is imported."""
    protocols = Registry(drivers_path).protocols()
    if as_json:
        rows = [{"protocol": protocol, "origin": origin} for protocol, origin in protocols.items()]
        typer.echo(json.dumps(rows, ensure_ascii=False))
    else:
        table.show(("protocol", "origin"), protocols.items())


def show_driver(protocol: str, drivers_path: Sequence[Path], *, as_json: bool) -> None:
    """Load one driver and print what it is and the keys of its devices and points.

    Raises:
        DriverLoadError: it cannot be loaded.
        EdgeAgentError: there is none of that name.
    """
    registry = Registry(drivers_path)
    origins = registry.protocols()
    if protocol not in origins:
        raise EdgeAgentError(f"no driver {protocol!r}{did_you_mean(protocol, origins)}")
    spec = registry.load(protocol)
    schema = tidied(spec.config_model.model_json_schema())
    about = {
        "protocol": protocol,
        "title": spec.title,
        "stability": spec.stability.value,
        "origin": origins[protocol],
    }
    if as_json:
        typer.echo(json.dumps({**about, "config": schema}, ensure_ascii=False))
        return
    for key, value in about.items():
        typer.echo(f"{key:10} {value}")
    if readme := _readme(spec):
        typer.echo(f"{'readme':10} {readme}")
    for heading, keys in _sections(schema):
        typer.echo(f"\n{heading}")
        table.show(("key", "default", "meaning"), keys)


def _sections(schema: dict[str, Any]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Return the keys of a device and of the mappings in it, each under the key that leads there."""
    bodies = {name: body for name, body in schema.get("$defs", {}).items() if "properties" in body}
    leads = {
        name: key
        for body in (schema, *bodies.values())
        for key, entry in body["properties"].items()
        for name in bodies
        if f'"#/$defs/{name}"' in json.dumps(entry)
    }
    nested = [(f"{leads.get(name, name)}:", _keys(body)) for name, body in bodies.items()]
    return [("keys of a device:", _keys(schema)), *nested]


def _keys(schema: dict[str, Any]) -> list[tuple[str, str, str]]:
    required = schema.get("required", ())
    return [
        (key, "required" if key in required else _default(entry), entry.get("description", ""))
        for key, entry in schema["properties"].items()
    ]


def _default(entry: dict[str, Any]) -> str:
    default = entry.get("default")
    if default in (None, "", [], {}):
        return ""
    return default if isinstance(default, str) else json.dumps(default, ensure_ascii=False)


def _readme(spec: DriverSpec) -> Path | None:
    package = importlib.util.find_spec(spec.create.__module__.partition(".")[0])
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).with_name("README.md")
    return path if path.is_file() else None
