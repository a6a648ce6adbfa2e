import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.errors import DriverLoadError
from edge_agent.registry import Registry

DRIVER_SOURCE = """
from edge_agent.driver import API, DeviceModel, DriverSpec
LOADED = True
DRIVER = DriverSpec({protocol!r}, {api}, DeviceModel, lambda context, config: None, "a test driver")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    tmp_path.chmod(0o755)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("edge_agent_lathe")]:
        del sys.modules[name]


def write_driver(folder: Path, name: str = "lathe", protocol: str | None = None, api: str = "API") -> Path:
    package = folder / f"edge_agent_{name}"
    package.mkdir(mode=0o755)
    init = package / "__init__.py"
    init.write_text(DRIVER_SOURCE.format(protocol=protocol or name, api=api))
    init.chmod(0o644)
    return package


def test_our_two_drivers_are_installed_and_load() -> None:
    registry = Registry()
    assert {"modbus", "opcua"} <= set(registry.protocols())
    assert registry.load("modbus").protocol == "modbus"
    assert registry.load("opcua").protocol == "opcua"


def test_a_driver_in_a_folder_is_found_without_importing_it_and_loads(folder: Path) -> None:
    write_driver(folder)
    registry = Registry([folder])
    assert registry.protocols()["lathe"] == f"folder {folder / 'edge_agent_lathe'}"
    assert "edge_agent_lathe" not in sys.modules
    assert registry.load("lathe") is registry.load("lathe")


def test_a_driver_that_does_not_exist_comes_from_nowhere() -> None:
    with pytest.raises(DriverLoadError, match=r"no driver for 'modbsu'; installed are: [\w, ]+$"):
        Registry().load("modbsu")


def test_two_claims_to_one_protocol_name_both(folder: Path) -> None:
    write_driver(folder, "modbus")
    with pytest.raises(DriverLoadError, match=r"entry point edge_agent_modbus:DRIVER.*folder .*edge_agent_modbus"):
        Registry([folder]).protocols()


@pytest.mark.parametrize(
    "target",
    [
        ".",
        "edge_agent_lathe",
        "edge_agent_lathe/__init__.py",
        "edge_agent_lathe/__pycache__",  # a .pyc in it is run in place of its source
        "edge_agent_lathe/native.so",
    ],
)
def test_what_others_may_write_to_is_refused_with_the_command_that_mends_it(folder: Path, target: str) -> None:
    package = write_driver(folder)
    (package / "__pycache__").mkdir(mode=0o755)
    (package / "native.so").touch(mode=0o644)
    (package / ".#lock-of-an-editor").symlink_to("nowhere")
    (folder / target).chmod(0o777)
    with pytest.raises(DriverLoadError, match="chmod -R go-w"):
        Registry([folder]).protocols()


def test_an_unknown_protocol_lists_the_known_ones() -> None:
    with pytest.raises(DriverLoadError, match=r"installed are: .*modbus"):
        Registry().load("profibus")


@pytest.mark.parametrize(
    ("protocol", "api", "message"),
    [("other", "API", "registers 'other'"), ("lathe", "99", "made for contract 99")],
)
def test_a_driver_that_does_not_fit_is_refused(folder: Path, protocol: str, api: str, message: str) -> None:
    write_driver(folder, "lathe", protocol, api)
    with pytest.raises(DriverLoadError, match=message):
        Registry([folder]).load("lathe")


def test_a_driver_that_raises_when_imported_says_where_it_came_from(folder: Path) -> None:
    package = write_driver(folder)
    (package / "__init__.py").write_text("raise OSError('no such library')")
    with pytest.raises(DriverLoadError, match="no such library") as caught:
        Registry([folder]).load("lathe")
    assert caught.value.origin == f"folder {package}"
    assert "edge_agent_lathe" not in sys.modules


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DriverLoadError, match="does not exist"):
        Registry([tmp_path / "nowhere"]).protocols()
