"""What a valid document becomes."""

from pathlib import Path

import pytest

from edge_agent import config
from edge_agent.errors import ConfigError
from edge_agent.model import Deadband, ReadingClass
from edge_agent.outbox.options import OutboxOptions
from edge_agent.publish.options import ReplayOptions, ServerOptions, TlsOptions, TopicOptions
from edge_agent.registry import Registry
from tests.bench import config_load
from tests.cases.config.kit import DEVICES, HEAD, FakeDevice, load_text


@pytest.fixture(autouse=True)
def not_under_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


def test_a_short_document_has_the_defaults() -> None:
    options = load_text(HEAD + DEVICES)
    assert options.gateway == "gw-01"
    assert options.outbox == OutboxOptions(Path("/var/lib/edge-agent"))
    assert (options.ops.http_host, options.ops.http_port) == ("127.0.0.1", 9464)
    assert options.ops.control_socket == Path("/run/edge-agent/control.sock")
    assert options.identifiers is None
    assert options.insecure == ()
    (publisher,) = options.publishers
    assert publisher.servers == (ServerOptions("127.0.0.1", 1883, use_tls=False),)
    assert (publisher.client_id, publisher.protocol_version) == ("gw-01", 5)
    assert (publisher.tls, publisher.topics) == (TlsOptions(), TopicOptions())


def test_every_default_of_a_section_is_that_of_its_options() -> None:
    """Two places write a default: the key and the dataclass that programs use."""
    (publisher,) = load_text(HEAD + DEVICES).publishers
    made = type(publisher)(publisher.id, publisher.gateway, publisher.servers, publisher.client_id)
    assert publisher == made


def test_devices_become_tables_with_an_interval_for_each_point() -> None:
    (device,) = load_text(
        HEAD
        + """\
devices:
  - id: press-01
    driver: fake
    name: 一号压力机
    interval: 500ms
    timeout: 2s
    max_failures: 5
    points:
      - {name: a, address: 1, unit: K, class: alarm, description: d, deadband: {absolute: 0.5, max_silence: 1min}}
      - {name: b, address: {word: 1, bit: 3}, interval: 2s, deadband: {percent: 1}}
"""
    ).devices
    assert (device.id, device.name, device.table.device) == ("press-01", "一号压力机", "press-01")
    assert device.intervals_s == (0.5, 2.0)
    assert (device.read_timeout_s, device.connect_timeout_s, device.max_failures) == (2.0, 5.0, 5)
    first, second = device.table.points
    assert (first.name, first.unit, first.reading_class, first.description) == (
        "a",
        "K",
        ReadingClass.ALARM,
        "d",
    )
    assert first.deadband == Deadband(0.5, 0.0, 60.0)
    assert second.deadband == Deadband(0.0, 1.0)
    assert isinstance(device.config.unpack(), FakeDevice)


def test_a_disabled_device_is_checked_but_not_built() -> None:
    assert load_text(HEAD + DEVICES.replace("points", "enabled: false, points")).devices == ()
    with pytest.raises(ConfigError):
        load_text(HEAD + DEVICES.replace("points", "enabled: false, interval: 1, points"))


