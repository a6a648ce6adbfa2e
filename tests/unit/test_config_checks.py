"""What no single model can see."""

# ruff: noqa: E501 - each row is a mistake and its message, as they are written

from pathlib import Path

import pytest

from tests.cases.config.kit import DEVICES, HEAD, load_text, problems_of

TLS = '{id: cloud, type: mqtt, servers: ["mqtts://broker"], %s}'
PLAIN = '{id: cloud, type: mqtt, servers: ["mqtt://broker"], %s}'


def publishers(*entries: str) -> str:
    """Return a document whose publishers stand in lines 3, 4 …, from column 5 on."""
    return "gateway: {id: gw}\npublishers:\n" + "".join(f"  - {entry}\n" for entry in entries) + "devices: []\n"


def coded(identifiers: str, devices: str, gateway: str = "{id: gw}") -> str:
    """Return a document with the gateway in line 1, identifiers in line 3, devices in lines 5, 6 …"""
    return f"gateway: {gateway}\npublishers: []\nidentifiers: {identifiers}\ndevices:\n{devices}"


def test_ids_that_repeat_name_the_first_one_also_where_an_entry_is_wrong_in_itself() -> None:
    text = HEAD + (
        "devices:\n"
        "  - {id: a, driver: fake, points: [{name: p, address: 1}, {name: p, address: 2}]}\n"
        "  - {id: a, driver: fakee, points: []}\n"
    )
    found = problems_of(text)
    assert "5:66: devices[0].points[1].name: 'p' is already used in line 5" in found
    assert "6:10: devices[1].id: 'a' is already used in line 5" in found


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (PLAIN % "tls: {insecure: true}", "3:57: publishers[0].tls: no server is mqtts://, so nothing here has an effect"),
        (TLS % "tls: {key: here}", "3:64: publishers[0].tls.key: a key needs its certificate:"),
        (TLS % "tls: {ca: none.pem}", "3:68: publishers[0].tls.ca: {tmp}/none.pem does not exist"),
        (TLS % "tls: {ca: .}", "3:68: publishers[0].tls.ca: {tmp} is not a file"),
        (TLS % "password: !env PASSWORD", "3:58: publishers[0].password: a password needs its username:"),
        (PLAIN % "keep_alive: 1500ms", "3:69: publishers[0].keep_alive: MQTT counts the keep alive in whole seconds"),
        (PLAIN % "topics: {data: 'a/{divice}'}", "3:72: publishers[0].topics.data: {divice} is not known here; known: {gateway}, {device}"),
        (PLAIN % "topics: {status: '{device}'}", "3:74: publishers[0].topics.status: {device} is not known here; known: {gateway}"),
        (PLAIN % "topics: {data: 'a/{'}", "3:72: publishers[0].topics.data: write placeholders as {device}"),
        (PLAIN % "topics: {data: 'a/#'}", "3:72: publishers[0].topics.data: '#' is a wildcard; it cannot stand in a topic that is published to"),
        (PLAIN % "topics: {data: $SYS/a}", "3:72: publishers[0].topics.data: topics that begin with $ belong to the broker"),
        (PLAIN % "username: ''", "3:67: publishers[0].username: must not be empty"),
        (PLAIN % "version: 5", '3:66: publishers[0].version: put it in quotes: "5"'),
    ],
)  # fmt: skip
def test_settings_of_a_publisher_that_contradict_each_other(entry: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    found = problems_of(publishers(entry), environ={"PASSWORD": "x"}, path=tmp_path / "a.yaml")
    assert found == [expected.replace("{tmp}", str(tmp_path))]


@pytest.mark.parametrize(
    "server",
    ["broker", "http://broker", "mqtt://", "mqtt://a:0", "mqtt://a:99999", "mqtt://u:p@a", "mqtt://a/b", "mqtt://[::1", "mqtt://a b"],
)  # fmt: skip
def test_what_is_no_broker_address(server: str) -> None:
    (found,) = problems_of(publishers(f'{{id: a, type: mqtt, servers: ["{server}"]}}'))
    assert found.startswith("3:35: publishers[0].servers[0]: ")


@pytest.mark.parametrize(
    "listen", ["9464", "'9464'", "a:b", "':1'", "a:65536", "'::1:80'", "'[a:1'", "'a b:1'", "on"]
)
def test_what_is_no_address_to_listen_on(listen: str) -> None:
    (found,) = problems_of(f"{HEAD}{DEVICES}ops: {{http: {listen}}}\n")
    assert found.startswith("6:13: ops.http: ")


def test_two_publishers_that_would_take_each_others_session() -> None:
    same = [f'{{id: {name}, type: mqtt, servers: ["mqtt://b:1883"]}}' for name in "ab"]
    (found,) = problems_of(publishers(*same))
    assert found.startswith("4:10: publishers[1].id: the client id 'gw' is also that of 'a' at b:1883")
    assert problems_of(publishers(same[0], same[1].replace("type", "client_id: other, type"))) == []
    assert problems_of(publishers(same[0], same[1].replace("1883", "1884"))) == []


DEVICE = "  - {id: a, driver: fake, points: [{name: p, address: 1, identifier: true}]%s}\n"


@pytest.mark.parametrize(
    ("identifiers", "expected"),
    [
        ('{prefix: "88.000.1"}', "3:23: identifiers.prefix: '88.000.1': this prefix is an example"),
        ('{prefix: "8.101"}', "3:23: identifiers.prefix: '8.101': the first part of a prefix has 2 digits, such as"),
        ("{prefix: 88.101}", '3:23: identifiers.prefix: must be text, not the number 88.101; put it in quotes: "88.101"'),
        ('{prefix: "88.101", device: "EQ.{divice}"}', "3:41: identifiers.device: template 'EQ.{divice}', character 4"),
        ('{prefix: "88.101", point: "{"}', "3:40: identifiers.point: template '{', character 1"),
        ('{prefix: "88.101", device: "EQ/{device}"}', "3:41: identifiers.device: template 'EQ/{device}', character 3"),
        ('{prefix: "88.101", point: "EQ.{device}"}', "5:36: devices[0].points[0]: '88.101/EQ.a' belongs to device/a"),
    ],
)  # fmt: skip
def test_what_cannot_make_a_code_is_reported_once_where_it_is_wrong(identifiers: str, expected: str) -> None:
    (found,) = problems_of(coded(identifiers, DEVICE % ""))
    assert found.startswith(expected)


def test_a_template_that_names_nothing_is_one_mistake_for_all_devices() -> None:
    devices = DEVICE % ", labels: {asset: A1}" + DEVICE.replace("id: a", "id: b") % ", labels: {line: L}"
    (found,) = problems_of(coded('{prefix: "88.101", device: "EQ.{asse}"}', devices))
    assert found.startswith("3:41: identifiers.device: template 'EQ.{asse}', character 4: {asse} is not known")


def test_a_label_that_one_device_lacks_is_that_devices_mistake() -> None:
    devices = DEVICE % ", labels: {asset: A1}" + DEVICE.replace("id: a", "id: b") % ""
    (found,) = problems_of(coded('{prefix: "88.101", device: "EQ.{asset}"}', devices))
    assert found.startswith("6:5: devices[1]: template 'EQ.{asset}', character 4: {asset} is not known")


def test_a_wrong_suffix_is_reported_at_its_key() -> None:
    (found,) = problems_of(coded('{prefix: "88.101"}', DEVICE % ", identifier: '甲'"))
    assert found.startswith("5:90: devices[0].identifier: ")
    (found,) = problems_of(coded('{prefix: "88.101"}', DEVICE % "", gateway="{id: gw, identifier: ' '}"))
    assert found.startswith("1:31: gateway.identifier: ")


def test_codes_are_made_of_labels_and_suffixes() -> None:
    devices = (
        DEVICE % ", labels: {asset: A1}, name: Press"
        + DEVICE.replace("id: a", "id: b") % ", identifier: B1, enabled: false"
    )
    options = load_text(
        coded(
            '{prefix: "88.101", device: "EQ.{asset}"}', devices, gateway="{id: gw, name: N, labels: {serial: S}}"
        )
    )
    assert options.identifiers is not None
    assert options.identifiers.gateway_labels == {"serial": "S"}
    assert options.identifiers.gateway_name == "N"
    first, second = options.identifiers.devices  # one that is switched off keeps its code
    assert (first.suffix, first.labels, first.name, [p.name for p in first.points]) == (
        "",
        {"asset": "A1"},
        "Press",
        ["p"],
    )
    assert second.suffix == "B1"
    assert [device.id for device in options.devices] == ["a"]


@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        (
            "{http: '0.0.0.0:1'}",
            "6:13: ops.http: 0.0.0.0 can be reached from other machines: set token: and tls:, or `insecure_http: true` if you accept that anybody there may read along",
        ),
        (
            "{http: 'box:1', token: !env T}",
            "6:13: ops.http: box can be reached from other machines: set tls:, or `insecure_http: true` if you accept that anybody there may read along",
        ),
        ("{insecure_http: true}", "6:7: ops.insecure_http: nothing here is insecure, so this has no effect"),
        (
            "{token: !env SHORT}",
            "6:14: ops.token: needs at least 16 characters of ASCII without spaces; `openssl rand -hex 32` makes one",
        ),
        ("{tls: {certificate: a, key: b}}", "6:26: ops.tls.certificate: /etc/edge-agent/a does not exist"),
    ],
)
def test_what_others_can_reach_needs_a_token_and_tls(ops: str, expected: str) -> None:
    found = problems_of(f"{HEAD}{DEVICES}ops: {ops}\n", environ={"T": "t" * 16, "SHORT": "t" * 15})
    assert expected in found[0]
