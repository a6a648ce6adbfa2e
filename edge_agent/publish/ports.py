"""What a publisher needs of its neighbours."""

from collections.abc import Iterable
from typing import Protocol

from edge_agent.model import DeviceId, PublisherId
from edge_agent.outbox.rows import Row, Stream


class Cursor(Protocol):
    """One publisher's way through the outbox during one session."""

    async def lease(self, stream: Stream, *, max_rows: int, max_bytes: int) -> list[Row]:
        """Return the next rows that are unleased and unacknowledged, in order; empty if there are none now."""
        ...

    @property
    def replay_readings(self) -> int:
        """How many readings of the REPLAY stream are not acknowledged."""
        ...

    async def wait(self, streams: Iterable[Stream]) -> None:
        """Return when a lease on one of ``streams`` may give something."""
        ...

    def confirm(self, row_ids: Iterable[int]) -> None:
        """Take these rows as delivered."""
        ...

    def set_aside(self, row_ids: Iterable[int], reason: str) -> None:
        """Take these rows as refused for what they are: they become dead letters."""
        ...

    def close(self) -> None:
        """End the session: what is unconfirmed is leased again by the next one."""
        ...


class Outbox(Protocol):
    """Where rows come from."""

    @property
    def epoch(self) -> str:
        """Random name of the log."""
        ...

    def begin(self, publisher: PublisherId) -> Cursor:
        """Return a new cursor; called at the start of each session."""
        ...


class Codes(Protocol):
    """Identifier codes of the gateway and its devices."""

    def gateway_code(self) -> str:
        """Return the gateway's code."""
        ...

    def device_code(self, device: DeviceId) -> str | None:
        """Return a device's code, or None where it has none; removed devices keep theirs."""
        ...

    def directory(self, now: str) -> dict[str, object]:
        """Return the body of the directory message."""
        ...

    async def freeze(self) -> None:
        """Make codes final; awaited before one is published for the first time. Idempotent."""
        ...
