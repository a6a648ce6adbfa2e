"""``docs/reference/config.md``, from the models: every key, its type, default and meaning.

Run ``python -m edge_agent.config.reference`` to print it.
"""

import json
import sys
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from edge_agent.config.json_schema import DURATION, ID, SIZE, Schema, tidied
from edge_agent.config.scalars import parse_plain
from edge_agent.config.schema import (
    AgentModel,
    GatewayModel,
    IdentifiersModel,
    MqttModel,
    OpsModel,
    OutboxModel,
    ReplayModel,
    TlsModel,
    TopicsModel,
)
from edge_agent.config.shape import keys, models_in
from edge_agent.config.wording import format_size
from edge_agent.driver import DeadbandModel, DeviceModel, DriverSpec, PointModel, RangeModel
from edge_agent.model.quantity import format_duration
from edge_agent.registry import Registry

_INTRODUCTION = """\
# Configuration

Generated from the code. `edge-agent check FILE` lists every mistake of a file with its line and column;
`edge-agent schema` prints the JSON Schema for editors (also in [configs/schema.json](../../configs/schema.json)).

The file is YAML 1.2 in UTF-8: booleans are `true` and `false`, so `no` and `on` are text; `010` is ten; `12:30` is
text. Anchors and aliases work for whole values; merge keys (`<<`) do not exist. An unknown or repeated key is an
error.

| Type | How it is written |
|---|---|
| id | 1 to 64 of `A-Z a-z 0-9 _ -`; begins with a letter or digit, does not end with `-` |
| duration | a number and `ms`, `s`, `min`, `h` or `d`: `500ms`, `1.5s` |
| size | a number and `B`, `kB`, `MB`, `GB`, `KiB`, `MiB` or `GiB`: `256KiB` |
| path | relative to the folder of the YAML file, or absolute |
| secret | never the secret itself, but where it is: one of the three below |
| `!env NAME` | the environment variable |
| `!file PATH` | the file, without a line break at its end; mode 0600, or 0640 if it is root's, else refused |
| `!credential NAME` | the file in `$CREDENTIALS_DIRECTORY`, see `LoadCredential=` of systemd |
"""
_SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("`gateway:`", GatewayModel),
    ("`identifiers:`", IdentifiersModel),
    ("`outbox:`", OutboxModel),
    ("`publishers:` — each entry", MqttModel),
    ("`publishers:` — `tls:`", TlsModel),
    ("`publishers:` — `topics:`", TopicsModel),
    ("`publishers:` — `replay:`", ReplayModel),
    ("`ops:`", OpsModel),
    ("`devices:` — each entry, whatever its driver", DeviceModel),
    ("`points:` — each entry, whatever its driver", PointModel),
    ("`deadband:` of a point", DeadbandModel),
    ("`range:` of a point", RangeModel),
)
_OPERATORS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
_KEYWORDS = {"minimum": "ge", "exclusiveMinimum": "gt", "maximum": "le", "exclusiveMaximum": "lt"}
_NAMED = {DURATION: "duration", SIZE: "size", ID: "id", "password": "secret", "path": "path"}
_WORDS = {
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "object": "mapping of texts",
    "string": "text",
}


def markdown() -> str:
    """Return the reference for the drivers of this installation."""
    registry = Registry()
    lines = [_INTRODUCTION, *_section("The document", AgentModel)]
    for title, model in _SECTIONS:
        lines += _section(title, model)
    for protocol in registry.protocols():
        lines += _driver(registry.load(protocol))
    return "\n".join(lines).rstrip() + "\n"


def _driver(spec: DriverSpec) -> Iterator[str]:
    device = spec.config_model
    yield from _section(f"`driver: {spec.protocol}` — keys of the device", device, besides=DeviceModel)
    listed: list[type[BaseModel]] = [DeadbandModel, RangeModel]
    waiting = list(models_in(device))
    while waiting:
        model = waiting.pop(0)
        if model in listed:
            continue
        listed.append(model)
        waiting += models_in(model)
        what = "keys of a point" if issubclass(model, PointModel) else f"`{model.__name__}`"
        besides = PointModel if issubclass(model, PointModel) else None
        yield from _section(f"`driver: {spec.protocol}` — {what}", model, besides=besides)


def _section(title: str, model: type[BaseModel], *, besides: type[BaseModel] | None = None) -> Iterator[str]:
    """Yield heading, docstring and table of ``model``, without the keys that are the same in ``besides``."""
    known = set(_rows(besides)) if besides else set()
    yield f"## {title}\n"
    if model.__doc__:
        yield f"{model.__doc__.strip().replace('``', '`')}\n"
    yield "| Key | Type | Default | Meaning |"
    yield "|---|---|---|---|"
    yield from (row for row in _rows(model) if row not in known)
    yield ""


def _rows(model: type[BaseModel]) -> Iterator[str]:
    written = tidied(model.model_json_schema())
    for key, field in keys(model).items():
        entry = written["properties"][key]
        kind = _type(entry, field, written.get("$defs", {}))
        meaning = (field.description or "").replace("|", "\\|").replace("\n", " ")
        yield f"| `{key}` | {kind} | {_default(entry, field)} | {meaning} |"


def _type(entry: Schema, field: FieldInfo, definitions: Schema) -> str:
    constraints = {
        name: getattr(constraint, name)
        for constraint in field.metadata
        for name in _OPERATORS
        if getattr(constraint, name, None) is not None
    }
    constraints |= {name: entry[keyword] for keyword, name in _KEYWORDS.items() if keyword in entry}
    bounds = [f"{_OPERATORS[name]} {_quantity(entry, value)}" for name, value in constraints.items()]
    return ", ".join([_word(entry, definitions), *bounds])


def _word(entry: Schema, definitions: Schema) -> str:
    if "$ref" in entry:
        entry = definitions[entry["$ref"].rpartition("/")[2]]
    branches = entry.get("anyOf") or entry.get("enum") or ([entry["const"]] if "const" in entry else [])
    if branches:
        return " or ".join(_word(one, definitions) if isinstance(one, dict) else _plain(one) for one in branches)
    if entry["type"] == "array":
        return f"list of {_word(entry['items'], definitions)}"
    if "properties" in entry:
        return "mapping"
    return _NAMED.get(entry.get("pattern") or entry.get("format", ""), _WORDS[entry["type"]])


def _plain(value: object) -> str:
    """Return a value as it is written in YAML, in quotes where it needs them."""
    is_text = isinstance(value, str) and isinstance(parse_plain(value), str)
    return f"`{value if is_text else json.dumps(value, ensure_ascii=False)}`"


def _quantity(entry: Schema, value: float) -> str:
    write = {DURATION: format_duration, SIZE: format_size}.get(entry.get("pattern", ""), str)
    return write(value) if value else "0"


def _default(entry: Schema, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = entry.get("default")
    if default in (None, "", [], {}):
        return ""
    return _plain(default)


if __name__ == "__main__":
    sys.stdout.write(markdown())
