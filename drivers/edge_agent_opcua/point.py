"""What an integrator writes of one variable of an OPC UA server."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from edge_agent.driver import Duration, PointModel, StrictModel
from edge_agent.model import ReadingClass
from edge_agent_opcua.browse_path import parse_address
from edge_agent_opcua.event import Wanted, parse_event_field, parse_event_type
from edge_agent_opcua.pick import parse_path

MAX_QUEUE = 100_000
MAX_EVENT_FIELDS = 100


class Mode(StrEnum):
    """Who starts: the server, when something changed, or the agent, on schedule."""

    SUBSCRIBE = "subscribe"
    POLL = "poll"
    BOTH = "both"

    @property
    def is_subscribed(self) -> bool:
        """Whether the server reports the point."""
        return self is not Mode.POLL


class Trigger(StrEnum):
    """What is a change that the server reports (OPC 10000-4 §7.22.2)."""

    STATUS = "status"
    VALUE = "value"
    TIMESTAMP = "timestamp"


class Discard(StrEnum):
    """Which sample the server gives up when its queue for a variable is full."""

    OLDEST = "oldest"
    NEWEST = "newest"


class Events(StrEnum):
    """Which events of a notifier are a point."""

    ALL = "all"
    ALARMS = "alarms"


class ServerDeadband(StrictModel):
    """Changes that the server keeps to itself; one of the two."""

    absolute: float = Field(default=0.0, ge=0, description="In the variable's unit.")
    percent: float = Field(default=0.0, ge=0, le=100, description="Of the range that the server has for it.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.absolute) == bool(self.percent):
            raise ValueError("write `absolute:` or `percent:`, greater than 0")
        return self


def _check_node(text: str) -> str:
    parse_address(text)
    return text


def _check_field(text: str) -> str:
    parse_path(None, text)
    return text


def _check_event_type(text: str) -> str:
    parse_event_type(text)
    return text


class OpcUaPoint(PointModel):
    """One variable of the server."""

    node: Annotated[str, AfterValidator(_check_node)] = Field(
        description="Node id: `nsu=<namespace uri>;s=<name>`, `ns=2;i=5`, `i=2258`; or the way to it: "
        "`/Objects/nsu=<namespace uri>;CNC/Spindle/Speed`."
    )
    mode: Annotated[Mode, Field(strict=False)] | None = Field(
        default=None, description="subscribe, poll or both; default: the device's."
    )
    sampling_interval: Duration | None = Field(
        default=None,
        ge=0,
        description="How often the server samples the variable, 0s: as fast as it can; "
        "default: the point's interval.",
    )
    publishing_interval: Duration | None = Field(
        default=None,
        ge=0.01,
        description="How often the server sends changes of the point; default: the device's.",
    )
    queue_size: int | None = Field(
        default=None,
        ge=1,
        le=MAX_QUEUE,
        description="Samples that the server keeps between two publications; default: the device's.",
    )
    discard: Annotated[Discard, Field(strict=False)] | None = Field(
        default=None, description="oldest or newest: which sample a full queue gives up; default: the device's."
    )
    trigger: Annotated[Trigger, Field(strict=False)] | None = Field(
        default=None,
        description="status, value or timestamp: what the server reports as a change; default: the device's.",
    )
    server_deadband: ServerDeadband | None = Field(
        default=None, description="Changes that the server keeps to itself; `deadband` is the agent's own."
    )
    element: int | None = Field(
        default=None, ge=0, description="The point is this element of the variable's array, counted from 0."
    )
    field: Annotated[str, AfterValidator(_check_field)] = Field(
        default="",
        description="The point is this field of the variable's structure, `Position.X`, `Axes.0.Name`; "
        "`*`: all of them, as JSON.",
    )
    labels: Literal["server"] | None = Field(
        default=None, description="server: the reading is the text that the server has for the number."
    )
    events: Annotated[Events, Field(strict=False)] | None = Field(
        default=None,
        description="all or alarms: what `node` tells of (`i=2253`: of the whole server), not its value; "
        "`class` is then event or alarm, unless it is written.",
    )
    event_types: Sequence[Annotated[str, AfterValidator(_check_event_type)]] = Field(
        default=(),
        description="Of these types and what is below them only: names such as AlarmConditionType, or node ids.",
    )
    event_fields: Mapping[str, str] = Field(
        default_factory=dict,
        max_length=MAX_EVENT_FIELDS,
        description="Fields of a vendor's types of events besides the standard ones, by their key in the JSON: "
        "`{error_code: nsu=http://example.com/cnc;ErrorCode}`.",
    )
    severity_min: int = Field(
        default=0, ge=0, le=1000, description="Less severe events are left out, but not the end of what was told."
    )

    @property
    def wanted(self) -> Wanted | None:
        """Which events are this point; None if it is a variable."""
        if self.events is None:
            return None
        types = tuple(map(parse_event_type, self.event_types))
        more = tuple(parse_event_field(key, text) for key, text in self.event_fields.items())
        return Wanted(self.events is Events.ALARMS, self.severity_min, types, more)

    @field_validator("event_fields")
    @classmethod
    def _check_event_fields(cls, written: Mapping[str, str]) -> Mapping[str, str]:
        for key, text in written.items():
            parse_event_field(key, text)
        return written

    @model_validator(mode="before")
    @classmethod
    def _default_of_events(cls, written: Any) -> Any:
        if not isinstance(written, dict) or written.get("events") not in list(Events):
            return written
        is_alarms = written["events"] == Events.ALARMS
        return {"class": ReadingClass.ALARM if is_alarms else ReadingClass.EVENT, "mode": Mode.SUBSCRIBE} | written

    @property
    def is_part(self) -> bool:
        """Whether the point is not the whole value of the variable."""
        return self.element is not None or bool(self.field)

    @property
    def is_picked(self) -> bool:
        """Whether the value of the variable is not taken as it is."""
        return self.is_part or self.labels is not None

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if self.labels is not None and self.field:
            raise ValueError("labels has no meaning with field: the texts are those of the variable's own numbers")
        return self

    @model_validator(mode="after")
    def _check_events(self) -> Self:
        unused = sorted((EVENT_KEYS if self.events is None else VALUE_KEYS) & self.model_fields_set)
        if unused:
            what = "without `events:`" if self.events is None else "of events: all of them arrive"
            raise ValueError(f"{', '.join(unused)} has no meaning {what}")
        if self.events is not None and self.mode is not Mode.SUBSCRIBE:
            raise ValueError("events can only be subscribed to: leave `mode:` out")
        return self


SUBSCRIPTION_KEYS = frozenset(
    {"sampling_interval", "publishing_interval", "queue_size", "discard", "trigger", "server_deadband"}
)
"""They mean nothing for a point that is polled only."""
EVENT_KEYS = frozenset({"event_fields", "event_types", "severity_min"})
VALUE_KEYS = frozenset(
    {"deadband", "element", "field", "interval", "labels", "sampling_interval", "server_deadband", "trigger"}
)
"""They mean nothing for events."""
