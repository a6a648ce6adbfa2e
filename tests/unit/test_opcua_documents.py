"""The sample that integrators copy is the one that is tested, and the README shows it."""

from pathlib import Path

import yaml

import edge_agent_opcua
from edge_agent_opcua.config import OpcUaDevice

FOLDER = Path(edge_agent_opcua.__file__).parent
SAMPLE = (FOLDER / "sample.yaml").read_text()
README = (FOLDER / "README.md").read_text()


def test_the_sample_is_valid() -> None:
    (device,) = yaml.safe_load(SAMPLE.replace("!credential ", ""))["devices"]
    assert OpcUaDevice.model_validate(device).user == "edge"


def test_the_readme_shows_the_sample() -> None:
    assert f"```yaml\n{SAMPLE}```" in README
