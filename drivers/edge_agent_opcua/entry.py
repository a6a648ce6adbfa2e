"""What an integrator writes of variables that the server names: an entry under ``browse:``."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from edge_agent.driver import DeadbandModel, Duration, StrictModel
from edge_agent.model import ReadingClass, check_id
from edge_agent_opcua.browse_path import parse_address
from edge_agent_opcua.globs import parse_glob
from edge_agent_opcua.point import MAX_QUEUE, Discard, Mode, ServerDeadband, Trigger

MAX_POINTS = 20_000
MAX_PREFIX = 32
OBJECTS = "i=85"
"""The node below which a server has everything of its own (OPC 10000-5 §8.2.4)."""


def _check_below(text: str) -> str:
    parse_address(text)
    return text


def _check_glob(text: str) -> str:
    parse_glob(text)
    return text


def _check_prefix(text: str) -> str:
    if text:
        check_id(f"{text}a")
    if len(text) > MAX_PREFIX:
        raise ValueError(f"a prefix has at most {MAX_PREFIX} characters, this one has {len(text)}")
    return text


GlobText = Annotated[str, AfterValidator(_check_glob)]


class OpcUaBrowse(StrictModel):
    """Variables that become points because the server has them: looked for at each connect."""

    below: Annotated[str, AfterValidator(_check_below)] = Field(
        default=OBJECTS, description="The node below which to look: a node id or the way to it, as for `node`."
    )
    match: GlobText = Field(
        description="Browse names below it: `Spindle/*`, `**/Speed`, `**`; `*` and `?` within a name, "
        "`**` for any number of levels."
    )
    exclude: Sequence[GlobText] = Field(default=(), description="Those that are no points all the same.")
    max_points: int = Field(
        default=1000, ge=1, le=MAX_POINTS, description="What is beyond is left out, and a remark says so."
    )
    prefix: Annotated[
        str,
        AfterValidator(_check_prefix),
        WithJsonSchema({"type": "string", "pattern": "^([A-Za-z0-9][A-Za-z0-9_-]*)?$", "maxLength": MAX_PREFIX}),
    ] = Field(default="", description="In front of each name, which is made of the browse names.")
    reading_class: Annotated[ReadingClass, Field(strict=False)] = Field(
        default=ReadingClass.TREND, alias="class", description="Of each point."
    )
    interval: Duration | None = Field(default=None, ge=0.01, description="Of each point; default: the device's.")
    deadband: DeadbandModel | None = Field(default=None, description="Of each point.")
    identifier: bool = Field(
        default=False, description="true: each point gets an identifier code by the template."
    )
    mode: Annotated[Mode, Field(strict=False)] | None = Field(
        default=None, description="Of each point; default: the device's."
    )
    sampling_interval: Duration | None = Field(default=None, ge=0, description="Of each point.")
    publishing_interval: Duration | None = Field(default=None, ge=0.01, description="Of each point.")
    queue_size: int | None = Field(default=None, ge=1, le=MAX_QUEUE, description="Of each point.")
    discard: Annotated[Discard, Field(strict=False)] | None = Field(default=None, description="Of each point.")
    trigger: Annotated[Trigger, Field(strict=False)] | None = Field(default=None, description="Of each point.")
    server_deadband: ServerDeadband | None = Field(default=None, description="Of each point.")

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.match} below {self.below}"

    def takes(self, path: Sequence[str]) -> bool:
        """Return whether the variable at ``path`` below the node is a point."""
        return parse_glob(self.match).matches(path) and not any(
            parse_glob(one).matches(path) for one in self.exclude
        )

    def looks_into(self, path: Sequence[str]) -> bool:
        """Return whether there may be points below ``path``."""
        return parse_glob(self.match).may_lead(path)


TEMPLATE = (
    "reading_class",
    "interval",
    "deadband",
    "identifier",
    "mode",
    "sampling_interval",
    "publishing_interval",
    "queue_size",
    "discard",
    "trigger",
    "server_deadband",
)
"""What a point has from its entry."""
