"""What a device says of itself: read device identification, function 43 / 14. Pure but for the asking.

Source: MODBUS Application Protocol Specification V1.1b3 §6.21.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import IntEnum

from edge_agent.errors import ExchangeError
from edge_agent_modbus.pdu import ExceptionReply, exception_reply

_FUNCTION = 0x2B
_MEI = 0x0E  # §6.21: MODBUS encapsulated interface type, read device identification
_HEADER_BYTES = 7
_MORE = 0xFF
_MOST_REPLIES = 64  # 256 objects exist; a device that sends them one by one in more replies than that is ill


class Category(IntEnum):
    """How much is asked for; the value is the *read device ID code*. Each includes the one before it."""

    BASIC = 1
    REGULAR = 2
    EXTENDED = 3


OBJECT_NAMES = {
    0: "vendor_name",
    1: "product_code",
    2: "revision",
    3: "vendor_url",
    4: "product_name",
    5: "model_name",
    6: "user_application_name",
}
"""Objects of the basic (0 to 2) and regular categories; 128 and up are the vendor's own (§6.21, table)."""


@dataclass(frozen=True, slots=True)
class IdentificationPart:
    """One reply: objects, and the object to ask for next, None if that was all."""

    objects: dict[int, bytes]
    next_object: int | None


@dataclass(frozen=True, slots=True)
class Identification:
    """What a device says of itself.

    Attributes:
        objects: by object id, as sent.
        exception: with which the device refused, at the first or at a later request.
        is_complete: whether the device came to an end; what it gave until then is kept.
    """

    objects: dict[int, bytes] = field(default_factory=dict)
    exception: int | None = None
    is_complete: bool = True

    def texts(self) -> dict[str, str]:
        """Return the objects by name (``object_128`` for a vendor's own); what is not UTF-8 is escaped."""
        return {
            OBJECT_NAMES.get(number, f"object_{number}"): body.rstrip(b"\0 ").decode(errors="backslashreplace")
            for number, body in sorted(self.objects.items())
        }


def identification_pdu(category: Category, object_id: int = 0) -> bytes:
    """Return the request for the objects of ``category`` from ``object_id`` on."""
    return bytes([_FUNCTION, _MEI, category, object_id])


def identification_part(category: Category, reply: bytes) -> IdentificationPart | ExceptionReply:
    """Return what the reply to ``identification_pdu(category, …)`` holds.

    Raises:
        ExchangeError: the reply is not one to this request.
    """
    refusal = exception_reply(_FUNCTION, reply)
    if refusal is not None:
        return refusal
    if len(reply) < _HEADER_BYTES or reply[:3] != bytes([_FUNCTION, _MEI, category]):
        raise ExchangeError(
            f"a request for the device identification was answered with {reply[:3].hex() or 'nothing'}"
        )
    _, _, _, _, more, next_object, count = reply[:_HEADER_BYTES]
    objects: dict[int, bytes] = {}
    position = _HEADER_BYTES
    for _ in range(count):
        number, length = reply[position : position + 2].ljust(2, b"\xff")
        end = position + 2 + length
        if end > len(reply):
            raise ExchangeError(f"the device identification ends in the middle of object {number}")
        objects[number] = reply[position + 2 : end]
        position = end
    if position != len(reply):
        raise ExchangeError(f"the device identification has {len(reply) - position} bytes behind its last object")
    return IdentificationPart(objects, next_object if more == _MORE else None)


async def identify(
    exchange: Callable[[bytes], Awaitable[bytes]], category: Category = Category.EXTENDED
) -> Identification:
    """Ask until the device has said everything; ``exchange`` sends a PDU and returns the PDU of its answer.

    A device that gives less than ``category`` sends what it has (§6.21: conformity level). One that goes in
    circles is stopped: each reply must go on behind the one before.

    Raises:
        ExchangeError: an answer is not one to its request, or ``exchange`` raised it.
    """
    objects: dict[int, bytes] = {}
    object_id = 0
    for _ in range(_MOST_REPLIES):
        part = identification_part(category, await exchange(identification_pdu(category, object_id)))
        if isinstance(part, ExceptionReply):
            return Identification(objects, part.code, is_complete=False)
        objects |= part.objects
        if part.next_object is None:
            return Identification(objects)
        if part.next_object <= object_id or part.next_object in objects:
            break
        object_id = part.next_object
    return Identification(objects, is_complete=False)
