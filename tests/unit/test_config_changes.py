from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.config import AgentOptions, load
from edge_agent.config.changes import Changes, compare
from edge_agent.driver import Shared
from edge_agent.registry import Registry

YAML = """\
gateway: {id: gw}
outbox: {directory: state}
publishers:
  - {id: cloud, type: mqtt, servers: ["mqtts://broker"], username: edge, password: !file secret, tls: {ca: ca.pem}}
  - {id: plant, type: mqtt, servers: ["mqtt://plant"]}
devices:
  - {id: a, driver: modbus, host: plc, unit: 1, points: [{name: x, holding: 1, type: uint16}]}
  - {id: b, driver: modbus, host: plc, unit: 2, points: [{name: x, holding: 1, type: uint16}]}
  - {id: c, driver: modbus, host: other, points: [{name: x, holding: 1, type: uint16}]}
"""

Read = Callable[[str], AgentOptions]


@pytest.fixture
def options(tmp_path: Path) -> Read:
    def read(text: str) -> AgentOptions:
        (tmp_path / "agent.yaml").write_text(text)
        return load(tmp_path / "agent.yaml", Registry())

    (tmp_path / "secret").write_text("old")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "ca.pem").write_text("old")
    return read


def changes(options: Read, before: str, after: str) -> Changes:
    return compare(options(before), options(after))


def test_the_same_file_in_other_words_and_another_order_changes_nothing(options: Read) -> None:
    head, devices = YAML.split("devices:\n")
    shuffled = head + "devices:\n" + "".join(reversed(devices.splitlines(keepends=True)))
    found = changes(options, YAML, "# in other words\n" + shuffled.replace("holding: 1", 'holding: 0x1, unit: ""'))
    assert not found
    assert found.devices.unchanged == 3
    assert found.publishers.unchanged == 2


def test_devices_are_compared_one_by_one(options: Read) -> None:
    after = YAML.replace("host: other", "host: third").replace("id: b", "id: d")
    devices = changes(options, YAML, after).devices
    assert (devices.added, devices.removed, devices.changed, devices.unchanged) == (("d",), ("b",), ("c",), 1)
    assert devices.stopped == ("b", "c")
    assert devices.started == ("d", "c")


@pytest.mark.parametrize(
    ("before", "after", "is_adjusted"),
    [
        ("host: other", "host: other, name: Press", True),
        ("host: other", "host: other, labels: {asset: A-7}", True),
        ("host: other", "host: other, identifier: PRESS", True),
        ("{name: x, holding: 1", "{description: oil, name: x, holding: 1", True),
        ("{name: x, holding: 1", "{semantic_id: 0173-1, identifier: true, name: x, holding: 1", True),
        ("{name: x, holding: 1", "{unit: bar, name: x, holding: 1", False),
        ("{name: x, holding: 1", "{range: {low: 0, high: 9}, name: x, holding: 1", False),
        ("{name: x, holding: 1", "{class: counter, name: x, holding: 1", False),
        ("{name: x, holding: 1", "{description: oil, name: x, holding: 2", False),
        ("{name: x, holding: 1", "{description: oil, name: y, holding: 1", False),
        ("host: other", "host: other, name: Press, interval: 2s", False),
        ("host: other", "host: other, name: Press, retry_max: 2s", False),
    ],
)
def test_what_no_driver_goes_by_is_taken_up_in_the_session_that_there_is(
    options: Read, before: str, after: str, *, is_adjusted: bool
) -> None:
    text = YAML.replace("{name: x, holding: 1", "{name: x, holding: 3", 2)  # those of a and b stay
    devices = changes(options, text, text.replace(before, after)).devices
    assert (devices.changed, devices.adjusted) == (((), ("c",)) if is_adjusted else (("c",), ()))
    assert devices.unchanged == 2
    assert devices.stopped == devices.started == devices.changed


def test_another_deadband_is_taken_up_in_the_session_where_the_point_is_polled(options: Read) -> None:
    text = YAML.replace("holding: 1", "deadband: {absolute: 1}, holding: 1")
    before, after = options(YAML), options(text)
    assert compare(before, after, reported=lambda _: ()).devices.adjusted == ("a", "b", "c")
    assert compare(before, after, reported=lambda _: [0]).devices.changed == ("a", "b", "c")
    one = options(text.replace("absolute: 1", "absolute: 2", 1))
    assert compare(after, one, reported=lambda _: [7]).devices.adjusted == ("a",)


