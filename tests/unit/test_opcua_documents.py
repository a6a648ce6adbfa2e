"""The sample that integrators copy is the one that is tested, and the README shows it."""

from pathlib import Path

import yaml

import edge_agent_opcua
from edge_agent.driver import DeviceModel, PointModel
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.event import FIELDS, TYPES
from edge_agent_opcua.plan import EVENT_QUEUE
from edge_agent_opcua.point import OpcUaPoint
from edge_agent_opcua.profiles import PROFILES

FOLDER = Path(edge_agent_opcua.__file__).parent
SAMPLE = (FOLDER / "sample.yaml").read_text()
README = (FOLDER / "README.md").read_text()


def test_the_sample_is_valid() -> None:
    (device,) = yaml.safe_load(SAMPLE.replace("!credential ", ""))["devices"]
    assert OpcUaDevice.model_validate(device).user == "edge"


def test_the_readme_shows_the_sample() -> None:
    assert f"```yaml\n{SAMPLE}```" in README


def test_every_key_is_told() -> None:
    keys = (OpcUaDevice.model_fields.keys() - DeviceModel.model_fields.keys()) | (
        OpcUaPoint.model_fields.keys() - PointModel.model_fields.keys()
    )
    for key in keys:
        assert f"`{key}" in README or f"{key}:" in SAMPLE, f"{key} is in no table and not in the sample"


def test_every_key_of_a_subscription_is_in_a_table() -> None:
    rows = [line.split("|")[1] for line in README.splitlines() if line.startswith("|")]
    for key in OpcUaPoint.model_fields.keys() - PointModel.model_fields.keys():
        assert any(f"`{key}`" in row for row in rows), f"{key} is in no table"


def test_every_profile_is_in_the_table_with_its_source() -> None:
    for name, profile in PROFILES.items():
        assert f"| `{name}` | {profile.max_operations} | {profile.source} |\n" in README


def test_every_field_and_type_of_events_is_in_a_table() -> None:
    rows = [line for line in README.splitlines() if line.startswith("|")]
    for name in [*(field.key for field in FIELDS), *TYPES]:
        assert any(f"`{name}`" in row for row in rows), f"{name} is in no table"
    assert f"default {EVENT_QUEUE})" in README
