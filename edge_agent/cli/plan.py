"""What would be asked of each device, what that costs, and whether the lines can carry it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import typer

from edge_agent.cli import table
from edge_agent.cli.wording import counted
from edge_agent.collect.context import planning_context
from edge_agent.collect.load import LineLoad, Poll
from edge_agent.collect.options import DeviceOptions
from edge_agent.collect.schedule import by_interval
from edge_agent.driver import Device, Estimate, Estimating, Request
from edge_agent.errors import DriverError
from edge_agent.model.quantity import format_duration

BAUD_RATES = (9600, 19200, 38400, 57600, 115200)
"""What most devices on a serial line can be set to."""


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """What one device would be asked.

    Attributes:
        polls: interval in seconds and the exchanges that it takes.
    """

    options: DeviceOptions
    device: Device
    polls: tuple[tuple[float, tuple[Request, ...]], ...]

    @classmethod
    def of(cls, options: DeviceOptions) -> Self:
        """Plan as a session that has learned nothing yet.

        Raises:
            DriverError: the driver refuses the device as it is configured.
        """
        try:
            device = options.spec.create(planning_context(options.id), options.config.unpack())
            polls = tuple(
                (interval_s, tuple(device.plan(points, set())))
                for interval_s, points in by_interval(device.polled, options.intervals_s)
            )
        except DriverError as exc:
            raise DriverError(f"device {options.id}: {exc}") from exc
        return cls(options, device, polls)

    @property
    def requests(self) -> int:
        """Number of exchanges, each interval once."""
        return sum(len(requests) for _, requests in self.polls)

    @property
    def reported(self) -> int:
        """Number of points that the device reports by itself."""
        return len(self.device.reported)

    def estimate(self, request: Request, baud_rate: int = 0) -> Estimate | None:
        """Return what an exchange costs; None if the driver does not say."""
        return self.device.estimate(request, baud_rate) if isinstance(self.device, Estimating) else None

    def names(self, request: Request) -> list[str]:
        """Return the points that an exchange is for."""
        return [self.options.table.names[index] for index in request.points]

    def as_json(self) -> list[dict[str, object]]:
        """Return the exchanges of each interval."""
        return [
            {"interval_s": interval_s, "requests": [self._request_as_json(request) for request in requests]}
            for interval_s, requests in self.polls
        ]

    def _request_as_json(self, request: Request) -> dict[str, object]:
        fields: dict[str, object] = {"request": str(request), "points": self.names(request)}
        if (estimate := self.estimate(request)) is not None:
            fields |= {
                "line": estimate.line,
                "sent_bytes": estimate.sent_bytes,
                "received_bytes": estimate.received_bytes,
                "duration_s": estimate.duration_s,
            }
        return fields


def line_loads(plans: Iterable[DevicePlan]) -> list[LineLoad]:
    """Return what is asked over each line of which a driver tells the cost."""
    lines: dict[str, tuple[list[Poll], int]] = {}
    for plan in plans:
        for interval_s, requests in plan.polls:
            estimates = [estimate for request in requests if (estimate := plan.estimate(request)) is not None]
            if not estimates:
                continue
            line, baud_rate = estimates[0].line, estimates[0].baud_rate
            duration_s = sum(estimate.duration_s for estimate in estimates)
            faster = tuple(
                (
                    rate,
                    sum(e.duration_s for request in requests if (e := plan.estimate(request, rate)) is not None),
                )
                for rate in BAUD_RATES
                if rate > baud_rate > 0
            )
            lines.setdefault(line, ([], baud_rate))[0].append(
                Poll(plan.options.id, interval_s, len(requests), duration_s, faster)
            )
    return [LineLoad(line, polls, baud_rate) for line, (polls, baud_rate) in lines.items()]


def print_plans(plans: Iterable[DevicePlan], loads: Iterable[LineLoad]) -> None:
    """Print each exchange with its points and its cost, and the load of each line."""
    for plan in plans:
        if plan.reported:
            typer.echo(f"\n{plan.options.id}: {counted(plan.reported, 'point')} reported by the device")
        for interval_s, requests in plan.polls:
            count = counted(len(requests), "request")
            typer.echo(f"\n{plan.options.id} every {format_duration(interval_s)}: {count}")
            for request in requests:
                typer.echo(f"  {request}{_cost(plan.estimate(request))}")
                typer.echo(f"    {', '.join(plan.names(request))}")
    rows = [
        (
            load.line,
            len({poll.device for poll in load.polls}),
            sum(poll.requests for poll in load.polls),
            _time(load.busy_s),
            f"{load.utilisation:.2%}" if load.utilisation < 0.1 else f"{load.utilisation:.0%}",  # noqa: PLR2004
            _time(load.cycle_s) if load.late else None,
        )
        for load in loads
    ]
    if rows:
        typer.echo()
        table.show(("line", "devices", "requests", "all once", "busy", "late ones every"), rows)


def advice(load: LineLoad) -> str:
    """Return which intervals a line cannot meet, why, and what to do."""
    late = load.late
    intervals = " and ".join(format_duration(interval_s) for interval_s in sorted({p.interval_s for p in late}))
    devices = counted(len({poll.device for poll in late}), "device")
    ways = [f"raise the interval to {format_duration(load.enough_s)} or more"]
    if load.enough_baud_rate:
        ways.append(f"the baud rate to {load.enough_baud_rate}")
    ways.append("read fewer points" if len(load.polls) == 1 else "split the line")
    return (
        f"line {load.line}: {devices} every {intervals} need {_time(load.cycle_s)} for each cycle "
        f"(the line is busy {load.utilisation:.0%}); {', '.join(ways[:-1])}, or {ways[-1]}"
    )


def load_as_json(load: LineLoad) -> dict[str, object]:
    """Return the load of a line, and what it cannot meet."""
    return {
        "line": load.line,
        "baud_rate": load.baud_rate or None,
        "devices": sorted({poll.device for poll in load.polls}),
        "requests": sum(poll.requests for poll in load.polls),
        "busy_s": load.busy_s,
        "utilisation": load.utilisation,
        "late": [{"device": poll.device, "interval_s": poll.interval_s} for poll in load.late],
        "cycle_s": load.cycle_s or None,
        "enough_interval_s": load.enough_s or None,
        "enough_baud_rate": load.enough_baud_rate or None,
        "advice": advice(load) if load.late else None,
    }


def _cost(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return f"; {estimate.sent_bytes} + {estimate.received_bytes} bytes, {_time(estimate.duration_s)}"


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
