"""Takes a snapshot from the agent."""

from collections.abc import Mapping
from typing import Any, cast

from prometheus_client import Counter, Gauge

from edge_agent.app import Agent
from edge_agent.clock import Clock
from edge_agent.demo.snapshot import Figures, PointLine


def figures_of(agent: Agent, report: Mapping[str, Any]) -> Figures:
    """Return the figures from the agent's metrics and the subscriber's report."""
    metrics = agent.metrics
    return Figures(
        collected=round(total(metrics.readings)),
        committed=round(total(metrics.committed)),
        published=round(total(metrics.published)),
        acknowledged=round(total(metrics.acknowledged)),
        received=report["received"],
        duplicated=report["duplicated"],
    )


def lines_of(agent: Agent, codes: Mapping[str, str], clock: Clock) -> tuple[PointLine, ...]:
    """Return every point with its latest reading, in configured order."""
    now_ns = clock.now_ns()
    lines = []
    for options in agent.options.devices:
        device = agent.current[options.id]
        for index, point in enumerate(options.table.points):
            latest = device.latest(index)
            lines.append(
                PointLine(
                    device=options.id,
                    phase=device.phase,
                    point=point.name,
                    value=latest.value,
                    unit=point.unit,
                    status=latest.status,
                    age_s=(now_ns - latest.time_ns) / 1e9 if latest.time_ns else None,
                    code=codes.get(f"{options.id}/{point.name}")
                    or (codes.get(options.id, "") if not index else ""),
                )
            )
    return tuple(lines)


def codes_of(agent: Agent) -> dict[str, str]:
    """Return the codes by ``device`` and ``device/point``."""
    if agent.codes is None:
        return {}
    directory = cast("dict[str, Any]", agent.codes.directory(""))
    return {name: entry["handle"] for kind in ("devices", "points") for name, entry in directory[kind].items()}


def total(metric: Counter | Gauge) -> float:
    """Return the sum of a metric over its labels."""
    return sum(sample.value for family in metric.collect() for sample in family.samples)
