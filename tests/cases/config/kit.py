"""What the tests of the configuration share: a small driver, its registry, and files as text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any, Literal

from pydantic import Field

from edge_agent.config.build import build
from edge_agent.config.loader import parse
from edge_agent.config.options import AgentOptions
from edge_agent.config.source import Source
from edge_agent.config.tags import Secrets
from edge_agent.driver import API, Context, Device, DeviceModel, DriverSpec, PointModel, Secret, StrictModel
from edge_agent.errors import ConfigError, DriverLoadError
from edge_agent.registry import Registry


class Serial(StrictModel):
    kind: Literal["serial"]
    port: str
    baud: int = Field(default=9600, ge=300)


class Socket(StrictModel):
    kind: Literal["socket"]
    host: str


class BitAddress(StrictModel):
    word: int
    bit: int = Field(ge=0, le=15)


class RangeAddress(StrictModel):
    first: int
    last: int


class FakePoint(PointModel):
    address: Annotated[int, Field(ge=0, le=99)] | BitAddress | RangeAddress
    factor: float = 1.0


class FakeDevice(DeviceModel):
    """Has what is hard to place: unions with and without a label, nested models, secrets in lists, paths."""

    transport: Annotated[Serial | Socket, Field(discriminator="kind")] | None = None
    tokens: list[Secret] = Field(default_factory=list)
    ca: Annotated[Path, Field(strict=False)] | None = None
    insecure_transport: bool = False
    words: dict[int, str] = Field(default_factory=dict)
    points: Sequence[FakePoint] = Field(min_length=1)


def _create(context: Context, config: Any) -> Device:
    raise NotImplementedError


FAKE = DriverSpec("fake", API, FakeDevice, _create, "for tests")


class FakeRegistry(Registry):
    """Knows ``fake``, and ``broken``, which cannot be loaded."""

    def extended(self, _drivers_path: Sequence[Path]) -> "FakeRegistry":
        return self

    def protocols(self) -> dict[str, str]:
        return {"fake": "tests", "broken": "tests"}

    def load(self, protocol: str) -> DriverSpec:
        if protocol == "broken":
            raise DriverLoadError("driver 'broken' cannot be imported", "tests")
        return FAKE


PATH = Path("/etc/edge-agent/gateway.yaml")

HEAD = """\
gateway: {id: gw-01}
publishers:
  - {id: cloud, type: mqtt, servers: ["mqtt://127.0.0.1"]}
"""
"""Four lines fewer to write; ``devices:`` follows in line 4."""

DEVICES = """\
devices:
  - {id: press-01, driver: fake, points: [{name: a, address: 1}]}
"""


def load_text(
    text: str, *, environ: Mapping[str, str] | None = None, path: Path = PATH, registry: Registry | None = None
) -> AgentOptions:
    """Load ``text`` as if it were the file ``path``."""
    text = dedent(text)
    document = parse(text, path, Secrets(path.parent, environ or {}))
    return build(Source(path, text.encode(), text), document, registry or FakeRegistry())


def problems_of(text: str, *, environ: Mapping[str, str] | None = None, path: Path = PATH) -> list[str]:
    """Return the problems of ``text`` as ``line:column: path: message``; none if it is valid."""
    try:
        load_text(text, environ=environ, path=path)
    except ConfigError as exc:
        return [str(problem).removeprefix(f"{path}:") for problem in exc.problems]
    return []
