"""Calls one method: sent once, each argument as exactly the type that the method takes.

Source: OPC 10000-4 §5.12.2; OPC 10000-3 §5.7.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import ua

from edge_agent.errors import DriverError, PointRejectedError
from edge_agent.writing import WriteOutcome
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.encode import NodeType, Value, encode
from edge_agent_opcua.node_id import parse_node_id
from edge_agent_opcua.node_types import properties, read_values, type_of_argument
from edge_agent_opcua.session import OpcUaSession
from edge_agent_opcua.translation import FOREIGN, one_exchange, plain_cancellation
from edge_agent_opcua.writer import ready_to_send, variant, why_bad, why_not


@dataclass(frozen=True, slots=True)
class CallResult:
    """How a call ended; done means that the method said Good, there is nothing to read back.

    Attributes:
        outputs: what the method gave, as the library has it.
        reason: for people, empty if it was done.
    """

    outcome: WriteOutcome
    reason: str = ""
    outputs: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class _Method:
    object_id: Any
    method_id: Any
    takes: tuple[NodeType, ...]


class OpcUaCaller:
    """Calls methods of one device over its live session."""

    def __init__(self, config: OpcUaDevice, session: OpcUaSession) -> None:
        self._url = config.url
        self._session = session
        self._service = session.client.uaclient
        self._known: dict[tuple[str, str], _Method] = {}

    async def call(self, object_node: str, method_node: str, inputs: Sequence[Value] = ()) -> CallResult:
        """Call a method of an object, at most once.

        Args:
            object_node: the object, written as ``node:`` of a point.
            method_node: the method, of the object or of its type.
            inputs: as many as the method takes, in its order.

        Raises nothing of the server's doing: that is the result. Never tries again.

        On cancellation the outcome is ``UNKNOWN``: the request may have been sent.
        """
        try:
            await ready_to_send(self._session)
            method = await self._method(object_node, method_node)
            arguments = _arguments(method, inputs)
        except (ValueError, PointRejectedError) as error:
            return CallResult(WriteOutcome.REFUSED, str(error))
        except DriverError as error:
            return CallResult(WriteOutcome.FAILED, f"nothing was sent: {error}")
        return await self._send(ua.CallMethodRequest(method.object_id, method.method_id, arguments))

    async def _send(self, request: Any) -> CallResult:
        try:
            with plain_cancellation():
                results = await self._service.call([request])
        except FOREIGN as error:
            return CallResult(*why_not(error))
        if len(results) != 1:
            return CallResult(WriteOutcome.UNKNOWN, f"the server gave {len(results)} results for one call")
        (result,) = results
        if not result.StatusCode.is_bad():
            return CallResult(
                WriteOutcome.DONE, outputs=tuple(each.Value for each in result.OutputArguments or ())
            )
        outcome, reason = why_bad(result.StatusCode.value)
        wrong = [
            f"argument {number}: {status.name}"
            for number, status in enumerate(result.InputArgumentResults or (), start=1)
            if status.is_bad()
        ]
        return CallResult(outcome, "; ".join([reason, *wrong]))

    async def _method(self, object_node: str, method_node: str) -> _Method:
        key = (object_node, method_node)
        if key not in self._known:
            object_id, method_id = (self._session.find(parse_node_id(text)) for text in key)
            if object_id is None or method_id is None:
                raise PointRejectedError("the server has no such namespace")
            with one_exchange(self._url, "asking what the method takes"):
                named = await properties(self._service, [method_id])
                nodes = [named["InputArguments"]] if "InputArguments" in named else []
                (told,) = await read_values(self._service, nodes) if nodes else [None]
                takes = [await type_of_argument(self._service, argument) for argument in told or ()]
            self._known[key] = _Method(object_id, method_id, tuple(takes))
        return self._known[key]


def _arguments(method: _Method, inputs: Sequence[Value]) -> list[Any]:
    if len(inputs) != len(method.takes):
        raise ValueError(f"the method takes {len(method.takes)} arguments, not {len(inputs)}")
    arguments = []
    for number, (node, value) in enumerate(zip(method.takes, inputs, strict=True), start=1):
        try:
            arguments.append(variant(node, encode(node, value)))
        except ValueError as error:
            raise ValueError(f"argument {number}: {error}") from None
    return arguments
