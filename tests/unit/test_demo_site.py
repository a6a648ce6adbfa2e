"""The demo's configuration file and the addresses that are put into it."""

from importlib import resources
from pathlib import Path

import pytest
import yaml

from edge_agent.demo.site import Broker, BrokerUrlError, Site, unique_gateway

CONFIGS = Path(__file__).parents[2] / "configs"


def shipped() -> str:
    return resources.files("edge_agent.demo").joinpath("demo.yaml").read_text(encoding="utf-8")


def test_the_file_in_configs_is_the_one_that_the_package_ships() -> None:
    assert (CONFIGS / "demo.yaml").read_text(encoding="utf-8") == shipped()


def test_the_addresses_of_the_run_replace_the_shipped_ones_and_nothing_else_changes(tmp_path: Path) -> None:
    site = Site(tmp_path, "demo-7", modbus_port=10502, opcua_port=14840, broker=Broker("192.0.2.1", 1884))
    rendered, original = yaml.safe_load(site.render()), yaml.safe_load(shipped())

    assert rendered["gateway"]["id"] == "demo-7"
    assert rendered["outbox"]["directory"] == str(tmp_path / "state")
    assert rendered["publishers"][0]["servers"] == ["mqtt://192.0.2.1:1884"]
    assert rendered["ops"]["control_socket"] == str(tmp_path / "control.sock")
    assert [device.get("port") for device in rendered["devices"]] == [None, 10502, 10502]
    assert rendered["devices"][0]["url"] == "opc.tcp://127.0.0.1:14840"

    for document in (rendered, original):
        document["gateway"]["id"] = document["outbox"]["directory"] = document["ops"] = ""
        document["publishers"][0]["servers"] = document["devices"][0]["url"] = ""
        for device in document["devices"]:
            device.pop("port", None)
    assert rendered == original


def test_every_device_says_that_it_is_simulated() -> None:
    for device in yaml.safe_load(shipped())["devices"]:
        assert device["name"].startswith("Simulated")
        assert device["labels"]["simulated"] == "yes"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://broker.example:1884", Broker("broker.example", 1884)),
        ("mqtt://broker.example/", Broker("broker.example", 1883)),
        ("mqtt://[2001:db8::1]:1884", Broker("2001:db8::1", 1884)),
    ],
)
def test_a_broker_address_is_read_and_written_back(url: str, address: Broker) -> None:
    assert Broker.parse(url) == address
    assert Broker.parse(str(address)) == address


@pytest.mark.parametrize(
    "url",
    [
        "broker.example:1883",
        "mqtts://broker.example",
        "mqtt://",
        "mqtt://u:p@h",
        "mqtt://h:99999",
        "mqtt://h/topic",
    ],
)
def test_an_address_that_the_demo_cannot_use_is_refused_with_what_to_write(url: str) -> None:
    with pytest.raises(BrokerUrlError, match="write mqtt://host:port"):
        Broker.parse(url)


def test_two_demos_on_one_broker_have_different_names() -> None:
    assert unique_gateway() != unique_gateway()
