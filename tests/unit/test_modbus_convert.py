"""What is more than a plain number: BCD, halves of registers, marks of the device, labels, texts, times."""

import struct
from typing import Any

import pytest

from edge_agent.model import Column, DataType, Quality
from edge_agent_modbus.decode import compile_decoder
from edge_agent_modbus.encode import encode
from edge_agent_modbus.point import ModbusPoint

UNCERTAIN_RANGE = Quality.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED


def column(payload: bytes, *points: dict[str, Any]) -> Column:
    """Decode a block that begins at address 0."""
    sources = [
        ModbusPoint.model_validate({"name": f"p{index}", **point}).source(index)
        for index, point in enumerate(points)
    ]
    (decoded,) = compile_decoder(sources, 0, len(payload) // 2)(payload)
    return decoded


def reading(payload: str | bytes, **point: Any) -> tuple[Any, int]:
    """Return value and status of one point at address 0."""
    body = bytes.fromhex(payload) if isinstance(payload, str) else payload
    got = column(body, {"holding": 0, **point})
    assert got.values is not None
    return got.values[0], got.statuses[0] if got.statuses else 0


@pytest.mark.parametrize(
    ("payload", "keys", "value"),
    [
        ("80ff", {"type": "int8"}, -1),
        ("80ff", {"type": "SINT", "byte": "high"}, -128),
        ("80ff", {"type": "USINT", "byte": "low"}, 255),
        ("80ff", {"type": "uint8", "byte": "high"}, 128),
        ("3c00", {"type": "float16"}, 1.0),
        ("00c0", {"type": "float16", "byte_order": "BADC"}, -2.0),
        ("1234", {"type": "bcd16"}, 1234),
        ("3412", {"type": "bcd16", "byte_order": "DCBA"}, 1234),
        ("99999999", {"type": "bcd32"}, 99_999_999),
        ("56781234", {"type": "bcd32", "byte_order": "CDAB"}, 12_345_678),
        ("9999999999999999", {"type": "bcd64"}, 9_999_999_999_999_999),
        ("1234", {"type": "bcd16", "scale": 0.01}, 12.34),
        ("0a5f", {"type": "uint16", "mask": 0x0F00}, 10),
        ("8000", {"type": "uint16", "mask": 0x8000}, 1),
        ("0a5f", {"type": "uint16", "mask": 0x00F0, "scale": 0.5}, 2.5),
    ],
)
def test_numbers(payload: str, keys: dict[str, Any], value: float) -> None:
    assert reading(payload, **keys) == (value, 0)


@pytest.mark.parametrize("payload", ["123a", "f000", "ffff"])
def test_a_digit_above_nine_is_no_number(payload: str) -> None:
    assert reading(payload, type="bcd16") == (0, Quality.BAD_DECODING_ERROR)
    assert reading(payload, type="bcd16", scale=0.1)[1] == Quality.BAD_DECODING_ERROR


@pytest.mark.parametrize(
    ("payload", "keys"),
    [
        ("8000", {"type": "int16", "invalid": [0x8000]}),
        ("8000", {"type": "int16", "invalid": [-32768]}),
        ("ffff", {"type": "uint16", "invalid": [0x7FFF, 0xFFFF], "scale": 0.1}),
        ("7fff", {"type": "uint16", "invalid": [0x7FFF, 0xFFFF], "mask": 0xFF}),
        ("80000000", {"type": "int32", "invalid": [0x80000000]}),
        ("c61c3c00", {"type": "float32", "invalid": [-9999.0]}),
        ("00ff", {"type": "int8", "invalid": [0xFF]}),
        ("ffff", {"type": "uint16", "invalid": [0xFFFF], "labels": {0: "stop"}}),
    ],
)
def test_a_number_that_stands_for_no_value_is_bad(payload: str, keys: dict[str, Any]) -> None:
    assert reading(payload, **keys)[1] == Quality.BAD_OUT_OF_SERVICE
    assert reading("00" * (len(payload) // 2), **keys)[1] == 0


def test_a_value_that_is_not_plausible_is_kept_and_uncertain() -> None:
    keys: dict[str, Any] = {"type": "int16", "scale": 0.1, "valid": [-40, 125.5]}
    assert reading("04e7", **keys) == (125.5, 0)
    assert reading("04e8", **keys) == (125.6, UNCERTAIN_RANGE)
    assert reading("fe70", **keys) == (-40, 0)
    assert reading("fe6f", **keys) == (-40.1, UNCERTAIN_RANGE)
    assert reading("7fc00000", type="float32", valid=[0, 1])[1] == Quality.BAD_OUT_OF_RANGE


def test_labels() -> None:
    labels = {0: "停止", 1: "run", 0x8000: "fault"}
    assert reading("0001", type="uint16", labels=labels) == ("run", 0)
    assert reading("0000", type="uint16", labels=labels) == ("停止", 0)
    assert reading("8000", type="int16", labels=labels) == ("fault", 0)
    assert reading("0007", type="uint16", labels=labels) == ("7", Quality.UNCERTAIN)
    assert reading("0100", type="uint16", labels=labels, mask=0xFF00) == ("run", 0)
    assert reading("0008", bit=3, labels={0: "shut", 1: "open"}) == ("open", 0)
    assert reading("0007", bit=3, labels={0: "shut", 1: "open"}) == ("shut", 0)
    assert reading("0007", bit=3, labels={1: "open"}) == ("0", Quality.UNCERTAIN)


def test_labels_of_coils() -> None:
    points: list[dict[str, Any]] = [
        {"coil": 0},
        {"coil": 1, "labels": {0: "shut", 1: "open"}},
        {"coil": 2, "labels": {1: "x", 0: "y"}},
    ]
    sources = [ModbusPoint.model_validate({"name": f"p{i}", **p}).source(i) for i, p in enumerate(points)]
    flags, texts = compile_decoder(sources, 0, 3)(b"\x03")
    assert (flags.data_type, list(flags.values or ())) == (DataType.BOOL, [1])
    assert (texts.data_type, list(texts.values or ())) == (DataType.STRING, ["open", "y"])


def test_names_of_bits() -> None:
    bits = {0: "ready", 3: "door open", 15: "fault"}
    assert reading("0009", type="uint16", bits=bits) == ("ready|door open", 0)
    assert reading("8000", type="int16", bits=bits) == ("fault", 0)
    assert reading("0000", type="uint16", bits=bits) == ("", 0)
    assert reading("0005", type="uint16", bits=bits) == ("ready|bit 2", Quality.UNCERTAIN)


@pytest.mark.parametrize(
    ("order", "payload"),
    [("ABCD", "41424344"), ("CDAB", "43444142"), ("BADC", "42414443"), ("DCBA", "44434241")],
)
def test_texts_in_the_four_byte_orders(order: str, payload: str) -> None:
    assert reading(payload, type="string", length=4, byte_order=order) == ("ABCD", 0)
    assert reading(payload, type="bytes", length=4, byte_order=order) == (b"ABCD", 0)
    assert reading(payload, type="string", length=3, byte_order=order) == ("ABC", 0)


@pytest.mark.parametrize(
    ("encoding", "body", "reading_"),
    [
        ("gbk", "机床一号".encode("gbk"), ("机床一号", 0)),
        ("utf-8", "机床一号".encode("gbk"), ("", Quality.BAD_DECODING_ERROR)),
        ("ascii", b"\xb0C", ("", Quality.BAD_DECODING_ERROR)),
        ("latin-1", b"\xb0C", ("°C", 0)),
        ("gbk", b"\x81\0", ("", Quality.BAD_DECODING_ERROR)),
        ("ascii", b"AB\0\xff", ("AB", 0)),
    ],
)
def test_encodings_and_the_end_of_a_text(encoding: str, body: bytes, reading_: tuple[str, int]) -> None:
    assert reading(body, type="string", length=len(body), encoding=encoding) == reading_


@pytest.mark.parametrize(
    ("payload", "keys", "text"),
    [
        ("00000000", {"type": "unix_seconds"}, "1970-01-01T00:00:00Z"),
        ("ffffffff", {"type": "unix_seconds"}, "2106-02-07T06:28:15Z"),
        ("02d24996", {"type": "unix_seconds", "byte_order": "CDAB"}, "2009-02-13T23:31:30Z"),
        ("00000000499602d2", {"type": "unix_seconds64"}, "2009-02-13T23:31:30Z"),
        ("ffffffffffffffff", {"type": "unix_seconds64"}, "1969-12-31T23:59:59Z"),
        ("0000011f71fb04cb", {"type": "unix_milliseconds"}, "2009-02-13T23:31:30.123Z"),
        ("261123080506", {"type": "time_bcd"}, "2026-11-23T08:05:06Z"),
        ("261123080506", {"type": "time_bcd", "time_zone": "Asia/Shanghai"}, "2026-11-23T00:05:06Z"),
        ("050623082611", {"type": "time_bcd", "byte_order": "CDAB"}, "2026-11-23T08:05:06Z"),
        ("1a0b17080506", {"type": "time_bytes"}, "2026-11-23T08:05:06Z"),
        ("07ea000b0017000800050006", {"type": "time_registers"}, "2026-11-23T08:05:06Z"),
        ("001a000b0017000800050006", {"type": "time_registers"}, "2026-11-23T08:05:06Z"),
        ("001a0b170805176f", {"type": "time_iec870"}, "2026-11-23T08:05:05.999Z"),
        ("001a0b378805176f", {"type": "time_iec870"}, "2026-11-23T08:05:05.999Z"),  # weekday and summer time
        ("9912130706058880", {"type": "s7_date_and_time"}, "1999-12-13T07:06:05.888Z"),
        ("2611230805069992", {"type": "s7_date_and_time"}, "2026-11-23T08:05:06.999Z"),
        ("07ea0b17020805063b9ac9ff", {"type": "s7_dtl"}, "2026-11-23T08:05:06.999999999Z"),
    ],
)
def test_times_are_texts_in_utc(payload: str, keys: dict[str, Any], text: str) -> None:
    assert reading(payload, **keys) == (text, 0)


@pytest.mark.parametrize(
    ("kind", "text", "registers"),
    [
        ("s7_date_and_time", "2026-11-22T08:05:06.999Z", "2611220805069991"),  # Sunday is 1
        ("s7_date_and_time", "1999-12-18T07:06:05.888Z", "9912180706058887"),  # Saturday is 7
        ("s7_dtl", "2026-11-23T08:05:06.999999999Z", "07ea0b17020805063b9ac9ff"),
        ("time_iec870", "2026-11-23T08:05:05.999Z", "001a0b170805176f"),
        ("time_registers", "2026-11-23T08:05:06Z", "07ea000b0017000800050006"),
    ],
)
def test_times_are_written_as_the_device_writes_them(kind: str, text: str, registers: str) -> None:
    source = ModbusPoint.model_validate({"name": "p", "holding": 0, "type": kind}).source(0)
    assert encode(source, text).hex() == registers


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ("7fffffffffffffff", "unix_seconds64"),
        ("8000000000000000", "unix_milliseconds"),
        ("000000000000", "time_bcd"),
        ("26112a080506", "time_bcd"),
        ("261123240000", "time_bcd"),
        ("1a0b1f080506", "time_bytes"),
        ("640b17080506", "time_bytes"),
        ("0064000b0017000800050006", "time_registers"),
        ("00640b170805176f", "time_iec870"),
        ("ffffffffffffffffffffffff", "time_registers"),
        ("0000000000000000", "time_iec870"),
        ("001a0b170805ffff", "time_iec870"),
        ("99121307060588f0", "s7_date_and_time"),
        ("07ea0b17020805063b9aca00", "s7_dtl"),
    ],
)
def test_what_is_no_time_is_bad(payload: str, kind: str) -> None:
    assert reading(payload, type=kind) == ("", Quality.BAD_DECODING_ERROR)


def test_a_time_that_its_device_or_its_zone_leaves_in_doubt_is_uncertain() -> None:
    berlin: dict[str, Any] = {"type": "time_bcd", "time_zone": "Europe/Berlin"}
    assert reading("261025023000", **berlin) == ("2026-10-25T00:30:00Z", Quality.UNCERTAIN)  # twice
    assert reading("260329023000", **berlin)[1] == Quality.UNCERTAIN  # never
    assert reading("260329033000", **berlin) == ("2026-03-29T01:30:00Z", 0)
    assert reading("001a0b170885176f", type="time_iec870") == ("2026-11-23T08:05:05.999Z", Quality.UNCERTAIN)


def test_a_special_point_changes_nothing_for_its_neighbours() -> None:
    points: list[dict[str, Any]] = [
        {"holding": 0, "type": "float64"},
        {"holding": 4, "type": "bcd16", "scale": 0.1},
        {"holding": 5, "type": "int16", "scale": 0.1},
        {"holding": 6, "type": "float64"},
        {"holding": 10, "type": "int16", "scale": 2.0, "valid": [0, 5]},
    ]
    payload = struct.pack(">dHhdh", 2.5, 0x123A, 3, float("nan"), 3)
    got = column(payload, *points)
    assert list(got.statuses or ()) == [
        0,
        Quality.BAD_DECODING_ERROR,
        0,
        Quality.BAD_OUT_OF_RANGE,
        UNCERTAIN_RANGE,
    ]
    assert got.values is not None
    assert (got.values[0], got.values[2], got.values[4]) == (2.5, 0.3, 6.0)
    assert column(struct.pack(">dHhdh", 2.5, 0x1230, 3, 1.0, 2), *points).statuses is None
