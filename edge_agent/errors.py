"""The errors of edge-agent: the class says who reacts and how, the message says what a person can do.

    EdgeAgentError
    ├─ ConfigError                   start only, exit 78; every problem at once
    ├─ DriverLoadError               start only, exit 78
    ├─ DriverError
    │  ├─ PointRejectedError         permanent: cannot be done as configured
    │  ├─ DeviceUnavailableError     transient: back off, connect again
    │  └─ ExchangeError              transient: this exchange gave nothing; several in a row end the session
    ├─ OutboxError
    │  ├─ OutboxFullError            collect on in memory, recover
    │  ├─ OutboxReadOnlyError        collect on in memory, recover
    │  ├─ OutboxIOError              exit, restart, read again
    │  └─ OutboxCorruptError         set aside, start new, salvage
    ├─ SimulationError               `edge-agent simulate` cannot serve; exit 1
    ├─ ProbeError                    `edge-agent probe` cannot be done as asked; exit 1
    ├─ IdentifierError               one code or template is wrong
    └─ PublishError
       ├─ BrokerUnavailableError     transient: back off, connect again
       └─ PayloadRejectedError       permanent: dead letter

What is not in this tree is a bug and is caught by a supervisor alone.
"""

from collections.abc import Sequence
from typing import Protocol


class Located(Protocol):
    """A problem that knows its place and prints itself as ``file:line:column: path: message``."""

    def __str__(self) -> str: ...


class EdgeAgentError(Exception):
    """Root of the tree."""


class ConfigError(EdgeAgentError):
    """The configuration cannot be used; carries every problem that was found."""

    def __init__(self, problems: Sequence[Located]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class DriverLoadError(EdgeAgentError):
    """A driver that the configuration names cannot be loaded.

    ``origin`` is the entry point or folder that the driver came from; empty if there is none.
    """

    def __init__(self, message: str, origin: str = "") -> None:
        super().__init__(f"{message} (from {origin})" if origin else message)
        self.origin = origin


class DriverError(EdgeAgentError):
    """Root of what a driver may raise."""


class PointRejectedError(DriverError):
    """A point cannot be collected as it is configured; trying again does not help."""


class DeviceUnavailableError(DriverError):
    """The device, or the session with it, is gone; the supervisor backs off and connects again."""


class ExchangeError(DriverError):
    """One exchange gave nothing (time-out, malformed reply); the session may go on."""


class SimulationError(EdgeAgentError):
    """Devices cannot be simulated as asked; the message says what to change."""


class ProbeError(EdgeAgentError):
    """A probe cannot be done as asked, or found nothing to talk to; the message says what to change."""


class OutboxError(EdgeAgentError):
    """Root of what the outbox may raise."""


class OutboxFullError(OutboxError):
    """No space: on the disk, or within the configured bound."""


class OutboxReadOnlyError(OutboxError):
    """The disk takes no writes at present: mounted read-only, or writes fail. Nothing of the last one happened."""


class OutboxIOError(OutboxError):
    """The disk failed to sync or to read; nothing that is in memory can be trusted to reach it."""


class OutboxCorruptError(OutboxError):
    """The database, or one row of it, is damaged."""


class IdentifierError(EdgeAgentError):
    """A code, prefix or template is wrong.

    Attributes:
        code: one of the words of ``edge_agent.identify.codec`` (``no_separator``, ``bad_prefix``, …).
        position: 0-based index of the offending character in the text, or -1 where none is.
        hint: what a person can do.
    """

    def __init__(self, message: str, *, code: str, position: int = -1, hint: str = "") -> None:
        super().__init__(f"{message}: {hint}" if hint else message)
        self.code = code
        self.position = position
        self.hint = hint


class PublishError(EdgeAgentError):
    """Root of what a publisher may raise."""


class BrokerUnavailableError(PublishError):
    """The broker cannot be reached, refused the session, or went silent; back off and connect again."""


class PayloadRejectedError(PublishError):
    """The broker refused this message for what it is; sending it again does not help."""
