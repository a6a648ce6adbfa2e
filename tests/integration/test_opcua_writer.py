"""Writes and calls, against a server that is neither Python nor by the client library's authors, and asyncua's."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

import edge_agent
import edge_agent_opcua
from edge_agent.testing.eventually import eventually
from edge_agent.writing import WriteOutcome, WriteResult
from edge_agent_opcua import DRIVER
from edge_agent_opcua.methods import CallResult, OpcUaCaller
from edge_agent_opcua.session import OpcUaSession
from edge_agent_opcua.writer import NOTHING_WAS_DONE, OpcUaWriter
from tests.servers.opcua.open_asyncua import open_asyncua
from tests.servers.opcua.reading import connect, make_device, points, read_once
from tests.servers.opcua_server import NAMESPACE, OpcUaServer, opcua_server

TYPES: list[tuple[str, list[Any]]] = [
    ("Boolean", [True, False]),
    ("SByte", [-128, 127]),
    ("Byte", [255, 7.0]),
    ("Int16", [-32768, 32767]),
    ("UInt16", [65535]),
    ("Int32", [-(2**31), 2**31 - 1]),
    ("UInt32", [2**32 - 1]),
    ("Int64", [-(2**63), 2**53 + 1]),
    ("UInt64", [2**64 - 1]),
    ("Float", [0.1, -3, 3.4e38]),
    ("Double", [0.1, 2**53, -1.7e308]),
    ("String", ["O1234 齿轮", ""]),
    ("ByteString", [b"\0\1\xff", b""]),
    ("Guid", ["72962b91-fa75-4ae6-8d28-b404dc7daf63"]),
    ("DateTime", ["2026-11-23T08:05:06.123Z", "1999-12-31T23:59:59+08:00"]),
    ("LocalizedText", ["主轴"]),
    ("Duration", [12.5]),
    ("Any", [65535]),
    ("State", ["Open", 2]),
    ("Switch", ["On", False]),
    ("Array", ["[-1.5,1e300]", "[3.0,4.0]"]),
    ("Texts", ['["主轴",""]', "[]"]),
    ("Matrix", ["[[1,2],[3,4]]"]),
]


@pytest.fixture(scope="module")
def server() -> Iterator[OpcUaServer]:
    with opcua_server() as running:
        yield running


@asynccontextmanager
async def written_to(
    url: str, names: Sequence[str], **keys: Any
) -> AsyncIterator[tuple[OpcUaWriter, OpcUaSession]]:
    device, config = make_device(url, points(names), mode="poll", **keys)
    session = await connect(device)
    assert isinstance(session, OpcUaSession)
    assert DRIVER.writer is not None
    writer = DRIVER.writer(config, session)
    assert isinstance(writer, OpcUaWriter)
    try:
        yield writer, session
    finally:
        await session.close()


async def held(url: str, name: str) -> Any:
    device, config = make_device(url, points([name]), mode="poll")
    return (await read_once(device, config))[name.replace(".", "_")].value


@pytest.mark.parametrize(("name", "values"), TYPES, ids=[name for name, _ in TYPES])
async def test_what_is_written_is_what_is_read(server: OpcUaServer, name: str, values: list[Any]) -> None:
    async with written_to(server.url, [f"Write.{name}"]) as (writer, _):
        for value in values:
            assert await writer.write(0, value) == WriteResult(WriteOutcome.DONE)
    assert type(await held(server.url, f"Write.{name}")) in {bool, int, float, str, bytes}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("Write.Byte", 300, "300 is no Byte: 0 to 255"),
        ("Write.Byte", 1.5, "not a whole number"),
        ("Write.Boolean", 1, "1 is not true or false"),
        ("Write.Float", 1e39, "too large for Float"),
        ("Write.State", "Ajar", "'Ajar' is none of ['Closed', 'Open', 'Moving']"),
        ("Write.State", 3, "3 is no value of the enumeration"),
        ("Write.Switch", "on", "'on' is none of ['Off', 'On']"),
        ("Write.Array", 1.0, "1.0 is no array"),
        ("Write.Array", '[1, "x"]', "'x' is not a number"),
        ("Nowhere", 1, "does not tell what the node takes: BadNodeIdUnknown"),
    ],
)
async def test_what_is_not_for_the_node_is_refused_and_nothing_is_sent(
    server: OpcUaServer, name: str, value: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with written_to(server.url, [name]) as (writer, session):
        sent: list[object] = []
        monkeypatch.setattr(session.client.uaclient, "write", sent.append)
        result = await writer.write(0, value)
    assert (result.outcome, sent) == (WriteOutcome.REFUSED, [])
    assert reason in result.reason


async def test_a_namespace_that_the_server_lacks_is_refused(server: OpcUaServer) -> None:
    device, config = make_device(server.url, [{"name": "p", "node": "nsu=urn:nobody;i=1"}], mode="poll")
    session = await connect(device)
    assert isinstance(session, OpcUaSession)
    result = await OpcUaWriter(config, session).write(0, 1)
    await session.close()
    assert result == WriteResult(WriteOutcome.REFUSED, "the server has no such namespace")


async def test_a_point_that_is_a_part_of_a_value_is_not_written(server: OpcUaServer) -> None:
    device, config = make_device(server.url, points(["Axes"], element=1), mode="poll")
    session = await connect(device)
    assert isinstance(session, OpcUaSession)
    try:
        result = await OpcUaWriter(config, session).write(0, 5.0)
    finally:
        await session.close()
    assert result.outcome is WriteOutcome.REFUSED
    assert (await held(server.url, "Axes")) == "[1.0,2.0,3.0]"


@pytest.mark.parametrize(
    ("name", "outcome", "reason"),
    [
        ("ReadOnly", WriteOutcome.REFUSED, "the server said no: BadNotWritable"),
        ("NotYours", WriteOutcome.REFUSED, "the server said no: BadUserAccessDenied"),
        ("Refused", WriteOutcome.REFUSED, "the server said no: BadOutOfRange"),
        ("Interrupted", WriteOutcome.UNKNOWN, "the server answered with BadRequestInterrupted"),
        ("TimedOut", WriteOutcome.UNKNOWN, "the server answered with BadTimeout"),
        ("Clamped", WriteOutcome.FAILED, "the server took 101 and holds 100"),
        ("Unreadable", WriteOutcome.UNKNOWN, "the server took it; reading it back gave BadSensorFailure"),
    ],
)
async def test_the_outcome_is_what_the_server_says_and_what_reads_back(
    server: OpcUaServer, name: str, outcome: WriteOutcome, reason: str
) -> None:
    async with written_to(server.url, [name]) as (writer, _):
        assert await writer.write(0, 101) == WriteResult(outcome, reason)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("Counted", WriteOutcome.DONE), ("Refused", WriteOutcome.REFUSED), ("Interrupted", WriteOutcome.UNKNOWN)],
)
async def test_whatever_comes_of_it_a_write_is_sent_once(
    server: OpcUaServer, name: str, outcome: WriteOutcome
) -> None:
    before = await held(server.url, "Writes")
    async with written_to(server.url, [name]) as (writer, _):
        assert (await writer.write(0, 5)).outcome is outcome
    assert await held(server.url, "Writes") == before + 1


async def test_a_time_out_leaves_open_whether_it_is_done_and_the_session_goes_on() -> None:
    with opcua_server() as server:
        async with written_to(server.url, ["Counted"]) as (writer, _):
            assert (await writer.write(0, 1)).outcome is WriteOutcome.DONE
            server.pause()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await writer.write(0, 2)
            server.resume()  # and now it is done: whoever had taken the time-out for a failure would be wrong
            assert await held(server.url, "Counted") == 2
            assert (await writer.write(0, 3)).outcome is WriteOutcome.DONE
        assert await held(server.url, "Writes") == 3


async def test_a_connection_that_breaks_before_the_answer_leaves_it_open() -> None:
    with opcua_server() as server:
        async with written_to(server.url, ["Counted"]) as (writer, session):
            assert (await writer.write(0, 1)).outcome is WriteOutcome.DONE
            server.pause()
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(writer.write(0, 2))
                await eventually(lambda: session.client.uaclient.protocol._callbackmap)
                await asyncio.to_thread(server.kill)
            assert writing.result().outcome is WriteOutcome.UNKNOWN
            lost = await writer.write(0, 3)
        assert (lost.outcome, lost.reason) == (WriteOutcome.FAILED, "nothing was sent: the connection is lost")


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[OpcUaCaller]:
    device, config = make_device(url, points(["Writes"]), mode="poll")
    session = await connect(device)
    assert isinstance(session, OpcUaSession)
    try:
        yield OpcUaCaller(config, session)
    finally:
        await session.close()


def node(name: str) -> str:
    return f"nsu={NAMESPACE};s={name}"


FOLDER = node("CNC")


async def test_a_method_gets_its_arguments_in_its_types_and_gives_its_outputs(server: OpcUaServer) -> None:
    async with calling(server.url) as caller:
        assert await caller.call(FOLDER, node("Add"), [200, 55]) == CallResult(WriteOutcome.DONE, outputs=(255,))
        assert await caller.call(FOLDER, node("Home")) == CallResult(WriteOutcome.DONE)


@pytest.mark.parametrize(
    ("method", "inputs", "outcome", "reason"),
    [
        ("Add", [300, 1], WriteOutcome.REFUSED, "argument 1: 300 is no Byte: 0 to 255"),
        ("Add", [1], WriteOutcome.REFUSED, "the method takes 2 arguments, not 1"),
        ("Add", [1, -2], WriteOutcome.REFUSED, "the server said no: BadOutOfRange"),
        ("Jam", [], WriteOutcome.UNKNOWN, "the server answered with BadRequestInterrupted"),
        ("Nothing", [], WriteOutcome.REFUSED, "the server said no: BadMethodInvalid"),
    ],
)
async def test_a_call_ends_as_a_write_does(
    server: OpcUaServer, method: str, inputs: list[Any], outcome: WriteOutcome, reason: str
) -> None:
    async with calling(server.url) as caller:
        assert await caller.call(FOLDER, node(method), inputs) == CallResult(outcome, reason)


async def test_a_call_is_sent_once_and_a_time_out_leaves_it_open() -> None:
    with opcua_server() as server:
        async with calling(server.url) as caller:
            assert (await caller.call(FOLDER, node("Home"))).outcome is WriteOutcome.DONE
            server.pause()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await caller.call(FOLDER, node("Home"))
            server.resume()
        assert await held(server.url, "Writes") == 2


ASYNCUA: list[tuple[str, Any]] = [
    ("Boolean", False),
    ("Byte", 0),
    ("Int64", 0),
    ("Float", 0.0),
    ("String", ""),
    ("ByteString", b""),
    ("DateTime", datetime(2026, 1, 1, tzinfo=UTC)),
    ("LocalizedText", ua.LocalizedText("")),
]


@pytest.fixture
async def asyncua_url() -> AsyncIterator[str]:
    server, url, index = await open_asyncua()
    for kind, content in ASYNCUA:
        variable = await server.nodes.objects.add_variable(
            ua.NodeId(f"Write.{kind}", index), kind, content, ua.VariantType[kind]
        )
        await variable.set_writable()
    await server.nodes.objects.add_variable(ua.NodeId("ReadOnly", index), "ReadOnly", 1)

    async def add(_parent: object, first: ua.Variant, second: ua.Variant) -> list[ua.Variant]:
        return [ua.Variant(first.Value + second.Value, ua.VariantType.Int64)]

    takes = [ua.VariantType.Byte, ua.VariantType.Int64]
    await server.nodes.objects.add_method(
        ua.NodeId("Add", index), ua.QualifiedName("Add", index), add, takes, [ua.VariantType.Int64]
    )
    async with server:
        yield url


async def test_asyncuas_server_takes_what_is_written_and_called(asyncua_url: str) -> None:
    for name, values in TYPES:
        if name in dict(ASYNCUA):
            async with written_to(asyncua_url, [f"Write.{name}"]) as (writer, _):
                for value in values:
                    assert await writer.write(0, value) == WriteResult(WriteOutcome.DONE), name
    async with written_to(asyncua_url, ["ReadOnly"]) as (writer, _):
        assert (await writer.write(0, 5)).outcome is WriteOutcome.REFUSED
    async with calling(asyncua_url) as caller:
        done = await caller.call("i=85", node("Add"), [255, 2**40])
        assert done == CallResult(WriteOutcome.DONE, outputs=(2**40 + 255,))


def test_no_status_that_may_come_after_the_deed_counts_as_a_refusal() -> None:
    names = "Timeout RequestInterrupted RequestTimeout CommunicationError NoCommunication DeviceFailure"
    assert NOTHING_WAS_DONE.isdisjoint(getattr(ua.StatusCodes, f"Bad{name}") for name in names.split())


def test_the_driver_has_the_ability_and_nothing_in_the_agent_reaches_it() -> None:
    assert DRIVER.writer is not None
    words = re.compile(r"\b(WriteOutcome|WriteResult|Writer|OpcUaCaller)\b|(spec|DRIVER)\.writer|\.methods\b")
    core = Path(edge_agent.__file__).parent
    named = {path.name for path in core.rglob("*.py") if words.search(path.read_text())}
    assert named == {"driver.py", "writing.py"}
    driver = Path(edge_agent_opcua.__file__).parent
    users = {path.name for path in driver.glob("*.py") if words.search(path.read_text())}
    assert users == {"device.py", "methods.py", "writer.py"}