def test_a_device_on_a_line_that_another_one_sets_up_otherwise_is_not_only_adjusted(options: Read) -> None:
    def on_a_line(text: str, rate: str) -> AgentOptions:
        read = options(text)
        a, b, c = read.devices
        first = replace(a, shared=(Shared("line", {"rate": rate}),))
        return replace(read, devices=(first, replace(b, shared=(Shared("line", {}),)), c))

    named = YAML.replace("id: b", "id: b, name: Press")
    assert compare(on_a_line(YAML, "1"), on_a_line(named, "1")).devices.adjusted == ("b",)
    found = compare(on_a_line(YAML, "1"), on_a_line(named, "2")).devices
    assert (found.changed, found.adjusted) == (("a", "b"), ())


def test_a_change_of_points_is_one_of_the_device_alone(options: Read) -> None:
    found = changes(options, YAML, YAML.replace("unit: 2, points: [{name: x", "unit: 2, points: [{name: y"))
    assert found.devices.changed == ("b",)


def test_what_devices_share_restarts_all_of_them_when_it_is_set_up_in_another_way(options: Read) -> None:
    serial = YAML.replace("host: plc", "transport: rtu, serial: {port: /dev/ttyS9, baud_rate: 9600}")
    assert changes(options, serial, serial.replace("9600", "19200")).devices.changed == ("a", "b")


def test_publishers_are_compared_with_their_secrets_and_files(options: Read, tmp_path: Path) -> None:
    before = options(YAML)
    assert set(before.watched) == {tmp_path / "secret", tmp_path / "ca.pem"}
    (tmp_path / "secret").write_text("new")
    assert compare(before, options(YAML)).publishers.changed == ("cloud",)
    before = options(YAML)
    (tmp_path / "ca.pem").write_text("new")
    found = compare(before, options(YAML))
    assert found.publishers.changed == ("cloud",)
    assert found.publishers.unchanged == 1
    assert not found.devices


def test_the_certificate_of_the_pages_is_compared_with_what_is_in_its_files(options: Read, tmp_path: Path) -> None:
    text = YAML + "ops: {tls: {certificate: box.pem, key: box.key}}\n"
    for name in ("box.pem", "box.key", "other.key"):
        (tmp_path / name).write_text("old")
        (tmp_path / name).chmod(0o600)
    before = options(text)
    assert {tmp_path / "box.pem", tmp_path / "box.key"} < set(before.watched)
    assert not compare(before, options(text))
    (tmp_path / "box.key").write_text("new")
    changed = [compare(before, options(text)), compare(before, options(text.replace("box.key", "other.key")))]
    for found in changed:
        assert (found.settings, found.refused) == (("ops.tls",), ())
        assert found.has_tls_of_pages
        assert not found.devices
        assert not found.publishers


def test_codes_that_appear_or_disappear_are_another_session_with_each_broker(options: Read) -> None:
    coded = YAML + 'identifiers: {prefix: "88.000.7", allow_placeholder: true}\n'
    found = changes(options, YAML, coded)
    assert found.publishers.changed == ("cloud", "plant")
    assert found.settings == ("identifiers",)
    assert not found.devices
    assert not changes(options, coded, coded)
    assert changes(options, coded, coded.replace("id: b", "id: d")).settings == ()


@pytest.mark.parametrize(
    ("before", "after", "settings", "refused"),
    [
        ("{id: gw}", "{id: gw, name: Hall 3}", ("gateway.name",), ()),
        ("{id: gw}", "{id: gw2}", (), ("gateway.id",)),
        ("directory: state", "directory: elsewhere", (), ("outbox.directory",)),
        ("directory: state", "directory: state, max_size: 1GiB", ("outbox.max_size",), ()),
        ("directory: state", "directory: state, commit_interval: 2s", ("outbox.commit_interval",), ()),
        ("outbox:", "ops: {log_level: debug}\noutbox:", ("ops.log_level",), ()),
        ("outbox:", "ops: {tls: {certificate: ca.pem, key: secret}}\noutbox:", (), ("ops.tls",)),
        ("outbox:", "ops: {http: '127.0.0.3:1'}\noutbox:", (), ("ops.http",)),
        ("outbox:", "ops: {control_socket: here}\noutbox:", (), ("ops.control_socket",)),
    ],
)
def test_settings_are_named_as_in_the_file(
    options: Read, before: str, after: str, settings: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    found = changes(options, YAML, YAML.replace(before, after))
    assert (found.settings, found.refused) == (settings, refused)
