"""Any file gives options or a ConfigError with places, never another exception."""

# ruff: noqa: E501 - lists of words

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge_agent import config
from edge_agent.config.options import AgentOptions
from edge_agent.config.problems import Problem
from edge_agent.errors import ConfigError
from edge_agent.registry import Registry
from tests.cases.config.kit import DEVICES, HEAD, FakeRegistry

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
KEYS = st.sampled_from(
    [
        "gateway",
        "identifiers",
        "outbox",
        "publishers",
        "ops",
        "drivers_path",
        "devices",
        "id",
        "name",
        "labels",
        "type",
        "servers",
        "version",
        "client_id",
        "username",
        "password",
        "tls",
        "ca",
        "topics",
        "data",
        "http",
        "interval",
        "driver",
        "points",
        "deadband",
        "absolute",
        "class",
        "address",
        "node",
        "register",
        "url",
        "host",
        "transport",
        "kind",
        "identifier",
        "prefix",
        "device",
        "<<",
    ]
)
SCALARS = st.one_of(
    st.sampled_from(
        ["", "~", "true", "no", "0", "1", "-1", "1e400", "1s", "500ms", "0s", "1KiB", "a", "fake", "modbus", "opcua", "mqtt",
         "mqtts://b", "opc.tcp://h", '"{device}"', '"{"', "!env HOME", "!env NOPE", "!file /", "!credential x", "!x y", "&a b", "*a",
         '"\\0"', '"\\ud800"', ".nan", "88.101", "socket", "i=5", "40001", "127.0.0.1:1", "off", "0x" + "f" * 90, "9" * 90]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=6),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(KEYS, inner), max_size=5).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=12,
)
PATIENT = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(raw: bytes, tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "fuzz.yaml"
    path.write_bytes(raw)
    problems: tuple[object, ...] = ()
    try:
        assert isinstance(config.load(path, registry), AgentOptions)
    except ConfigError as exc:
        problems = exc.problems
    if problems:
        lines = raw.count(b"\n") + raw.count(b"\r") + raw.count(b"\xc2\x85") + raw.count(b"\xe2\x80") + 1
        for problem in problems:
            assert isinstance(problem, Problem)
            assert 1 <= problem.line <= lines + 1
            assert problem.column >= 1
            assert "\n" not in str(problem)
            assert "edge_agent" not in problem.message


@PATIENT
@given(raw=st.binary(max_size=200))
def test_any_bytes(raw: bytes, tmp_path: Path) -> None:
    check(raw, tmp_path, FakeRegistry())


@PATIENT
@given(text=st.text(st.characters(codec="utf-8"), max_size=200))
@example(text="? - a\n: - b\n")
@example(text="&a {a: *a}")
@example(text="!env {a: b}: c")
def test_any_text(text: str, tmp_path: Path) -> None:
    check(text.encode(), tmp_path, FakeRegistry())


@PATIENT
@given(pairs=st.lists(st.tuples(KEYS, VALUES), max_size=6))
def test_any_document(pairs: list[tuple[str, str]], tmp_path: Path) -> None:
    check("".join(f"{key}: {value}\n" for key, value in pairs).encode(), tmp_path, FakeRegistry())


@PATIENT
@given(key=KEYS, value=VALUES, driver=st.sampled_from(["fake", "modbus", "opcua"]))
def test_any_value_of_a_key_of_a_device(key: str, value: str, driver: str, tmp_path: Path) -> None:
    device = f"  - {{id: a, driver: {driver}, {key}: {value}, points: [{{name: b, {key}: {value}}}]}}\n"
    registry = FakeRegistry() if driver == "fake" else Registry()
    check(f"{HEAD}devices:\n{device}".encode(), tmp_path, registry)


@PATIENT
@given(key=KEYS, value=VALUES)
def test_any_value_of_a_key_of_a_publisher(key: str, value: str, tmp_path: Path) -> None:
    head = HEAD.replace("type: mqtt", f"type: mqtt, {key}: {value}")
    check((head + DEVICES).encode(), tmp_path, FakeRegistry())


@PATIENT
@given(
    name=st.sampled_from(["minimal", "press-line", "cnc-opcua", "energy-metering"]),
    at=st.integers(0, 4000),
    length=st.integers(0, 30),
    insert=st.one_of(SCALARS, st.sampled_from(["\n", "  ", ":", "- ", "{", "]", "\t"])),
)
def test_an_example_that_somebody_edited(name: str, at: int, length: int, insert: str, tmp_path: Path) -> None:
    text = (ROOT / "configs" / f"{name}.yaml").read_text()
    check((text[:at] + insert + text[at + length :]).encode(), tmp_path, Registry())