def test_relative_paths_are_relative_to_the_file_also_those_of_a_driver(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    text = HEAD + DEVICES.replace("points", "ca: ca.pem, points")
    text += "outbox: {directory: state}\nops: {control_socket: a.sock}\n"
    options = load_text(text, path=tmp_path / "gateway.yaml")
    assert options.outbox.directory == tmp_path / "state"
    assert options.ops.control_socket == tmp_path / "a.sock"
    config_model = options.devices[0].config.unpack()
    assert isinstance(config_model, FakeDevice)
    assert config_model.ca == tmp_path / "ca.pem"


def test_under_systemd_the_directories_are_the_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/a")
    options = load_text(HEAD + DEVICES)
    assert options.outbox.directory == Path("/var/lib/a")
    assert options.ops.control_socket == Path("/run/a/control.sock")


def test_servers_have_the_port_of_their_scheme() -> None:
    servers = '["mqtts://a", "mqtt://[::1]", "mqtts://b:1"]'
    (publisher,) = load_text(HEAD.replace('["mqtt://127.0.0.1"]', servers) + DEVICES).publishers
    assert publisher.servers == (
        ServerOptions("a", 8883, use_tls=True),
        ServerOptions("::1", 1883, use_tls=False),
        ServerOptions("b", 1, use_tls=True),
    )


@pytest.mark.parametrize(
    ("written", "host", "port"), [("'[::1]:0'", "::1", 0), ("off", "", None), ("127.0.0.2:80", "127.0.0.2", 80)]
)
def test_http_listens_where_it_is_told(written: str, host: str, port: int | None) -> None:
    ops = load_text(f"{HEAD}{DEVICES}ops: {{http: {written}}}\n").ops
    assert (ops.http_host, ops.http_port) == (host, port)


def test_what_weakens_security_is_listed_by_path() -> None:
    text = f"""\
gateway: {{id: gw}}
publishers:
  - {{id: far, type: mqtt, servers: ["mqtt://10.0.0.1"], username: u, password: !env P}}
  - {{id: near, type: mqtt, servers: ["mqtt://localhost"], username: u, password: !env P}}
  - {{id: any, type: mqtt, servers: ["mqtts://10.0.0.1"], tls: {{insecure: true}}}}
ops: {{http: "0.0.0.0:9464", insecure_http: true}}
{DEVICES.replace("points", "insecure_transport: true, points")}"""
    options = load_text(text, environ={"P": "p"})
    assert options.insecure == (
        "publishers.far.password",
        "publishers.any.tls.insecure",
        "devices.press-01.insecure_transport",
        "ops.insecure_http",
    )
    assert [publisher.tls.verify for publisher in options.publishers] == [True, True, False]


def test_the_digest_is_that_of_the_bytes() -> None:
    first, again, other = (load_text(HEAD + DEVICES + end) for end in ("", "", "# a comment\n"))
    assert first.digest == again.digest != other.digest


DRIVER = """\
from edge_agent.driver import API, DeviceModel, DriverSpec

DRIVER = DriverSpec("local", API, DeviceModel, lambda context, config: None, "for tests")
"""


def test_drivers_path_is_read_before_the_devices(tmp_path: Path) -> None:
    folder = tmp_path / "drivers" / "edge_agent_local"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(DRIVER)
    for path in (folder / "__init__.py", folder, folder.parent):
        path.chmod(path.stat().st_mode & ~0o022)
    file = tmp_path / "gateway.yaml"
    file.write_text(HEAD + "drivers_path: [drivers]\ndevices: [{id: a, driver: local, points: [{name: p}]}]\n")
    assert config.load(file, Registry()).devices[0].spec.protocol == "local"
    (folder / "__init__.py").chmod(0o666)
    with pytest.raises(ConfigError, match=r"4:15: drivers_path: .* is writable by group or others"):
        config.load(file, Registry())


@pytest.mark.slow
def test_500_devices_of_30_points_load(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(config_load.document())
    options = config.load(file, Registry())
    assert [len(device.table.points) for device in options.devices] == [30] * 500


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ReplayOptions()),
        ("replay: {order: in_order, rate: 400}", ReplayOptions(in_order=True, rate=400.0)),
        ("replay: {rate: 0.5, share: 0.2}", ReplayOptions(rate=0.5, share=0.2)),
    ],
)
def test_how_the_backlog_goes_out(text: str, expected: ReplayOptions) -> None:
    servers = 'servers: ["mqtt://127.0.0.1"]'
    (publisher,) = load_text(HEAD.replace(servers, f"{servers}, {text}" if text else servers) + DEVICES).publishers
    assert publisher.replay == expected
