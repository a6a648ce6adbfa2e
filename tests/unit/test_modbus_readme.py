"""What the driver's README says is what the driver takes."""

import shutil
from pathlib import Path
from typing import cast

import pytest

import edge_agent_modbus
from edge_agent.cli.plan import DevicePlan, line_loads, load_as_json
from edge_agent.config import load
from edge_agent.driver import DeviceModel, PointModel
from edge_agent.model import Quality
from edge_agent.registry import Registry
from edge_agent.testing.fakes import FakeContext
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.pdu import Table
from edge_agent_modbus.point import ModbusPoint
from edge_agent_modbus.quirks import QUIRKS
from edge_agent_modbus.session import REFUSALS, TROUBLES
from edge_agent_modbus.source import ValueType

FOLDER = Path(edge_agent_modbus.__file__).parent
README = (FOLDER / "README.md").read_text()


def test_every_key_is_in_a_table() -> None:
    device = ModbusDevice.model_fields.keys() - DeviceModel.model_fields.keys()
    point = {field.alias or name for name, field in ModbusPoint.model_fields.items()}
    point -= {field.alias or name for name, field in PointModel.model_fields.items()}
    rows = [line.split("|")[1] for line in README.splitlines() if line.startswith("|")]
    for key in device | point:
        assert any(f"`{key}`" in row for row in rows), f"{key} is in no table"


def test_every_type_is_in_a_table() -> None:
    rows = [line.split("|")[1] for line in README.splitlines() if line.startswith("|")]
    for value_type in set(ValueType) - {ValueType.BOOL}:
        assert any(f"`{value_type.word}`" in row for row in rows), f"{value_type.word} is in no table"


def test_every_status_is_in_the_table_of_errors() -> None:
    converted = {
        Quality.BAD_OUT_OF_RANGE,
        Quality.BAD_DECODING_ERROR,
        Quality.BAD_OUT_OF_SERVICE,
        Quality.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED,
    }
    for status in {*REFUSALS.values(), *TROUBLES.values(), Quality.BAD_TIMEOUT, *converted}:
        assert f"`{status.name}`" in README


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    for name in ("plant-ca.pem", "gateway.pem", "gateway.key"):
        (tmp_path / name).touch(0o600)
    return Path(shutil.copy(FOLDER / "sample.yaml", tmp_path))


def test_the_sample_is_valid_and_its_first_device_and_plan_are_shown(sample: Path) -> None:
    shown = README.split("```yaml\n")[1].split("```")[0]
    assert shown in sample.read_text()
    first = load(sample, Registry()).devices[0]
    device = first.spec.create(FakeContext(), first.config.unpack())
    for request in device.plan(device.polled, frozenset()):
        assert f"    {request}\n" in README


def test_every_field_of_a_plan_as_json_is_described(sample: Path) -> None:
    options = load(sample, Registry())
    plans = [DevicePlan.of(device) for device in options.devices]
    fields = set(load_as_json(line_loads(plans)[0]))
    for poll in plans[0].as_json():
        for request in cast("list[dict[str, object]]", poll["requests"]):
            fields |= request.keys() - {"request", "points"}
    for name in fields:
        assert f"`{name}`" in README


def test_every_quirk_is_in_the_table_with_its_source() -> None:
    for name, quirks in QUIRKS.items():
        tables = "all" if len(quirks.tables) == len(Table) else ", ".join(t.word for t in sorted(quirks.tables))
        row = f"| `{name}` | {quirks.max_registers} | {quirks.max_coils} | {tables} | {quirks.source} |\n"
        assert row in README
