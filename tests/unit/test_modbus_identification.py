"""Device identification (43 / 14): what a device says of itself, and what is not believed."""

import pytest

from edge_agent.errors import ExchangeError
from edge_agent_modbus.identification import (
    Category,
    Identification,
    IdentificationPart,
    identification_part,
    identification_pdu,
    identify,
)
from edge_agent_modbus.pdu import ExceptionReply


def part(objects: dict[int, bytes], more: int = 0, next_object: int = 0, category: int = 3) -> bytes:
    body = b"".join(bytes([number, len(text)]) + text for number, text in objects.items())
    return bytes([0x2B, 0x0E, category, 0x83, more, next_object, len(objects)]) + body


def test_the_example_of_the_specification() -> None:
    # MODBUS Application Protocol V1.1b3 §6.21: the first of two replies, company identification and product code
    reply = bytes.fromhex("2b0e0101ff020200") + b"\x16Company identification" + b"\x01\x0fProduct code XX"
    assert identification_pdu(Category.BASIC) == bytes.fromhex("2b0e0100")
    got = identification_part(Category.BASIC, reply)
    assert got == IdentificationPart({0: b"Company identification", 1: b"Product code XX"}, 2)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\x2b",
        part({0: b"a"}, category=1),
        part({0: b"a"})[:-1],
        part({0: b"a"}) + b"x",
        part({0: b"a"})[:-2],
        bytes([0x2B, 0x0D, 3, 0x83, 0, 0, 0]),
        bytes([0x2A, 0x0E, 3, 0x83, 0, 0, 0]),
        b"\xab\x01\x02",
    ],
)
def test_what_is_no_reply_to_the_request_is_not_taken(reply: bytes) -> None:
    with pytest.raises(ExchangeError, match="device identification"):
        identification_part(Category.EXTENDED, reply)


def test_a_refusal_is_an_exception_reply() -> None:
    assert identification_part(Category.EXTENDED, b"\xab\x01") == ExceptionReply(1)


class Device:
    """Answers with one part after the other."""

    def __init__(self, *replies: bytes) -> None:
        self.asked: list[int] = []
        self._replies = replies

    async def exchange(self, pdu: bytes) -> bytes:
        self.asked.append(pdu[3])
        return self._replies[min(len(self.asked), len(self._replies)) - 1]


async def test_it_asks_on_until_the_device_has_said_everything() -> None:
    device = Device(part({0: b"ACME", 1: b"X-1\0 "}, 0xFF, 2), part({2: b"1.0"}, 0xFF, 128), part({128: b"\xff"}))
    got = await identify(device.exchange)
    assert device.asked == [0, 2, 128]
    assert got.is_complete
    assert got.texts() == {"vendor_name": "ACME", "product_code": "X-1", "revision": "1.0", "object_128": "\\xff"}


async def test_a_device_that_goes_in_circles_is_stopped_and_what_it_said_is_kept() -> None:
    device = Device(part({0: b"ACME"}, 0xFF, 1), part({1: b"X"}, 0xFF, 0))
    assert await identify(device.exchange) == Identification({0: b"ACME", 1: b"X"}, is_complete=False)
    same = Device(part({0: b"ACME"}, 0xFF, 0))
    assert not (await identify(same.exchange)).is_complete
    assert same.asked == [0]


async def test_a_device_that_never_ends_is_asked_a_bounded_number_of_times() -> None:
    device = Device(*[part({}, 0xFF, number) for number in range(1, 200)])
    assert not (await identify(device.exchange)).is_complete
    assert len(device.asked) == 64


async def test_a_refusal_in_the_middle_keeps_what_came_before() -> None:
    device = Device(part({0: b"ACME"}, 0xFF, 1), b"\xab\x02")
    assert await identify(device.exchange) == Identification({0: b"ACME"}, 2, is_complete=False)
