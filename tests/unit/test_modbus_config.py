"""What an integrator may write of a Modbus device, and what is refused with which words."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from edge_agent.testing.fakes import FakeContext
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.cost import ROUND_TRIP_NS
from edge_agent_modbus.decode import ByteOrder, ValueType
from edge_agent_modbus.pdu import Table
from edge_agent_modbus.point import ModbusPoint
from edge_agent_modbus.session import ModbusUnit


def point(**keys: Any) -> ModbusPoint:
    return ModbusPoint.model_validate({"name": "p", **keys})


def refusal(**keys: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        point(**keys)
    return str(caught.value)


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"register": 40001}, (Table.HOLDING, 0)),
        ({"register": 400001}, (Table.HOLDING, 0)),
        ({"register": 49999}, (Table.HOLDING, 9998)),
        ({"register": 465536}, (Table.HOLDING, 65535)),
        ({"register": 30001}, (Table.INPUT, 0)),
        ({"register": 300101}, (Table.INPUT, 100)),
        ({"holding": 0}, (Table.HOLDING, 0)),
        ({"holding": 0x100}, (Table.HOLDING, 256)),
        ({"input": 65535}, (Table.INPUT, 65535)),
    ],
)
def test_register_numbers_count_from_one_and_addresses_from_zero(
    keys: dict[str, int], place: tuple[Table, int]
) -> None:
    assert point(type="uint16", **keys).place == place


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"register": "00001"}, (Table.COIL, 0)),
        ({"register": "000017"}, (Table.COIL, 16)),
        ({"register": 10001}, (Table.DISCRETE, 0)),
        ({"register": 165536}, (Table.DISCRETE, 65535)),
        ({"coil": 17}, (Table.COIL, 17)),
        ({"discrete": 3}, (Table.DISCRETE, 3)),
    ],
)
def test_bits_need_no_type(keys: dict[str, Any], place: tuple[Table, int]) -> None:
    assert point(**keys).place == place
    assert point(**keys).source(7).value_type is ValueType.BOOL


@pytest.mark.parametrize("number", [1, 15, 4001, 20001, 50001, 40000, 465537, 4000001, "4000a", "", "٤0001"])
def test_what_is_no_data_model_number_is_refused(number: int | str) -> None:
    message = refusal(register=number, type="uint16")
    assert "is not a data-model number" in message or "outside of its table" in message


def test_a_coil_number_that_lost_its_zeros_says_how_to_keep_them() -> None:
    assert 'a coil number needs quotes: "00015"' in refusal(register=15)


@pytest.mark.parametrize("keys", [{}, {"register": 40001, "holding": 0}, {"coil": 1, "discrete": 1}])
def test_exactly_one_address(keys: dict[str, Any]) -> None:
    assert "write exactly one of register, holding, input, coil or discrete" in refusal(**keys)


@pytest.mark.parametrize(
    ("word", "value_type"),
    [
        ("float32", ValueType.FLOAT32),
        ("REAL", ValueType.FLOAT32),
        ("Real", ValueType.FLOAT32),
        ("LREAL", ValueType.FLOAT64),
        ("INT", ValueType.INT16),
        ("UINT", ValueType.UINT16),
        ("WORD", ValueType.UINT16),
        ("DINT", ValueType.INT32),
        ("DWORD", ValueType.UINT32),
        ("LINT", ValueType.INT64),
        ("ULINT", ValueType.UINT64),
        ("uint64", ValueType.UINT64),
    ],
)
def test_types_by_our_name_and_by_iec_name(word: str, value_type: ValueType) -> None:
    assert point(holding=0, type=word).type is value_type


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"holding": 0}, "write type:, such as uint16"),
        ({"holding": 0, "type": "flaot32"}, "unknown type 'flaot32'; did you mean 'float32'?"),
        ({"holding": 0, "type": "decimal"}, "unknown type 'decimal'; known are bool, int8"),
        ({"holding": 0, "type": "bool"}, "write bit: 0"),
        ({"holding": 0, "type": "uint16", "bit": 3}, "leave type out, or leave bit out"),
        ({"holding": 0, "bit": 16}, "less than or equal to 15"),
        ({"holding": 0, "bit": 1, "scale": 2.0}, "scale: has no meaning for a bit"),
        ({"holding": 0, "type": "string"}, "needs length: in bytes"),
        ({"holding": 0, "type": "string", "length": 251}, "less than or equal to 250"),
        (
            {"holding": 0, "type": "uint16", "encoding": "gbk"},
            "encoding: has no meaning for a number of",
        ),
        (
            {"holding": 0, "type": "string", "length": 4, "encoding": "utf-7"},
            "'utf-8', 'ascii', 'latin-1'",
        ),
        ({"holding": 0, "type": "bytes", "length": 4, "encoding": "gbk"}, "encoding: has no meaning for bytes"),
        (
            {"holding": 0, "type": "int8", "byte_order": "BADC"},
            "byte_order: has no meaning for a number",
        ),
        ({"holding": 0, "type": "int16", "byte": "high"}, "byte: has no meaning for a number of type int16"),
        ({"holding": 0, "type": "int8", "byte": "upper"}, "'high' or 'low'"),
        ({"holding": 0, "type": "int16", "mask": 3}, "mask: has no meaning for a number of type int16"),
        ({"holding": 0, "type": "uint16", "mask": 0x10000}, "more than the 16 bits of uint16"),
        ({"holding": 0, "type": "uint16", "invalid": [0x10000]}, "65536 is no uint16"),
        ({"holding": 0, "type": "int16", "invalid": [-0.5]}, "-0.5 is no int16"),
        ({"holding": 0, "type": "float32", "invalid": [1e39]}, "no finite float32"),
        ({"holding": 0, "type": "float32", "invalid": [float("nan")]}, "NaN and infinities are Bad anyway"),
        ({"holding": 0, "type": "int16", "valid": [3, 3]}, "the least comes first"),
        ({"holding": 0, "type": "int16", "valid": [3]}, "at least 2"),
        (
            {"holding": 0, "type": "float32", "labels": {1: "run"}},
            "labels: has no meaning for a number of",
        ),
        ({"holding": 0, "type": "uint16", "labels": {1: "run"}, "scale": 2.0}, "scale: has no meaning for a text"),
        (
            {"holding": 0, "type": "uint16", "labels": {1: "run"}, "bits": {1: "a"}},
            "bits: has no meaning",
        ),
        ({"holding": 0, "type": "uint16", "labels": {65536: "run"}}, "labels: 65536 never comes"),
        ({"coil": 0, "labels": {2: "run"}}, "labels: 2 never comes: the numbers are 0 to 1"),
        ({"holding": 0, "type": "uint16", "labels": {1: ""}}, "at least 1 character"),
        ({"holding": 0, "type": "uint16", "bits": {16: "a"}}, "uint16 has the bits 0 to 15"),
        ({"holding": 0, "type": "uint16", "bits": {1: "a|b"}}, "should match pattern"),
        ({"holding": 0, "type": "time_bcd", "time_zone": "Mars/Base"}, "'Mars/Base' is not a time zone"),
        ({"holding": 0, "type": "time_bcd", "time_zone": "../etc/passwd"}, "is not a time zone"),
        (
            {"holding": 0, "type": "unix_seconds", "time_zone": "Asia/Shanghai"},
            "time_zone: has no meaning",
        ),
        ({"holding": 0, "type": "s7_dtl", "length": 12}, "length: has no meaning for a time of type s7_dtl"),
        ({"holding": 0, "type": "string", "length": 4, "scale": 2.0}, "scale: has no meaning for string"),
        ({"holding": 0, "type": "int16", "length": 4}, "length: has no meaning"),
        ({"holding": 0, "type": "int16", "scale": 0}, "would make every value the same"),
        ({"holding": 0, "type": "int16", "scale": float("inf")}, "finite number"),
        ({"holding": 0, "type": "int16", "byte_order": "ABDC"}, "'ABCD', 'CDAB', 'BADC' or 'DCBA'"),
        ({"holding": 65535, "type": "int32"}, "reaches beyond address 65535"),
        ({"holding": 65536, "type": "int16"}, "less than 65536"),
        ({"holding": -1, "type": "int16"}, "greater than or equal to 0"),
        ({"holding": "40001", "type": "int16"}, "valid integer"),
        ({"coil": 0, "type": "int16"}, "a coil holds one bit: leave type out"),
        ({"coil": 0, "bit": 1}, "bit: has no meaning for a coil"),
        ({"discrete": 0, "byte_order": "CDAB"}, "byte_order: has no meaning for a discrete"),
        ({"adress": 0, "type": "int16"}, "Extra inputs are not permitted"),
    ],
)
def test_what_makes_no_sense_is_refused_and_says_what_to_write(keys: dict[str, Any], message: str) -> None:
    assert message in refusal(**keys)


def test_a_point_as_the_planner_sees_it() -> None:
    source = point(register=30011, type="DINT", byte_order="CDAB", scale=0.1, offset=5).source(4)
    assert (source.index, source.table, source.address, source.size) == (4, Table.INPUT, 10, 2)
    assert (source.byte_order, source.scale, source.offset) == (ByteOrder.CDAB, 0.1, 5.0)
    assert point(holding=1, type="bytes", length=5).source(0).size == 3


def device(**keys: Any) -> ModbusDevice:
    points = keys.pop("points", [{"name": "p", "holding": 0, "type": "int16"}])
    written = {"id": "d", "driver": "modbus", "host": "h", "points": points, **keys}
    return ModbusDevice.model_validate({key: value for key, value in written.items() if value is not None})


def test_the_defaults_of_a_device() -> None:
    assert (device().route.port, device().unit, device().max_registers, device().max_coils) == (502, 1, 125, 2000)


@pytest.mark.parametrize("host", ["", "10.0.0.1:502/x", "10.0.0.1:502", "plc:502", "tcp://plc", "[::1]", "a b"])
def test_a_host_is_a_host_alone(host: str) -> None:
    with pytest.raises(ValidationError, match="write the name or address alone"):
        device(host=host)


TLS = {"ca": "a.pem", "certificate": "b.pem", "key": "c.key"}
SERIAL = {"port": "/dev/ttyUSB0"}


@pytest.mark.parametrize(
    ("wire", "kind", "port"),
    [
        ({"host": "h"}, "tcp", 502),
        ({"host": "h", "tls": TLS}, "tls", 802),
        ({"host": "h", "tls": TLS, "transport": "tls", "port": 8802}, "tls", 8802),
        ({"hosts": ["a", "b"], "transport": "rtu_over_tcp"}, "rtu_over_tcp", 502),
        ({"serial": SERIAL}, "rtu", 502),
        ({"serial": SERIAL | {"data_bits": 7}, "transport": "ascii"}, "ascii", 502),
        ({"host": "h", "transport": "ascii_over_tcp", "pause": "1ms"}, "ascii_over_tcp", 502),
        ({"host": "h", "transport": "udp"}, "udp", 502),
    ],
)
def test_the_transport_follows_from_what_is_written(wire: dict[str, Any], kind: str, port: int) -> None:
    config = device(**({"host": None} | wire))
    assert (config.kind, config.route.port) == (kind, port)


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        ({"host": None}, "write one of host:, hosts: or serial:"),
        ({"hosts": ["i"]}, "write one of host:, hosts: or serial:"),
        ({"serial": SERIAL}, "write one of host:, hosts: or serial:"),
        ({"host": None, "hosts": ["i", "I"]}, "hosts: has the same one twice"),
        ({"host": None, "hosts": ["i", "j:502"]}, "write the name or address alone"),
        ({"transport": "rtu"}, "transport: rtu needs serial:"),
        ({"host": None, "serial": SERIAL, "transport": "rtu_over_tcp"}, "transport: rtu_over_tcp needs host:"),
        ({"host": None, "serial": SERIAL | {"data_bits": 7}}, "transport: rtu has data_bits: 8"),
        ({"host": None, "serial": SERIAL, "transport": "ascii"}, "transport: ascii: write data_bits: of serial:"),
        ({"host": None, "serial": SERIAL, "transport": "udp"}, "transport: udp needs host:"),
        ({"transport": "udp", "pause": "1ms"}, "pause: has no meaning for transport: udp"),
        ({"transport": "tls"}, "transport: tls needs tls:, with the certificates"),
        ({"transport": "tcp", "tls": TLS}, "transport: tcp has no use for tls:"),
        ({"host": None, "serial": SERIAL, "tls": TLS}, "transport: rtu has no use for tls:"),
        ({"tls": TLS | {"key": None}}, "tls.key"),
        ({"host": None, "serial": SERIAL, "port": 502}, "the serial port goes into serial:"),
        ({"pause": "1ms"}, "pause: has no meaning for transport: tcp; leave it out"),
        ({"tls": TLS, "pause": "1ms"}, "pause: has no meaning for transport: tls"),
        ({"insecure_server_name": True}, "insecure_server_name: has no meaning for transport: tcp"),
        (
            {"transport": "rtu_over_tcp", "max_in_flight": 2},
            "max_in_flight: has no meaning for transport: rtu_over",
        ),
        ({"source_address": "eth1"}, "'eth1' does not appear to be an IPv4 or IPv6 address"),
        ({"interface": "a name too long for one"}, "interface"),
        (
            {"host": None, "serial": SERIAL, "line_baud_rate": 9600},
            "line_baud_rate: has no meaning for transport: rtu",
        ),
        ({"host": None, "serial": SERIAL, "interface": "eth1"}, "interface: has no meaning for transport: rtu"),
    ],
)
def test_a_wire_that_cannot_be_is_refused(wire: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        device(**wire)


@pytest.mark.parametrize(
    "keys", [{"unit": 256}, {"unit": -1}, {"port": 0}, {"max_registers": 126}, {"max_coils": 2001}]
)
def test_limits_of_the_protocol_hold(keys: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        device(**keys)


def test_a_point_larger_than_the_device_gives_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="point p has 4 registers, which is more than max_registers: 3"):
        device(max_registers=3, points=[{"name": "p", "holding": 0, "type": "LREAL"}])


def test_the_schema_takes_the_words_for_types_that_the_driver_takes() -> None:
    written = ModbusPoint.model_json_schema()["properties"]["type"]
    validator = Draft202012Validator(written)
    words, pattern = written["anyOf"]
    assert {"int16", "REAL", "s7_dtl"} <= set(words["enum"])
    for word in [*words["enum"], "Real", "INT16", "dWord", "Unix_Seconds64"]:
        assert validator.is_valid(word)
        more = {"bool": {"bit": 1}, "string": {"length": 4}, "bytes": {"length": 4}}.get(word, {})
        assert point(holding=0, type=word, **more).type is not None
    for word in ("decimal", "int", "REAL ", "reall"):
        assert validator.is_valid(word) is (word == "int")
    assert "(?" not in pattern["pattern"], "not valid in ECMAScript"


def test_quirks_lower_the_limits_and_tell_which_tables_there_are() -> None:
    assert device(quirks="eastron-sdm", points=[{"name": "p", "input": 0, "type": "REAL"}]).limits.registers == 50
    assert device(quirks="one-register", max_coils=1).limits.coils == 1
    with pytest.raises(
        ValidationError, match="max_registers: 60 is more than quirks: eastron-sdm takes, which is 50"
    ):
        device(quirks="eastron-sdm", max_registers=60)
    with pytest.raises(
        ValidationError, match="that a device of quirks: pilot-spm93 does not have: input; it has coil"
    ):
        device(quirks="pilot-spm93", points=[{"name": "p", "input": 0, "type": "REAL"}])
    with pytest.raises(ValidationError, match="unknown quirks 'eastron'; did you mean 'eastron-sdm'"):
        device(quirks="eastron")


@pytest.mark.parametrize(
    ("wire", "sent_bytes", "received_bytes", "baud_rate"),
    [
        ({}, 12, 13, 0),
        ({"line_baud_rate": 9600}, 12, 13, 9600),
        ({"transport": "rtu_over_tcp"}, 8, 9, 0),
        ({"transport": "rtu_over_tcp", "line_baud_rate": 9600}, 8, 9, 9600),
        ({"transport": "ascii_over_tcp"}, 17, 19, 0),
        ({"transport": "ascii_over_tcp", "line_baud_rate": 9600}, 17, 19, 9600),
        ({"host": None, "serial": SERIAL | {"baud_rate": 9600}}, 8, 9, 9600),
    ],
)
def test_what_a_read_of_two_registers_takes_of_the_wire(
    wire: dict[str, Any], sent_bytes: int, received_bytes: int, baud_rate: int
) -> None:
    speed = device(**wire).speed()
    assert (speed.sent_bytes, speed.received_bytes(Table.HOLDING, 2)) == (sent_bytes, received_bytes)
    assert speed.baud_rate == baud_rate


def test_a_gateway_adds_its_round_trip_to_the_time_of_the_line_behind_it() -> None:
    serial = device(host=None, serial={"port": "/dev/t", "baud_rate": 9600}).speed()
    for wire in ({}, {"transport": "rtu_over_tcp"}):
        behind = device(line_baud_rate=9600, **wire).speed()
        assert behind.exchange_ns(Table.HOLDING, 9) == serial.exchange_ns(Table.HOLDING, 9) + ROUND_TRIP_NS
        assert device(line_baud_rate=9600).speed(19200).baud_rate == 19200


def test_the_line_behind_a_gateway_decides_which_gaps_are_read() -> None:
    points = [{"name": "a", "holding": 0, "type": "uint16"}, {"name": "b", "holding": 60, "type": "uint16"}]

    def requests(**wire: Any) -> int:
        made = ModbusUnit(FakeContext(), device(points=points, **wire))
        return len(made.plan(made.polled, frozenset()))

    assert (requests(), requests(line_baud_rate=9600), requests(line_baud_rate=115_200)) == (1, 2, 1)


def test_requests_at_once_share_a_round_trip_but_not_a_serial_line() -> None:
    def duration_s(**wire: Any) -> float:
        made = ModbusUnit(FakeContext(), device(**wire))
        return made.estimate(made.plan(made.polled, frozenset())[0]).duration_s

    assert duration_s(max_in_flight=4) == pytest.approx(duration_s() / 4)
    assert duration_s(max_in_flight=4, line_baud_rate=9600) == duration_s(line_baud_rate=9600)
