"""The sample that integrators copy is the one that is tested, and the README shows it."""

from pathlib import Path

import pytest
import yaml

import edge_agent_opcua
from edge_agent.config import load
from edge_agent.driver import DeviceModel, PointModel
from edge_agent.registry import Registry
from edge_agent.testing.fakes import FakeContext
from edge_agent_opcua import DRIVER
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.event import FIELDS, TYPES
from edge_agent_opcua.plan import EVENT_QUEUE
from edge_agent_opcua.point import Events, Mode, OpcUaPoint
from edge_agent_opcua.profiles import PROFILES

FOLDER = Path(edge_agent_opcua.__file__).parent
SAMPLE = (FOLDER / "sample.yaml").read_text()
README = (FOLDER / "README.md").read_text()


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[OpcUaDevice]:
    for device in ("cnc-07", "robot-06"):
        (tmp_path / f"{device}-password").write_text("secret")
    (tmp_path / "trusted").mkdir()
    for name in ("own.pem", "own.key", "user.pem", "user.key"):
        (tmp_path / name).touch(0o600)
    (tmp_path / "sample.yaml").write_text(SAMPLE.replace("/etc/edge-agent/pki", str(tmp_path)))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    devices = [device.config.unpack() for device in load(tmp_path / "sample.yaml", Registry()).devices]
    return [device for device in devices if isinstance(device, OpcUaDevice)]


def test_the_sample_is_valid_and_has_every_key(sample: list[OpcUaDevice]) -> None:
    written = {key for device in yaml.load(SAMPLE, yaml.BaseLoader)["devices"] for key in device}  # noqa: S506 - own file
    assert OpcUaDevice.model_fields.keys() - DeviceModel.model_fields.keys() - written == set()
    of_points = {key for device in sample for point in device.points for key in point.model_fields_set}
    assert OpcUaPoint.model_fields.keys() - PointModel.model_fields.keys() <= of_points


def test_the_sample_shows_each_way_to_collect(sample: list[OpcUaDevice]) -> None:
    modes = {point.mode or device.mode for device in sample for point in device.points}
    assert modes == set(Mode)
    assert {point.events for device in sample for point in device.points} == {None, *Events}
    for device in sample:
        created = DRIVER.create(FakeContext(device.id), device)
        assert sorted({*created.polled, *created.reported}) == list(range(len(device.points)))


def test_the_readme_shows_the_first_device_of_the_sample() -> None:
    shown = README.split("```yaml\n")[1].split("```")[0]
    assert shown in SAMPLE
    assert "cnc-07" in shown


def test_every_key_of_a_device_is_told() -> None:
    for key in OpcUaDevice.model_fields.keys() - DeviceModel.model_fields.keys():
        assert f"`{key}" in README or f"{key}:" in README, f"{key} is not told"


def test_every_key_of_a_subscription_is_in_a_table() -> None:
    rows = [line.split("|")[1] for line in README.splitlines() if line.startswith("|")]
    for key in OpcUaPoint.model_fields.keys() - PointModel.model_fields.keys():
        assert any(f"`{key}`" in row for row in rows), f"{key} is in no table"


def test_every_profile_is_in_the_table_with_its_source() -> None:
    for name, profile in PROFILES.items():
        assert f"| `{name}` | {profile.max_operations} | {profile.source} |\n" in README


def test_every_field_and_type_of_events_is_in_a_table() -> None:
    rows = [line for line in README.splitlines() if line.lstrip().startswith("|")]
    for name in [*(field.key for field in FIELDS), *TYPES]:
        assert any(f"`{name}`" in row for row in rows), f"{name} is in no table"
    assert f"default {EVENT_QUEUE})" in README
