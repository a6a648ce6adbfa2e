"""The examples load, and what is generated for people and editors covers every key."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from edge_agent import config
from edge_agent.config.json_schema import schema, text
from edge_agent.config.reference import markdown
from edge_agent.config.schema import AgentModel
from edge_agent.config.shape import keys, models_in
from edge_agent.registry import Registry
from tests.cases.config.kit import HEAD

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ["minimal", "service", "press-line", "cnc-opcua", "energy-metering"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_worked_example_loads(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mqtt-password").write_text("x\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for variable in ("MQTT_PASSWORD", "CNC_PASSWORD", "GROUP_PASSWORD"):
        monkeypatch.setenv(variable, "x")
    options = config.load(ROOT / "configs" / f"{name}.yaml", Registry())
    assert options.devices
    assert not options.insecure


def test_the_minimal_example_needs_nothing_of_its_surroundings() -> None:
    assert "!" not in (ROOT / "configs" / "minimal.yaml").read_text()


class PlainLoader(yaml.SafeLoader):
    """Reads the examples as an editor does: tags give text."""


PlainLoader.add_multi_constructor("!", lambda loader, _, node: loader.construct_scalar(node))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_editor_finds_nothing_wrong_with_an_example(name: str) -> None:
    document = yaml.load((ROOT / "configs" / f"{name}.yaml").read_text(), Loader=PlainLoader)  # noqa: S506 - own file
    jsonschema.Draft202012Validator(schema(Registry())).validate(document)


@pytest.mark.parametrize(
    "device",
    [
        "{id: a, driver: modbsu, points: []}",
        "{id: a, driver: modbus, points: [{name: a, register: 40001}]}",
        "{id: a, driver: modbus, host: h, node: x, points: [{name: a, register: 40001}]}",
        "{id: a, driver: modbus, host: h, interval: 5, points: [{name: a, register: 40001}]}",
        "{id: a, driver: opcua, url: opc.tcp://h, points: [{name: a, register: 40001}]}",
    ],
)
def test_an_editor_sees_what_load_would_refuse(device: str) -> None:
    document = yaml.safe_load(f"{HEAD}devices: [{device}]\n")
    assert not jsonschema.Draft202012Validator(schema(Registry())).is_valid(document)


def test_the_schema_is_one_and_speaks_yaml() -> None:
    jsonschema.Draft202012Validator.check_schema(schema(Registry()))
    written = json.loads(text())
    publisher = written["$defs"]["MqttModel"]["properties"]
    assert (publisher["keep_alive"]["default"], publisher["message_size"]["default"]) == ("30s", "64KiB")
    assert "default" not in publisher["client_id"]
    assert publisher["client_id"]["type"] == "string"


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for inner in models_in(model):
        yield from models(inner)


def test_the_reference_lists_every_key_of_the_agent_and_of_its_drivers() -> None:
    reference = markdown()
    listed = set(re.findall(r"^\| `(\w+)` \|", reference, re.MULTILINE))
    registry = Registry()
    specs = [registry.load(protocol) for protocol in registry.protocols()]
    assert {"modbus", "opcua"} <= {spec.protocol for spec in specs}
    roots: list[type[BaseModel]] = [AgentModel, *(spec.config_model for spec in specs)]
    for root in roots:
        for model in models(root):
            assert set(keys(model)) <= listed, model
    assert "| `keep_alive` | duration, ≥ 1s, ≤ 65535s | `30s` | Keep alive of MQTT. |" in reference
    assert '| `version` | `"5"` or `3.1.1` | `"5"` |' in reference


def test_every_key_has_a_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", markdown(), re.MULTILINE)
    assert [key for key, meaning in rows if not meaning.strip()] == []


@pytest.mark.parametrize(
    ("path", "write"), [("docs/reference/config.md", markdown), ("configs/schema.json", text)]
)
def test_what_is_generated_is_up_to_date(path: str, write: Any) -> None:
    assert (ROOT / path).read_text() == write(), "run `make docs`"
