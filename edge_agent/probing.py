"""The ability of a driver to probe: to find out, for commissioning, what is at an address. Part of the contract.

The command ``edge-agent probe`` runs a prober in a process of its own. Where the running agent holds the line to
the target, the prober hands its requests to the agent, one by one, and the agent carries them out between its own.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.clock import Clock


@dataclass(frozen=True, slots=True)
class HeldLine:
    """A line of the agent that runs on this machine, lent to a prober.

    Attributes:
        key: as given to ``Context.line``.
        devices: whose line it is.
        reach: what of their sections says how the line is reached; see ``ProberSpec``.
        exchange: lets the agent carry out one exchange in a turn of its own: ``ProberSpec.exchange`` on that side,
            within so many seconds, waits for the turn not counted. Raises ``TimeoutError``, ``EdgeAgentError``.
    """

    key: str
    devices: tuple[str, ...]
    reach: Mapping[str, object]
    exchange: Callable[[Mapping[str, object], float], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Probing:
    """What a prober needs of its surroundings.

    Attributes:
        lines: of the running agent. If one of them leads to the target, nothing else may be opened.
        is_second_client: whether something may be opened beside whoever else talks to the target.
        tell: takes what is done now and the part of all that is done, 0 to 1; must not block.
    """

    clock: Clock
    lines: Sequence[HeldLine]
    tell: Callable[[str, float], None]
    is_second_client: bool = False


@dataclass(frozen=True, slots=True)
class ProbeTable:
    """What was found, for people."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a probe found.

    Attributes:
        notes: sentences below the tables.
        body: the same for scripts; what JSON has words for.
        devices: sections for ``devices:`` of a configuration, less their ids; empty: nothing is known well enough.
        is_success: whether what was asked for was found.
    """

    tables: tuple[ProbeTable, ...]
    notes: tuple[str, ...]
    body: dict[str, object]
    devices: tuple[dict[str, object], ...]
    is_success: bool


@dataclass(frozen=True, slots=True)
class ProberSpec:
    """The ability to find out what is at an address, for commissioning. It never writes to a device.

    Attributes:
        run: probes a target with the settings of the command line, as written; raises ``ProbeError``.
            On cancellation nothing stays open.
        exchange: carries out one request of a prober in another process on a ``Line`` of this agent, in one turn;
            refuses what does not only read with ``ProbeError``.
        reach: returns what of a device's section says how it is reached, in the words of the configuration.
    """

    run: Callable[[str, Mapping[str, Sequence[str]], Probing], Coroutine[Any, Any, ProbeReport]]
    exchange: Callable[[Any, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
    reach: Callable[[Any], dict[str, object]]
