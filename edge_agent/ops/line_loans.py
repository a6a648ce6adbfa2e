"""Lends the agent's lines to a prober in another process, one exchange at a time, between the agent's own.

Two actions of the control socket: ``lines`` tells whose lines there are; ``line-exchange`` carries out one request
(``line``, ``request``, ``timeout_s``) and answers what the driver's prober says of it, or ``{"silent": true}``.
What may be asked is the driver's to decide; a prober only reads.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from edge_agent.collect.context import DeviceContext
from edge_agent.collect.deadline import Deadline
from edge_agent.collect.line import Lines
from edge_agent.collect.options import DeviceOptions
from edge_agent.driver import DriverSpec
from edge_agent.errors import EdgeAgentError
from edge_agent.ops.actions import Actions, text_of
from edge_agent.probing import ProberSpec

_MAX_TIMEOUT_S = 30.0


class LineLoans:
    """The lines of the devices of one agent.

    Args:
        contexts: one for each device.
    """

    def __init__(self, devices: Sequence[DeviceOptions], contexts: Sequence[DeviceContext], lines: Lines) -> None:
        self._devices = tuple(zip(devices, contexts, strict=True))
        self._lines = lines
        self._probers: dict[str, ProberSpec] = {}

    def offer(self, actions: Actions) -> None:
        """Let them be asked for."""
        actions.add("lines", self._tell)
        actions.add("line-exchange", self._exchange)

    async def _tell(self, _arguments: dict[str, Any]) -> object:
        for options, _ in self._devices:
            await self._prober(options.spec)
        return {"lines": await asyncio.to_thread(self._told)}  # many configurations are unpacked

    def _told(self) -> list[dict[str, Any]]:
        told: dict[str, dict[str, Any]] = {}
        for options, context in self._devices:
            prober = self._probers.get(options.spec.protocol)
            if prober is None:
                continue
            for key in context.line_keys:
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
        line, spec = self._lines.get(key), next(self._specs(key), None)
        prober = await self._prober(spec) if spec is not None else None
        if line is None or prober is None:
            raise EdgeAgentError(f"the agent has no line {key!r} that can be probed")
        try:
            async with Deadline(timeout_s):
                return await prober.exchange(line, request)
        except TimeoutError:
            return {"silent": True}

    def _specs(self, key: str) -> Iterator[DriverSpec]:
        return (options.spec for options, context in self._devices if key in context.line_keys)

    async def _prober(self, spec: DriverSpec) -> ProberSpec | None:
        if spec.prober is None:
            return None
        if spec.protocol not in self._probers:
            self._probers[spec.protocol] = await asyncio.to_thread(spec.prober)  # it imports
        return self._probers[spec.protocol]
