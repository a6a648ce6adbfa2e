"""The points' nodes as the server of one session numbers them, and what is made of their values."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from edge_agent.errors import ExchangeError
from edge_agent_opcua.browse_path import Address
from edge_agent_opcua.convert import Converter
from edge_agent_opcua.definitions import Types, learn
from edge_agent_opcua.pick import parse_path, picker
from edge_agent_opcua.point import OpcUaPoint
from edge_agent_opcua.services import Services
from edge_agent_opcua.translation import one_exchange
from edge_agent_opcua.wire import value_of


class Nodes:
    """By point, as far as ``resolve`` found them.

    Args:
        addresses: of the nodes, by point.
    """

    def __init__(
        self, url: str, services: Services, addresses: Sequence[Address], points: Sequence[OpcUaPoint]
    ) -> None:
        self._url = url
        self._services = services
        self._addresses = addresses
        self._points = points
        self._node_ids: Sequence[Any] = ()
        self._encoded: dict[int, bytes] = {}  # by point: what reads it

    def __getitem__(self, point: int) -> Any:
        """Return the library's node id; None where the server lacks the namespace."""
        return self._node_ids[point]

    async def resolve(self) -> Mapping[int, Converter]:
        """Look for all nodes; return what makes readings of points that are parts or texts of values."""
        self._node_ids = await self._services.resolve(self._addresses)
        self._encoded = {}
        return await self._converters()

    def operations(self, points: Sequence[int]) -> list[bytes]:
        """Return what reads ``points``; each is encoded once."""
        for point in points:
            if point not in self._encoded:
                self._encoded[point] = value_of(self._node_ids[point])
        return [self._encoded[point] for point in points]

    async def _converters(self) -> Mapping[int, Converter]:
        picked = {i: point for i, point in enumerate(self._points) if point.is_picked}
        known = {i: self._node_ids[i] for i in picked if self._node_ids[i] is not None}
        fields = {i: node for i, node in known.items() if picked[i].field}
        labels = {i: node for i, node in known.items() if picked[i].labels}
        types = Types()
        with suppress(ExchangeError), one_exchange(self._url, "asking for types"):
            types = await learn(self._services.client.uaclient, self._services.attributes, fields, labels)
        return {
            i: picker(
                parse_path(point.element, point.field),
                types.definitions,
                types.texts.get(i, {}) if point.labels else None,
                is_field=bool(point.field),
            )
            for i, point in picked.items()
        }
