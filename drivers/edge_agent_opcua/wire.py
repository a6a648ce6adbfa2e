"""Reads and publishes as bytes over the library's session, which signs, sends, decrypts and matches answers.

The library would make objects of everything, at 10 to 40 µs a value. Here the nodes to read are encoded once, and
an answer is handed over as it came (docs/adr/0003). Each call may raise what ``translation.FOREIGN`` names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua import ua_binary

from edge_agent.errors import ExchangeError
from edge_agent_opcua.binary import MalformedError, Reader
from edge_agent_opcua.responses import (
    HISTORY_READ_RESPONSE,
    PUBLISH_RESPONSE,
    READ_RESPONSE,
    HistoryPart,
    Notification,
    Values,
    history_parts,
    notification,
    read_values,
    service_result,
)

_READ_REQUEST = ua.FourByteNodeId(ua.ObjectIds.ReadRequest_Encoding_DefaultBinary)


class Encoded(bytes):
    """What is encoded already; the library finds how to pack it by the name of this class."""

    __slots__ = ()

    @staticmethod
    def pack(content: "Encoded") -> bytes:
        return content


ua_binary.Primitives.Encoded = Encoded


class _NoArray:
    """An array of nothing takes no bytes, and would take the memory of as many elements as it announces."""

    @staticmethod
    def unpack_array(_data: object, length: int) -> list[Any]:
        if length > 0:
            raise MalformedError(f"an array of {length} times nothing")
        return []


ua_binary.Primitives1.Null = _NoArray


@dataclass
class _ReadRequest:
    """As the library's own (OPC 10000-4 §5.11.2), but for its parameters."""

    TypeId: ua.NodeId
    RequestHeader: ua.RequestHeader
    Parameters: Encoded


_BOTH_TIMES = ua_binary.Primitives.Double.pack(0) + ua_binary.Primitives.UInt32.pack(ua.TimestampsToReturn.Both)


def value_of(node_id: Any) -> bytes:
    """Return the operation that reads the value of a node: a ReadValueId."""
    return bytes(ua_binary.struct_to_binary(ua.ReadValueId(NodeId=node_id, AttributeId=ua.AttributeIds.Value)))


async def read(session: Any, operations: Sequence[bytes]) -> Values:
    """Return the answer to a ReadRequest.

    Args:
        session: the library's.
        operations: made by ``value_of``.
    """
    count = ua_binary.Primitives.Int32.pack(len(operations))
    parameters = Encoded(b"".join([_BOTH_TIMES, count, *operations]))
    request = _ReadRequest(_READ_REQUEST, ua.RequestHeader(), parameters)
    return read_values(await _answer(session, request, READ_RESPONSE, None))


async def publish(session: Any, acknowledgements: Sequence[Any]) -> Notification:
    """Wait for what the server has to say.

    Args:
        session: the library's.
        acknowledgements: the library's.
    """
    request = ua.PublishRequest()
    request.Parameters.SubscriptionAcknowledgements = list(acknowledgements)
    return notification(await _answer(session, request, PUBLISH_RESPONSE, 0))


async def history(
    session: Any, nodes: Sequence[tuple[Any, bytes | None]], start: datetime, end: datetime, most: int
) -> list[HistoryPart]:
    """Return raw values of nodes, oldest first (OPC 10000-11 §6.5.3).

    Args:
        session: the library's.
        nodes: each with what an answer before said that there is more.
        start: of the source times.
        end: of the source times.
        most: values of one node in one answer.
    """
    request = ua.HistoryReadRequest()
    request.Parameters.HistoryReadDetails = ua.ReadRawModifiedDetails(
        IsReadModified=False, StartTime=start, EndTime=end, NumValuesPerNode=most, ReturnBounds=False
    )
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
    request.Parameters.ReleaseContinuationPoints = False
    request.Parameters.NodesToRead = [
        ua.HistoryReadValueId(NodeId=node_id, ContinuationPoint=more) for node_id, more in nodes
    ]
    parts = history_parts(await _answer(session, request, HISTORY_READ_RESPONSE, None))
    if len(parts) != len(nodes):
        raise ExchangeError(f"the server answered {len(parts)} of {len(nodes)} operations")
    return parts


def event_fields(told: Notification) -> list[Any]:
    """Return the library's EventFieldLists of what the server has to say."""
    lists = (ua_binary.struct_from_binary(ua.EventNotificationList, Buffer(body)) for body in told.event_lists)
    return [fields for one in lists for fields in one.Events or ()]


async def _answer(session: Any, request: Any, response: int, timeout_s: float | None) -> Reader:
    """Return a reader behind the header of a good answer.

    Args:
        session: the library's.
        request: the library's, or one like it.
        response: see ``responses``.
        timeout_s: None: the client's; 0: none.
    """
    told = await session._send_request(request, timeout=timeout_s)  # noqa: SLF001 - no public way to the bytes
    reader = Reader(told.read(len(told)))
    ua.StatusCode(service_result(reader, response)).check()
    return reader
