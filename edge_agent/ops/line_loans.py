"""Lends the agent's lines to a prober in another process, one exchange at a time, between the agent's own.

Two actions of the control socket: ``lines`` tells whose lines there are; ``line-exchange`` carries out one request
(``line``, ``request``, ``timeout_s``) and answers what the driver's prober says of it, or ``{"silent": true}``.
What may be asked is the driver's to decide; a prober only reads.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from edge_agent.collect.deadline import Deadline
from edge_agent.collect.fleet import Fleet, Member
from edge_agent.driver import DriverSpec
from edge_agent.errors import EdgeAgentError
from edge_agent.ops.actions import Actions, text_of
from edge_agent.probing import ProberSpec

_MAX_TIMEOUT_S = 30.0


class LineLoans:
    """The lines of the devices of one agent.

    Args:
        fleet: the devices, as they come and go.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._probers: dict[str, ProberSpec] = {}

    def offer(self, actions: Actions) -> None:
        """Let them be asked for."""
        actions.add("lines", self._tell)
        actions.add("line-exchange", self._exchange)

    async def _tell(self, _arguments: dict[str, Any]) -> object:
        members = tuple(self._fleet.values())
        for member in members:
            await self._prober(member.options.spec)
        return {"lines": await asyncio.to_thread(self._told, members)}  # many configurations are unpacked

    def _told(self, members: tuple[Member, ...]) -> list[dict[str, Any]]:
        told: dict[str, dict[str, Any]] = {}
        for member in members:
            options = member.options
            prober = self._probers.get(options.spec.protocol)
            if prober is None:
                continue
            for key in member.context.line_keys:
                if key not in told:
                    reach = prober.reach(options.config.unpack())
                    told[key] = {"line": key, "driver": options.spec.protocol, "devices": [], "reach": reach}
                told[key]["devices"].append(options.id)
        return list(told.values())

    async def _exchange(self, arguments: dict[str, Any]) -> object:
        key, request, timeout_s = text_of(arguments, "line"), arguments.get("request"), arguments.get("timeout_s")
        if not isinstance(request, dict):
            raise EdgeAgentError("the argument request must be an object")
        if not isinstance(timeout_s, int | float) or not 0 < timeout_s <= _MAX_TIMEOUT_S:
            raise EdgeAgentError(f"the argument timeout_s must be more than 0 and at most {_MAX_TIMEOUT_S:g}")
        line, spec = self._fleet.lines.get(key), next(self._specs(key), None)
        prober = await self._prober(spec) if spec is not None else None
        if line is None or prober is None:
            raise EdgeAgentError(f"the agent has no line {key!r} that can be probed")
        try:
            async with Deadline(timeout_s):
                return await prober.exchange(line, request)
        except TimeoutError:
            return {"silent": True}

    def _specs(self, key: str) -> Iterator[DriverSpec]:
        return (one.options.spec for one in self._fleet.values() if key in one.context.line_keys)

    async def _prober(self, spec: DriverSpec) -> ProberSpec | None:
        if spec.prober is None:
            return None
        if spec.protocol not in self._probers:
            self._probers[spec.protocol] = await asyncio.to_thread(spec.prober)  # it imports
        return self._probers[spec.protocol]
