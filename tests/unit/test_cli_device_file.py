"""A configuration that a command writes is whole, or there is none."""

from pathlib import Path
from typing import NoReturn

import pytest

from edge_agent.cli.device_file import write_devices
from edge_agent.errors import EdgeAgentError

DEVICES = [{"driver": "modbus", "host": "127.0.0.1", "points": [{"name": "p", "holding": 0}]}]


def no_links(_path: Path, _target: Path) -> NoReturn:
    raise OSError(95, "Operation not supported")  # what vfat says


@pytest.fixture(params=["with links", "without links"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if request.param == "without links":
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    return tmp_path / "press.yaml"


def test_it_is_written_once_and_over_another_only_when_told_to(path: Path) -> None:
    write_devices(path, DEVICES, "probe", is_forced=False)
    first = path.read_text("utf-8")
    assert "holding: 0" in first
    with pytest.raises(EdgeAgentError, match="File exists"):
        write_devices(path, [], "browse", is_forced=False)
    assert path.read_text("utf-8") == first
    write_devices(path, [], "browse", is_forced=True)
    assert path.read_text("utf-8").startswith("# browse")
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_failure_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path, _target: Path) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    monkeypatch.setattr(Path, "hardlink_to", no_links)
    with pytest.raises(EdgeAgentError, match="No space left"):
        write_devices(path, DEVICES, "probe", is_forced=False)
    assert list(path.parent.iterdir()) == []
