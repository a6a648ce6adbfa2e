"""Writes one point: sent once, as exactly the type that the server has, its status compared, read back.

Source: OPC 10000-4 §5.11.2, §5.11.4, §7.39.2.
"""

from typing import Any

from asyncua import ua

from edge_agent.errors import DeviceUnavailableError, DriverError, PointRejectedError
from edge_agent.writing import WriteOutcome, WriteResult
from edge_agent_opcua.binary import BuiltIn
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.encode import Encoded, NodeType, Value, encode, is_same
from edge_agent_opcua.node_types import type_of_variable
from edge_agent_opcua.session import OpcUaSession
from edge_agent_opcua.translation import FOREIGN, explain, one_exchange, plain_cancellation, status_of

_CODES = ua.StatusCodes
NOTHING_WAS_DONE = frozenset(
    {
        _CODES.BadArgumentsMissing,
        _CODES.BadAttributeIdInvalid,
        _CODES.BadDataEncodingInvalid,
        _CODES.BadDataEncodingUnsupported,
        _CODES.BadIndexRangeInvalid,
        _CODES.BadIndexRangeNoData,
        _CODES.BadInvalidArgument,
        _CODES.BadLocked,
        _CODES.BadMethodInvalid,
        _CODES.BadNodeIdInvalid,
        _CODES.BadNodeIdUnknown,
        _CODES.BadNotExecutable,
        _CODES.BadNotImplemented,
        _CODES.BadNotSupported,
        _CODES.BadNotWritable,
        _CODES.BadOutOfRange,
        _CODES.BadSecurityModeInsufficient,
        _CODES.BadServiceUnsupported,
        _CODES.BadTooManyArguments,
        _CODES.BadTooManyOperations,
        _CODES.BadTypeMismatch,
        _CODES.BadUserAccessDenied,
        _CODES.BadWriteNotSupported,
    }
)
"""The server looked at what was asked and did not do it. After any other Bad status it is open: BadTimeout,
BadRequestInterrupted, BadNoCommunication, BadDeviceFailure … may come when it is done."""


class OpcUaWriter:
    """Writes points of one device over its live session."""

    def __init__(self, config: OpcUaDevice, session: OpcUaSession) -> None:
        self._url = config.url
        self._session = session
        self._service = session.client.uaclient
        self._types: dict[int, NodeType] = {}
        self._parts = {i for i, point in enumerate(config.points) if point.is_part}

    async def write(self, point: int, value: Value) -> WriteResult:
        if point in self._parts:
            return WriteResult(
                WriteOutcome.REFUSED, "the point is a part of a value, which is written whole or not"
            )
        node_id = self._session.node_id(point)
        if node_id is None:
            return WriteResult(WriteOutcome.REFUSED, "the server has no such namespace")
        try:
            await ready_to_send(self._session)
            with one_exchange(self._url, "asking what the node takes"):
                if point not in self._types:
                    self._types[point] = await type_of_variable(self._service, node_id)
            node = self._types[point]
            encoded = encode(node, value)
        except (ValueError, PointRejectedError) as error:
            return WriteResult(WriteOutcome.REFUSED, str(error))
        except DriverError as error:
            return WriteResult(WriteOutcome.FAILED, f"nothing was sent: {error}")
        status = await self._send(node_id, variant(node, encoded))
        return status or await self._read_back(node_id, node, encoded)

    async def _send(self, node_id: Any, content: Any) -> WriteResult | None:
        """Send it; return why it did not go, None if the server took it.

        The value alone: many a server takes no status and no time with it.
        """
        order = ua.WriteValue(
            NodeId=node_id,
            AttributeId=ua.AttributeIds.Value,
            Value=ua.DataValue(content, None),
        )
        try:
            with plain_cancellation():
                results = await self._service.write(ua.WriteParameters(NodesToWrite=[order]))
        except FOREIGN as error:
            return WriteResult(*why_not(error))
        if len(results) != 1:
            return WriteResult(WriteOutcome.UNKNOWN, f"the server gave {len(results)} results for one write")
        return None if not results[0].is_bad() else WriteResult(*why_bad(results[0].value))

    async def _read_back(self, node_id: Any, node: NodeType, sent: Encoded) -> WriteResult:
        try:
            with one_exchange(self._url, "reading it back"):
                (told,) = await self._service.read_attributes([node_id], ua.AttributeIds.Value)
        except DriverError as error:
            return WriteResult(WriteOutcome.UNKNOWN, f"the server took it; {error}")
        status = told.StatusCode
        if status is not None and status.is_bad():
            return WriteResult(WriteOutcome.UNKNOWN, f"the server took it; reading it back gave {status.name}")
        got = told.Value.Value if told.Value is not None else None
        got = _plain(got)
        if not is_same(node.built_in, sent, got):
            return WriteResult(WriteOutcome.FAILED, f"the server took {sent!r} and holds {got!r}")
        return WriteResult(WriteOutcome.DONE)


async def ready_to_send(session: OpcUaSession) -> None:
    """Return if a request can go out.

    Raises:
        DeviceUnavailableError: the connection is lost.
    """
    await session.renew_channel()
    protocol = session.client.uaclient.protocol
    if protocol is None or protocol.transport is None:
        raise DeviceUnavailableError("the connection is lost")


def variant(node: NodeType, value: Encoded) -> Any:
    """Return the library's value of exactly the node's type."""
    content = _texts(value) if node.built_in == BuiltIn.LOCALIZED_TEXT else value
    return ua.Variant(content, ua.VariantType(node.built_in), is_array=node.is_array)


def _texts(value: Encoded) -> Any:
    return list(map(_texts, value)) if isinstance(value, list) else ua.LocalizedText(str(value))


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_plain, value))
    return value.Text if isinstance(value, ua.LocalizedText) else value


def why_not(error: BaseException) -> tuple[WriteOutcome, str]:
    """Return what became of a request whose answer is ``error``."""
    code = status_of(error)
    return (WriteOutcome.UNKNOWN, explain(error)) if code is None else why_bad(code)


def why_bad(code: int) -> tuple[WriteOutcome, str]:
    """Return what became of an operation that the server answered with this Bad status."""
    name = ua.StatusCode(code).name
    if code in NOTHING_WAS_DONE:
        return WriteOutcome.REFUSED, f"the server said no: {name}"
    return WriteOutcome.UNKNOWN, f"the server answered with {name}"
