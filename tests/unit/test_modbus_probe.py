"""What a probe is asked for, in which order it goes about it, and how it ranks what fits."""

import random

import pytest

from edge_agent.errors import ProbeError
from edge_agent_modbus.identification import Identification
from edge_agent_modbus.pdu import Table
from edge_agent_modbus.probe.findings import Findings, UnitFindings, numbers, report
from edge_agent_modbus.probe.known import Tolerance, parse_known, parse_tolerance
from edge_agent_modbus.probe.layout import layouts, point
from edge_agent_modbus.probe.match import Placing, fits, windows
from edge_agent_modbus.probe.order import SerialSetting, parse_order, serial_steps
from edge_agent_modbus.probe.way import ReadingOnly
from edge_agent_modbus.rtu import crc
from edge_agent_modbus.source import ByteOrder, ValueType


@pytest.mark.parametrize(
    ("target", "host", "port"),
    [
        ("10.0.0.5", "10.0.0.5", 502),
        ("meter.local:1502", "meter.local", 1502),
        ("fe80::1", "fe80::1", 502),
        ("[fe80::1]", "fe80::1", 502),
        ("[fe80::1]:1502", "fe80::1", 1502),
    ],
)
def test_a_target_is_a_host_and_a_port(target: str, host: str, port: int) -> None:
    order = parse_order(target, {})
    assert (order.host, order.port, order.serial_port, order.settings) == (host, port, "", ())


def test_units_are_numbers_and_spans() -> None:
    assert parse_order("h", {"units": ["1..3,20, 7-8"]}).units == (1, 2, 3, 20, 7, 8)
    assert parse_order("h", {}).units[:3] == (1, 2, 3)
    assert 0 not in parse_order("/dev/ttyS0", {}).units  # it is for all, and nobody answers


