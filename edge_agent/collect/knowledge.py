"""What the agent knows of one device besides its values, as JSON-ready data. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from edge_agent.collect.refusals import Refusals
from edge_agent.collect.unanswered import Unanswered
from edge_agent.driver import Request
from edge_agent.model.quality import quality_name


def told(
    names: Sequence[str],
    plan: Iterable[tuple[Request, float]],
    refused: Refusals,
    unanswered: Unanswered,
    learned: Mapping[str, str],
    offset_ns: int,
) -> dict[str, object]:
    """Return what ``edge-agent devices NAME`` shows besides values.

    Args:
        names: of the points.
        plan: requests with their interval, s.
        refused: points that the device refuses.
        unanswered: requests that it does not answer.
        learned: by the driver.
        offset_ns: data time minus control time.
    """

    def data_ns(control_s: float) -> int:
        return offset_ns + round(control_s * 1e9)

    return {
        "plan": [{"request": str(request), "interval_s": interval_s} for request, interval_s in plan],
        "refused": [
            {
                "point": names[point],
                "reason": quality_name(refused.status(point)),
                "due_ns": data_ns(refused.due_s(point)),
            }
            for point in sorted(refused)
        ],
        "silent": [
            {"points": [names[point] for point in points], "failures": failures, "due_ns": data_ns(due_s)}
            for points, failures, due_s in unanswered.known()
        ],
        "learned": dict(learned),
    }
