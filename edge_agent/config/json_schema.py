"""JSON Schema of the document, for editors: it covers every driver that is installed.

A YAML language server needs to be told of the tags of secrets:
``"yaml.customTags": ["!env scalar", "!file scalar", "!credential scalar"]``.
"""

import json
from typing import Any

from pydantic import TypeAdapter

from edge_agent.config.schema import AgentModel
from edge_agent.config.wording import format_size
from edge_agent.driver import DeviceModel, Duration, Id, Size
from edge_agent.model.quantity import format_duration
from edge_agent.registry import Registry

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_COMMENT = (
    "Generated from the models of the agent and its drivers. Secrets carry a tag: !env NAME, !file PATH or "
    '!credential NAME; tell the editor "yaml.customTags": ["!env scalar", "!file scalar", "!credential scalar"].'
)
DURATION = TypeAdapter(Duration).json_schema()["pattern"]
ID = TypeAdapter(Id).json_schema()["pattern"]
SIZE = TypeAdapter(Size).json_schema()["pattern"]
Schema = dict[str, Any]


def schema(registry: Registry) -> Schema:
    """Return the schema (dialect 2020-12) of a configuration for the drivers in ``registry``.

    Raises:
        DriverLoadError: one of them cannot be loaded.
    """
    document = AgentModel.model_json_schema(ref_template="#/$defs/{model}")
    definitions = document["$defs"]
    drivers = [registry.load(protocol) for protocol in registry.protocols()]
    for driver in drivers:
        prefix = f"{driver.protocol}."
        model = driver.config_model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
        definitions.update({prefix + name: definition for name, definition in model.pop("$defs", {}).items()})
        model["properties"]["driver"] |= {"const": driver.protocol}
        definitions[prefix + "device"] = model
    for unused in (DeviceModel.__name__, "PointModel", "DeadbandModel", "RangeModel", "ReadingClass"):
        definitions.pop(unused, None)
    document["properties"]["devices"]["items"] = {
        "type": "object",
        "required": ["driver"],
        "properties": {"driver": {"enum": [driver.protocol for driver in drivers]}},
        "allOf": [
            {
                "if": {"properties": {"driver": {"const": driver.protocol}}, "required": ["driver"]},
                "then": {"$ref": f"#/$defs/{driver.protocol}.device"},
            }
            for driver in drivers
        ],
    }
    return {
        "$schema": _DIALECT,
        "title": "edge-agent configuration",
        "$comment": _COMMENT,
        **tidied(document),
    }


def text() -> str:
    """Return ``configs/schema.json``: the schema for the drivers of this installation."""
    return json.dumps(schema(Registry()), indent=1, ensure_ascii=False) + "\n"


def tidied(node: Any) -> Any:
    """Return ``node`` as people write YAML: quantities with their unit, and no null where a key is left out."""
    if isinstance(node, list):
        return [tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    named = {key: node[key] for key in ("properties", "$defs") if key in node}
    node = {key: tidied(value) for key, value in node.items() if not _is_noise(key, value)}
    for key, members in named.items():  # their keys are names, not keywords
        node[key] = {name: tidied(member) for name, member in members.items()}
    branches = [branch for branch in node.get("anyOf", ()) if branch != {"type": "null"}]
    if len(branches) == 1:
        node = {**branches[0], **{key: value for key, value in node.items() if key != "anyOf"}}
    elif branches:
        node["anyOf"] = branches
    write = {DURATION: format_duration, SIZE: format_size}.get(node.get("pattern", ""))
    if write and "default" in node:
        node["default"] = write(node["default"])
    return node


def _is_noise(key: str, value: object) -> bool:
    # "ge" … is what is left of a bound that JSON Schema cannot express for a text
    return key == "title" or key in {"ge", "gt", "le", "lt"} or (key == "default" and value is None)