@pytest.mark.parametrize(
    ("target", "settings", "message"),
    [
        ("a b", {}, "is not a host"),
        ("a:b", {}, "is no target"),
        ("h:99999", {}, "less than or equal to 65535"),
        ("h", {"units": ["0..300"]}, r"numbers from 0 to 255, such as 1\.\.10,20"),
        ("/dev/ttyS0", {"units": ["0"]}, "numbers from 1 to 247"),
        ("h", {"units": ["5..1"]}, "--units 5..1"),
        ("h", {"addresses": ["9..1"]}, "such as 0..999"),
        ("h", {"addresses": ["0..65536"]}, "such as 0..999"),
        ("h", {"timeout": ["3"]}, "has no unit"),
        ("h", {"timeout": ["0s"]}, "at most 30s"),
        ("h", {"baud-rates": ["9600"]}, "is for a serial port"),
        ("/dev/ttyS0", {"parities": ["mark"]}, "none, even or odd"),
        ("/dev/ttyS0", {"transport": ["tcp-ish"]}, "a serial port is probed in RTU"),
        ("h", {"ranges": ["deep"]}, "none, usual or thorough"),
        ("h", {"colour": ["red"]}, "--colour has no meaning for modbus"),
        ("h", {"tolerance": ["much"]}, "a share, such as 2%"),
        ("h", {"know": ["40010=230"]}, "write register:40010=230.5"),
        ("h", {"know": ["register:50010=230"]}, "not a data-model number"),
        ("h", {"know": ["holding:70000=230"]}, "0 to 65535"),
        ("h", {"know": ["holding:7="]}, "the value is missing"),
        ("h", {"know": ["holding:7=230,5"]}, "the decimal point as a point"),
        ("h", {"know": ["holding:7=1e400"]}, "larger than any"),
        ("h", {"know": ["holding:7=-9e308"]}, "larger than any"),
        ("h", {"know": ["holding:7=" + 400 * "9"]}, "larger than any"),
    ],
)
def test_what_cannot_be_done_is_told_with_a_way_out(
    target: str, settings: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(ProbeError, match=message):
        parse_order(target, settings)


def test_common_settings_come_first_and_few_units_at_each() -> None:
    order = parse_order("/dev/ttyS0", {})
    steps = list(serial_steps(order))
    assert steps[0] == (SerialSetting(9600, "none"), (1, 2, 3))
    first = [setting for setting, _ in steps[:6]]
    assert {SerialSetting(9600, "even"), SerialSetting(19200, "none"), SerialSetting(19200, "even")} <= set(first)
    asked = {(setting, unit) for setting, units in steps for unit in units}
    assert len(asked) == sum(len(units) for _, units in steps) == 8 * 3 * 16  # each once


def test_settings_that_were_chosen_are_kept_in_their_order() -> None:
    order = parse_order("/dev/ttyS0", {"baud-rates": ["19200,9600"], "parities": ["even"]})
    assert order.settings == (SerialSetting(19200, "even"), SerialSetting(9600, "even"))


def test_a_slow_line_is_waited_for_longer() -> None:
    order = parse_order("/dev/ttyS0", {})
    assert order.wait_s(SerialSetting(1200, "none")) > 2.4
    assert order.wait_s(SerialSetting(1200, "none"), 7) < 0.5
    assert order.wait_s(SerialSetting(9600, "none")) < 0.7


def test_known_values_are_read_as_written() -> None:
    known = parse_known("register:40010=230.5")
    assert (known.table, known.address, known.value, known.step) == (Table.HOLDING, 9, 230.5, 0.05)
    assert parse_known("register:400010=1").address == 9
    assert parse_known("register:00017=on").table is Table.COIL
    assert parse_known("input:0x1F=-7").address == 31
    assert parse_known("holding:1=18446744073709551615").value == 2**64 - 1
    assert parse_known("holding:1=1e-3").value == 0.001
    assert parse_known("holding:1=Typ 3").value == "Typ 3"
    assert parse_known("holding:1=2026-11-28T20:00").time is not None
    assert parse_tolerance("2 %") == Tolerance(0.02, 0.0)
    assert parse_tolerance("0.5") == Tolerance(0.0, 0.5)


# Registers as published meters send them, and what a person would say of them.
MANUALS = [
    # 230.5 as IEEE 754 at 30001, the standard's order
    ("register:30001=230.5", {(Table.INPUT, 0): 0x4366, (Table.INPUT, 1): 0x8000}, "float32", "ABCD", 1.0, 0),
    # the same with its registers reversed
    ("register:30001=230.5", {(Table.INPUT, 0): 0x8000, (Table.INPUT, 1): 0x4366}, "float32", "CDAB", 1.0, 0),
    # in tenths of a volt; the manual counts from 0
    ("register:40010=230.5", {(Table.HOLDING, 9): 4711, (Table.HOLDING, 10): 2305}, "int16", "ABCD", 0.1, 10),
    # a counter of 32 bits in tenths
    ("holding:4=123456.7", {(Table.HOLDING, 4): 0x0012, (Table.HOLDING, 5): 0xD687}, "uint32", "ABCD", 0.1, 4),
    # below zero, in hundredths
    ("holding:4=-12.34", {(Table.HOLDING, 4): 0xFB2E}, "int16", "ABCD", 0.01, 4),
    # the manual says holding, the device has it among its input registers
    ("holding:4=50.02", {(Table.INPUT, 4): 5002, (Table.HOLDING, 4): 7}, "int16", "ABCD", 0.01, 4),
    # watts in the device, kilowatts on its display
    ("holding:4=12.5", {(Table.HOLDING, 4): 0x4643, (Table.HOLDING, 5): 0x5000}, "float32", "ABCD", 0.001, 4),
    # four decimal digits
    ("holding:4=1234", {(Table.HOLDING, 4): 0x1234}, "bcd16", "ABCD", 1.0, 4),
    # the number of the manual is the address on the wire
    ("register:40010=2305", {(Table.HOLDING, 40010): 2305, (Table.HOLDING, 9): 1}, "int16", "ABCD", 1.0, 40010),
    # the address that was given is a number of the data model
    ("holding:40010=2305", {(Table.HOLDING, 9): 2305}, "int16", "ABCD", 1.0, 9),
]


@pytest.mark.parametrize(("written", "words", "kind", "order", "scale", "address"), MANUALS)
def test_the_most_likely_way_comes_first(
    written: str, words: dict[tuple[Table, int], int], kind: str, order: str, scale: float, address: int
) -> None:
    best = fits(parse_known(written), words, Tolerance())[0].source
    assert (best.value_type.word, best.byte_order.value, best.scale, best.address) == (kind, order, scale, address)


def test_several_values_tell_the_order_that_one_leaves_open() -> None:
    # The counter's low register alone reads as a plain uint16 at the address as written.
    words = {
        (Table.HOLDING, 0): 500,
        (Table.HOLDING, 1): 0,
        (Table.HOLDING, 2): 0x8000,
        (Table.HOLDING, 3): 0x4366,
    }
    known = [parse_known("holding:0=500"), parse_known("holding:2=230.5")]
    best = layouts([fits(one, words, Tolerance()) for one in known])[0]
    assert (best.order, best.placing, best.explained) == (ByteOrder.CDAB, Placing.AS_WRITTEN, 2)
    assert str(best) == "byte order CDAB (registers in reverse order), addresses as written"


def test_chance_is_seldom_taken_for_a_fit() -> None:
    """Registers and values that have nothing to do with each other."""
    chance = random.Random(1)
    ways, one, both = 0, 0, 0
    for _ in range(100):
        known = [parse_known(f"register:{number}={chance.uniform(1, 1000):.1f}") for number in (40010, 40020)]
        words = {
            (table, address): chance.randrange(0x10000)
            for table, spans in windows(known).items()
            for first, end in spans
            for address in range(first, end)
        }
        found = [fits(value, words, Tolerance()) for value in known]
        ways += len(found[0])
        one += any(layout.is_likely for layout in layouts(found[:1]))
        both += any(layout.is_likely and layout.explained == 2 for layout in layouts(found))
    assert 50 < ways < 200
    assert one <= 10
    assert both == 0


def test_a_value_that_no_way_gives_is_told() -> None:
    words = {(Table.HOLDING, 0): 500, (Table.HOLDING, 1): 1}
    order = parse_order("h", {"know": ["holding:0=500", "holding:1=99999"]})
    unit = UnitFindings(1, None, (Table.HOLDING, 0), (500,), Identification())
    unit.fits = tuple(fits(one, words, Tolerance()) for one in order.known)
    unit.layouts = layouts(unit.fits)
    told = report(Findings(order, {"host": "h"}, units=[unit]))
    assert not told.devices
    assert not told.is_success
    assert any("1 of 2 known values fit" in note for note in told.notes)
    assert any("nothing fits" in map(str, row) for table in told.tables for row in table.rows)


def test_a_point_is_written_as_the_known_value_was() -> None:
    words = {(Table.INPUT, 9999): 2305, (Table.COIL, 16): 1, (Table.HOLDING, 5): 0x0008}
    for written, keys in [
        ("register:310000=230.5", {"name": "input_9999", "register": 310000, "type": "int16", "scale": 0.1}),
        ("input:9999=230.5", {"name": "input_9999", "input": 9999, "type": "int16", "scale": 0.1}),
        ("register:00017=true", {"name": "coil_16", "register": "00017"}),
        ("holding:5=true", {"name": "holding_5", "holding": 5, "bit": 3}),
    ]:
        known = parse_known(written)
        assert point(known, fits(known, words, Tolerance())[0]) == keys


def test_numbers_of_the_data_model_have_six_digits_where_five_end() -> None:
    assert numbers(Table.HOLDING, 0, 99) == "40001–40100"
    assert numbers(Table.COIL, 0, 0) == "00001"
    assert numbers(Table.INPUT, 9000, 9999) == "309001–310000"


def test_types_of_a_half_register_are_told_apart() -> None:
    words = {(Table.HOLDING, 0): 0x1700}
    best = fits(parse_known("holding:0=23"), words, Tolerance())
    assert next(fit for fit in best if fit.source.value_type is ValueType.UINT8).source.high_byte


class Wire:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def exchange(self, unit: int, pdu: bytes) -> bytes:
        self.sent.append(pdu)
        return b""


async def test_nothing_but_reading_goes_through() -> None:
    wire = Wire()
    for function in range(256):
        for rest in (b"", b"\x00\x00\x00\x01", b"\x0e\x01\x00", b"\x0d\x01\x00"):
            pdu = bytes([function]) + rest
            is_read = function in {1, 2, 3, 4} and len(pdu) == len(b"\x03\x00\x00\x00\x01")
            if is_read or pdu == b"\x2b\x0e\x01\x00":
                await ReadingOnly(wire).exchange(1, pdu)
            else:
                with pytest.raises(ProbeError, match="a probe only reads"):
                    await ReadingOnly(wire).exchange(1, pdu)
    with pytest.raises(ProbeError):
        await ReadingOnly(wire).exchange(1, b"")
    assert {pdu[0] for pdu in wire.sent} == {1, 2, 3, 4, 0x2B}


async def test_no_write_goes_through_behind_a_request_that_reads() -> None:
    wire = Wire()
    write = bytes.fromhex("0006 0000 1234")  # unit, function 6, address, value
    read = bytes([1]) + b"\x03\x00\x00\x00\x01"
    for smuggled in (
        (read + crc(read))[1:] + write + crc(write),  # on RTU a server finds the end by the function
        read[1:] + bytes.fromhex("0001 0000 0006") + write,  # and some do so on TCP
        b"\x2b\x0e\x01\x00" + write,
    ):
        with pytest.raises(ProbeError, match="a probe only reads"):
            await ReadingOnly(wire).exchange(1, smuggled)
    assert not wire.sent


def test_nothing_is_nothing_however_it_is_written() -> None:
    assert parse_known("holding:7=0e999").value == 0
