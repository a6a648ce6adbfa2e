"""Devices that share a line must set it up alike: what differs is refused, with both places."""

from pathlib import Path

import pytest

from edge_agent.config.options import AgentOptions
from edge_agent.errors import ConfigError
from edge_agent.registry import Registry
from tests.cases.config.kit import HEAD, PATH, load_text

POINTS = "points: [{name: p, coil: 0}]"


def load(*devices: str) -> AgentOptions:
    """Load devices that stand in lines 5, 6 …, from column 5 on."""
    lines = (f"  - {{id: d{n}, driver: modbus, {keys}, {POINTS}}}\n" for n, keys in enumerate(devices, 1))
    return load_text(f"{HEAD}devices:\n{''.join(lines)}", registry=Registry())


def problems(*devices: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*devices)
    return [str(problem).removeprefix(f"{PATH}:") for problem in caught.value.problems]


def test_both_places_are_told() -> None:
    first, second = "serial: {port: /dev/tty9, baud_rate: 9600}", "serial: {port: /dev/tty9}, unit: 2"
    (problem,) = problems(first, second)
    assert problem == (
        f"6:38: devices[1].serial.baud_rate: 19200 here, but 9600 for d1 ({PATH}:5:67); "
        "devices that share /dev/tty9 need the same serial.baud_rate:"
    )


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("serial: {port: /dev/t}", "serial: {port: /dev/t, parity: none}", "parity: none here, but even for d1"),
        ("serial: {port: /dev/t}", "serial: {port: /dev/t, stop_bits: 2}", "stop_bits: 2 here, but 1 for d1"),
        ("serial: {port: /dev/t}", "serial: {port: /dev/t}, pause: 20ms", "pause: 20ms here, but 0ms for d1"),
        ("serial: {port: /dev/t}", "serial: {port: /dev/t}, timeout: 1s", "timeout: 1s here, but 3s for d1"),
        (
            "serial: {port: /dev/t}",
            "serial: {port: /dev/t, data_bits: 8}, transport: ascii",
            "ascii here, but rtu",
        ),
        ("host: gw, transport: udp", "host: gw", "transport: tcp here, but udp for d1"),
        ("host: gw", "host: GW, transport: rtu_over_tcp", "transport: rtu_over_tcp here, but tcp for d1"),
        ("host: gw", "host: gw, interface: eth1", "interface: eth1 here, but none for d1"),
        ("host: gw", "host: gw, source_address: 10.0.0.1", "source_address: 10.0.0.1 here, but none for d1"),
        ("host: gw", "hosts: [up, gw]", "hosts: up:502, gw:502 here, but gw:502 for d1"),
        ("host: '::1'", "host: '0:0::1', transport: rtu_over_tcp", "transport: rtu_over_tcp here, but tcp for d1"),
    ],
)
def test_what_must_not_differ(first: str, second: str, said: str) -> None:
    (problem,) = problems(first, second)
    assert said in problem


def test_certificates_must_not_differ(tmp_path: Path) -> None:
    for name in ("a.pem", "b.pem", "a.key"):
        (tmp_path / name).touch(0o600)
    tls = f"host: gw, tls: {{ca: {tmp_path}/a.pem, certificate: {tmp_path}/%s.pem, key: {tmp_path}/a.key}}"
    (problem,) = problems(tls % "a", tls % "b")
    assert f"devices[1].tls.certificate: {tmp_path}/b.pem here, but {tmp_path}/a.pem" in problem


def test_a_port_has_one_name(tmp_path: Path) -> None:
    (tmp_path / "by-id").symlink_to(tmp_path / "port")
    (problem,) = problems(f"serial: {{port: {tmp_path}/port}}", f"serial: {{port: {tmp_path}/by-id, parity: odd}}")
    assert f"share {tmp_path}/port need the same serial.parity:" in problem


def test_what_may_differ() -> None:
    load("host: gw", "host: gw, unit: 2, timeout: 9s, interval: 7s, max_registers: 20")
    load("host: gw", "host: gw, port: 503, transport: rtu_over_tcp")
    load("host: gw", "host: gw, transport: rtu_over_tcp, enabled: false")
    load("serial: {port: /dev/t}", "serial: {port: /dev/t}, unit: 2, interval: 7s")
    load("serial: {port: /dev/t}", "serial: {port: /dev/u, baud_rate: 9600}")
